"""The chat page before two web processes: its requests go to either, only Gradio's own stay; and when its process dies, the other has it all."""

import pytest
from front_door import STAYING, FrontDoor
from spread_house import spread

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
GUIDE = "# Lab handbook\n\n## Backups\n\nBackups run every night at 02:30 and are kept for 35 days.\n"


@pytest.mark.parametrize("leg", ["two-webs"], ids=lambda leg: f"leg={leg}")
def test_a_page_lives_over_two_web_processes_and_outlives_the_one_that_gave_it(leg, tmp_path, visit):
    (tmp_path / "guide.md").write_text(GUIDE)
    (tmp_path / "parts").mkdir()
    page_too = {"HEARTH_CHAT_PAGE": "true"}
    with (
        spread(tmp_path / "parts") as house,
        house.part("web", **page_too) as a,
        house.part("web", **page_too) as b,
        house.part("worker"),
        FrontDoor(a.url, b.url) as door,
    ):
        a.make_user()
        for web in (a, b):
            web.wait_for_pages()
        ada = visit(door.url)
        ada.sign_in(door.url)
        ada.upload(tmp_path / "guide.md")
        ada.page.wait_for_selector("#jobs .job.done", timeout=60_000)
        ada.ask("When do backups run?")
        ada.ask("[tokens=60 rate=30]")
        address = ada.page.url
        own = {url for path, url in door.asked if path.startswith(STAYING) and path != "/chat"}
        assert len(own) == 1, "Gradio's requests have stayed"
        assert {url for path, url in door.asked if not path.startswith(STAYING)} == {a.url, b.url}, "the others went to both"
        assert ada.problems == []

        (gave,) = own
        (a if gave == a.url else b).kill()
        ada.page.goto(address)
        ada.page.wait_for_selector("#hearth #account form", timeout=60_000)
        ada.page.wait_for_selector(".message.theirs .cite")
        assert ada.page.locator(".message.theirs").count() == 2
        assert "t59:" in ada.page.locator(".message.theirs").last.inner_text()
        ada.ask("When do backups run, again?")
        assert ada.page.locator(".message.theirs").last.locator(".cite").count()
        assert ada.foreign == []
