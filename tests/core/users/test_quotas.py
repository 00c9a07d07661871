"""What a user may use in a day, and what a key opens: enforced where things are stored and where callers are known."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import ask, echo_settings, finished

from core.app import open_app
from core.errors import BadInput, NotAllowed, NotSignedIn, QuotaSpent
from core.inference import estimated_tokens
from core.users.model import NO_QUOTA, Admin, Quota, Scope, Used, next_day

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
async def clocked(tmp_path, echo_server):
    """A house whose day can be turned, in which everybody may ask twice a day."""
    clock = Clock()
    async with open_app(echo_settings(tmp_path, quota_requests=2), local=echo_server, serving=True, clock=clock) as app:
        await app.users.add("ada", "correct horse battery")
        yield app, (await app.users.sign_in("ada", "correct horse battery", "test"))[0], clock


async def test_a_spent_quota_refuses_says_until_when_and_stores_nothing(clocked):
    app, ada, clock = clocked
    for text in ("one", "two"):
        await finished(await app.chat.send(ada, ask(text)))
    third = ask("three")
    with pytest.raises(QuotaSpent) as spent:
        await app.chat.send(ada, third)
    assert spent.value.message == "Your quota of 2 for today is used up (requests)."
    assert spent.value.retry_after_s == pytest.approx(12 * 3600, abs=1)
    assert len((await app.chat.conversations(ada.user)).items) == 2
    clock.now += timedelta(hours=12)
    assert (await finished(await app.chat.send(ada, third))).content == "You said: three"


async def test_the_same_message_again_is_no_second_request(clocked):
    app, ada, _ = clocked
    request = ask("one")
    for _ in range(3):
        await finished(await app.chat.send(ada, request))
    await finished(await app.chat.send(ada, ask("two")))


async def test_a_quota_of_ones_own_goes_before_the_usual_one(clocked):
    app, ada, clock = clocked
    await app.users.change(ada.user.id, quota=Quota(requests=3, tokens=1))
    ada = replace(ada, user=await app.users.named("ada"))
    answer = await finished(await app.chat.send(ada, ask("hello there")))
    used = answer.metadata.usage
    with pytest.raises(QuotaSpent, match="tokens"):
        await app.chat.send(ada, ask("again"))
    clock.now += timedelta(days=1)
    await finished(await app.chat.send(ada, ask("again")))
    assert used.prompt_tokens + used.completion_tokens > 1


async def test_an_answer_that_is_stopped_counts_too(clocked):
    app, ada, _ = clocked
    turn = await app.chat.send(ada, ask("[tokens=2000 rate=200]"))
    while len(turn.text) < 30:
        await asyncio.sleep(0.01)
    await app.chat.stop(ada.user, turn.answer_id)
    answer = await finished(turn)
    (_, today) = (await app.console.people.person(Admin(ada.user), ada.user.id)).days[-1]
    assert today.tokens == estimated_tokens(answer.content) >= 10


def test_a_day_ends_at_midnight_in_utc_and_what_is_not_limited_never_refuses():
    assert next_day(NOON) == datetime(2026, 3, 2, tzinfo=UTC)
    Used(10**9, 10**9, 10.0**12).demand(NO_QUOTA, NOON)
    assert Quota(tokens=5).over(Quota(1, 2, 3)) == Quota(5, 2, 3)
    with pytest.raises(QuotaSpent):
        Used().demand(Quota(audio_s=0), NOON)


async def test_a_key_ends_with_its_day_and_its_last_use_is_kept(clocked):
    app, ada, clock = clocked
    key, secret = await app.users.make_key(ada.user, "backup", scopes=[Scope.DOCUMENTS], days=7)
    clock.now += timedelta(days=6)
    known = await app.users.by_key(secret)
    assert [k.last_used_at for k in await app.console.people.keys(Admin(ada.user), ada.user.id)] == [clock.now]
    known.demand(Scope.DOCUMENTS)
    with pytest.raises(NotAllowed, match="doesn't open chat"):
        known.demand(Scope.CHAT)
    clock.now += timedelta(days=1)
    with pytest.raises(NotSignedIn):
        await app.users.by_key(secret)
    assert key.expires_at == NOON + timedelta(days=7)


@pytest.mark.parametrize(("scopes", "days"), [([], None), ([Scope.CHAT], 0), ([Scope.CHAT], 4000)])
async def test_a_key_of_no_use_is_not_made(clocked, scopes, days):
    app, ada, _ = clocked
    with pytest.raises(BadInput):
        await app.users.make_key(ada.user, scopes=scopes, days=days)


async def test_a_browser_is_not_bound_by_scopes(ada):
    for scope in Scope:
        ada.demand(scope)
