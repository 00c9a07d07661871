"""Who gets in, who doesn't, and for how long."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import echo_settings

from core.app import open_app
from core.errors import BadInput, NotAllowed, NotSignedIn, ServiceBusy
from core.events import EventType
from core.inference import Priority
from core.users.model import SESSION_LIFETIME, Preferences, Quota

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"


@pytest.fixture
async def clocked(tmp_path):
    """(app, clock): the clock is a list with the present moment."""
    clock = [datetime(2026, 5, 1, tzinfo=UTC)]
    async with open_app(echo_settings(tmp_path), clock=lambda: clock[0]) as app:
        yield app, clock


async def test_an_expired_session_cannot_be_reopened(clocked):
    app, clock = clocked
    await app.users.add("ada", PASSWORD)
    who, token = await app.users.sign_in("ada", PASSWORD, "")
    clock[0] += SESSION_LIFETIME - timedelta(seconds=1)
    assert (await app.users.by_session(token)).user.username == "ada"
    clock[0] += timedelta(seconds=1)
    with pytest.raises(NotSignedIn):
        await app.users.by_session(token)
    with pytest.raises(NotSignedIn):
        who.session.touched(clock[0])
    clock[0] -= timedelta(days=1)
    assert (await app.users.sign_in("ada", PASSWORD, ""))[0].session.id != who.session.id


async def test_using_a_session_does_not_prolong_it(clocked):
    app, clock = clocked
    await app.users.add("ada", PASSWORD)
    _, token = await app.users.sign_in("ada", PASSWORD, "")
    for _ in range(6):
        clock[0] += timedelta(days=1)
        await app.users.by_session(token)
    clock[0] += timedelta(days=1)
    with pytest.raises(NotSignedIn):
        await app.users.by_session(token)


async def test_signing_out_ends_the_session_and_twice_is_no_error(clocked):
    app, _ = clocked
    await app.users.add("ada", PASSWORD)
    _, token = await app.users.sign_in("ada", PASSWORD, "")
    await app.users.sign_out(token)
    await app.users.sign_out(token)
    with pytest.raises(NotSignedIn):
        await app.users.by_session(token)


async def test_the_setup_link_works_once_and_only_while_nobody_is_there(clocked):
    app, _ = clocked
    token = await app.users.prepare_setup()
    with pytest.raises(NotAllowed):
        await app.users.set_up("wrong", "eve", PASSWORD, "")
    with pytest.raises(BadInput):
        await app.users.set_up(token, "ada", "short", "")
    who, _ = await app.users.set_up(token, "ada", PASSWORD, "")
    assert who.user.role == "admin"
    with pytest.raises(NotAllowed):
        await app.users.set_up(token, "eve", PASSWORD, "")
    assert await app.users.prepare_setup() == ""


async def test_a_user_made_on_the_command_line_closes_the_setup_link(clocked):
    app, _ = clocked
    token = await app.users.prepare_setup()
    assert await app.users.setup_open()
    await app.users.add("ada", PASSWORD)
    assert not await app.users.setup_open()
    with pytest.raises(NotAllowed):
        await app.users.set_up(token, "eve", PASSWORD, "")


async def test_guessing_gets_slower_and_the_right_password_waits_too(clocked):
    app, clock = clocked
    await app.users.add("ada", PASSWORD)
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            await app.users.sign_in("ada", "wrong password", "10.0.0.9")
    with pytest.raises(ServiceBusy) as waiting:
        await app.users.sign_in("ada", PASSWORD, "10.0.0.9")
    assert waiting.value.retry_after_s > 0
    assert (await app.users.sign_in("ada", PASSWORD, "10.0.0.1"))[0], "somebody else's guesses must not lock the owner out"
    clock[0] += timedelta(seconds=2)
    assert (await app.users.sign_in("ada", PASSWORD, "10.0.0.9"))[0]


async def test_a_wrong_name_and_a_wrong_password_sound_the_same(clocked):
    app, _ = clocked
    await app.users.add("ada", PASSWORD)
    said = set()
    for name in ("ada", "nobody"):
        with pytest.raises(NotSignedIn) as error:
            await app.users.sign_in(name, "wrong password", "")
        said.add(str(error.value))
    assert len(said) == 1


async def test_a_disabled_user_is_out_at_once_by_session_and_by_key(clocked):
    app, _ = clocked
    user = await app.users.add("ada", PASSWORD)
    _, token = await app.users.sign_in("ada", PASSWORD, "")
    _, key = await app.users.make_key(user, "script")
    assert (await app.users.by_key(key)).user.id == user.id
    await app.users.change(user.id, disabled=True)
    for attempt in (app.users.by_session(token), app.users.by_key(key), app.users.sign_in("ada", PASSWORD, "")):
        with pytest.raises(NotSignedIn):
            await attempt


async def test_what_a_user_chooses_undoes_nothing_that_an_admin_did_meanwhile(clocked):
    app, _ = clocked
    as_it_was = await app.users.add("ada", PASSWORD)
    await app.users.change(as_it_was.id, disabled=True, quota=Quota(requests=1))
    now = await app.users.save_preferences(as_it_was, Preferences(enable_rag=True))
    assert (now.disabled, now.quota, now.preferences.enable_rag) == (True, Quota(requests=1), True)
    assert await app.users.named("ada") == now


async def test_two_choices_at_once_are_both_kept(clocked):
    app, _ = clocked
    as_it_was = await app.users.add("ada", PASSWORD)
    for chosen in ({"voice_id": "alto"}, {"speech_language": "de"}):
        now = await app.users.save_preferences(as_it_was, replace(as_it_was.preferences, **chosen))
    assert now.preferences == replace(as_it_was.preferences, voice_id="alto", speech_language="de")


async def test_an_api_key_is_kept_only_as_a_hash(clocked):
    app, _ = clocked
    user = await app.users.add("ada", PASSWORD)
    key, secret = await app.users.make_key(user, "script")
    assert secret.startswith("hk_")
    assert secret.startswith(key.prefix)
    assert secret.encode() not in b"".join(p.read_bytes() for p in app.settings.home.glob("hearth.db*"))


async def test_signing_in_is_told_as_user_login_then_session_created(clocked):
    app, _ = clocked
    await app.users.add("ada", PASSWORD)
    who, _ = await app.users.sign_in("ada", PASSWORD, "")
    told = [e.event.type for e in await app.events.read(aggregate_id=who.session.id)]
    assert told == [EventType.USER_LOGIN, EventType.SESSION_CREATED]


@pytest.mark.parametrize("name", ["", "a b", "x" * 61, "<script>", "a/b"])
async def test_a_name_that_could_confuse_is_refused(clocked, name):
    with pytest.raises(BadInput):
        await clocked[0].users.add(name, PASSWORD)


async def test_premium_users_go_into_the_premium_lane_and_preferences_stay(clocked):
    app, _ = clocked
    user = await app.users.add("ada", PASSWORD, premium=True)
    assert user.caller.priority is Priority.PREMIUM
    await app.users.save_preferences(user, Preferences("alto", "qwen", enable_rag=False))
    assert (await app.users.named("ADA")).preferences == Preferences("alto", "qwen", enable_rag=False)


def test_a_password_is_hashed_as_rfc_9106_says_for_little_memory():
    code = "import asyncio; from core.adapters.passwords_argon2 import Argon2Passwords; print(asyncio.run(Argon2Passwords().hash('x')))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
