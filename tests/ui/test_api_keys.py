"""What a key opens at the API, and what a spent quota looks like there."""

import pytest

from core.users.model import Quota, Scope

pytestmark = pytest.mark.anyio
OPENED = {
    Scope.CHAT: ("/v1/conversations", "/v1/models", "/v1/prompts", "/v1/tags", "/v1/preferences"),
    Scope.DOCUMENTS: ("/v1/collections", "/v1/jobs", "/files/00000000-0000-7000-8000-000000000000"),
    Scope.VOICE: ("/v1/audio/voices", "/v1/voice/00000000-0000-7000-8000-000000000000", "/files/voice/00000000-0000-7000-8000-000000000000/request"),
    Scope.METRICS: ("/metrics",),
    Scope.PIPELINES: ("/v1/pipelines", "/v1/runs", "/v1/experiments", "/v1/triggers"),
}


@pytest.mark.parametrize("scope", list(Scope), ids=str)
async def test_a_key_opens_what_it_was_made_for_and_nothing_else(app, ada, served, open_client, scope):
    _, secret = await app.users.make_key(ada.user, scopes=[scope])
    async with open_client(served, secret) as client:
        for of, paths in OPENED.items():
            for path in paths:
                answer = await client.get(path)
                assert (answer.status_code == 403) == (of is not scope), (path, answer.text)
                if of is not scope:
                    assert answer.json()["error"]["message"] == f"This key doesn't open {of}."


async def test_a_spent_quota_is_a_429_that_says_when_to_come_again(app, ada, api):
    await app.users.change(ada.user.id, quota=Quota(requests=0))
    answer = await api.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]})
    assert (answer.status_code, answer.json()["error"]["message"]) == (429, "Your quota of 0 for today is used up (requests).")
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
