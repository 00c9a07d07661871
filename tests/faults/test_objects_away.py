"""The store of objects goes away and comes back: text flows, sound is heard once and said not to be kept, an upload is refused before it is accepted."""

import base64

import pytest
import servers
from echo_house import recorded
from running_house import RunningHouse

from core.ids import new_id

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]


@pytest.mark.parametrize("leg", ["rclone"], ids=lambda leg: f"leg={leg}")
def test_without_its_store_of_objects_the_house_goes_on_and_uses_it_again_when_it_is_back(leg, tmp_path):
    with servers.s3_rclone() as objects, RunningHouse(tmp_path / "home", HEARTH_OBJECTS_URL=objects.url) as house:
        house.make_user()
        job = house.job_done(house.upload("note.txt", b"The code of the door is 4711.")[1]["id"])
        assert job["stage"] == "ready"
        objects.kill()

        assert house.ask("still there?")[0] == 200
        found = house.post("/v1/collections/lab/query", {"query": "code of the door"})[1]["chunks"]
        assert [chunk["content"] for chunk in found] == ["The code of the door is 4711."], "what was taken in is answered from"

        status, body = house.upload("other.txt", b"Another one.")
        assert (status, body["error"]["code"]) == (503, "service_error")
        assert [item["id"] for item in house.get("/v1/jobs")[1]["items"]] == [job["id"]]

        spoken = {"audio_b64": base64.b64encode(recorded("How long?").data).decode(), "format": "wav", "id": new_id(), "enable_rag": False}
        status, answer = house.post("/v1/voice", spoken)
        assert (status, answer["response_text"]) == (200, "You said: How long?")
        assert answer["audio_b64"]
        assert "not kept" in answer["error"]

        assert house.get("/readyz", anonymous=True)[0] == 200, "a house without its objects serves"
        objects.start()
        assert house.job_done(house.upload("other.txt", b"Another one.")[1]["id"])["stage"] == "ready"
        assert house.get(f"/files/{job['document_id']}") == (200, b"The code of the door is 4711.")
        again = house.post("/v1/voice", spoken | {"id": new_id()})[1]
        assert (again["error"], bool(again["audio_b64"])) == ("", True)
