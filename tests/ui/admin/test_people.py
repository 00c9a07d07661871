"""The pages of users."""

import asyncio
import io
import time
import zipfile

import pytest
from echo_house import ask, finished, say, taken_in
from seen import rows, said

from core.audit import Act
from core.errors import IllegalStep, NotFound, NotSignedIn
from core.users.model import Role

PASSWORD = "correct horse battery"
HOSTILE = "<b>x</b>"


@pytest.fixture
def bob(console):
    return console.call(console.app.users.named, "bob")


async def lived_in(app, user):
    """Bob's things: a conversation, a document."""
    who = await app.users.by_key((await app.users.make_key(user, "backup"))[1])
    await finished(await app.chat.send(who, ask("a secret of mine")))
    await app.shelf.save_prompt(user, "weekly", "What happened in the shed?")
    await app.voice.answer(who, say("where is the key"))
    await taken_in(app, who, "guide.md", b"# Keys\n\nThe key of the shed hangs behind the door.\n")
    return who


def test_users_are_listed_found_and_added(console, bob):
    page = console.page("users")
    assert [(r["Name"], r["Role"]) for r in rows(page, "Name")] == [("ada", "admin"), ("bob", "user")]
    page.text_input(key="who").set_value("BO").run()
    assert [r["Name"] for r in rows(page, "Name")] == ["bob"]
    page.text_input(key="who").set_value(HOSTILE).run()
    assert "Nobody has a name like that." in said(page)
    added = console.call(console.app.console.people.add, console.admin, "cleo", "a long password", premium=True)
    assert rows(console.page("users"), "Name")[2]["Premium"]
    assert (added.role, added.premium) == (Role.USER, True)


def test_a_user_is_changed_and_who_is_disabled_is_out_at_once(console, bob):
    page = console.page("user", user=bob.id)
    page.selectbox(key="role").set_value(Role.ADMIN)
    page.toggle(key="premium").set_value(True)
    page.button[0].click().run()
    changed = console.call(console.app.users.named, "bob")
    assert (changed.role, changed.premium) == (Role.ADMIN, True)
    page.toggle(key="disabled").set_value(True)
    page.button[0].click().run()
    with pytest.raises(NotSignedIn):
        console.call(console.app.users.by_session, console.tokens["bob"])
    noted = console.call(console.app.audit.entries).items
    assert [(e.act, e.subject) for e in noted[:2]] == [(Act.CHANGED, "user bob"), (Act.ROLE, "user bob")]


def test_a_quota_is_set_and_what_remains_is_shown(console, bob):
    console.call(lived_in, console.app, bob)
    page = console.page("user", user=bob.id)
    page.number_input(key="requests").set_value(5)
    next(b for b in page.button if b.label == "Save the quota").click().run()
    page.run()
    assert [(m.label, m.value, m.delta) for m in page.metric][1] == ("Requests today", "2", "3 of 5 left")


def test_a_key_is_made_shown_once_and_revoked(console, bob):
    page = console.page("user", user=bob.id)
    page.text_input(key="key_name").set_value("nightly")
    next(b for b in page.button if b.label == "Make a key").click().run()
    (secret,) = [c.value for c in page.code]
    assert console.call(console.app.users.by_key, secret).user.id == bob.id
    page.run()
    assert not page.code
    assert rows(page, "Begins with")[0]["Name"] == "nightly"
    page.button(key="revoke-key").click().run()
    assert console.call(console.app.users.by_key, secret)  # it asks first
    page.button(key="revoke-key-yes").click().run()
    assert "0 left in every store" in said(page)
    with pytest.raises(NotSignedIn):
        console.call(console.app.users.by_key, secret)
    assert "There is no key." in said(page)


def test_a_session_is_seen_and_ended(console, bob):
    page = console.page("user", user=bob.id)
    assert rows(page, "Last seen")[0]["From"] == "test"
    page.button(key="end-session").click().run()
    page.button(key="end-session-yes").click().run()
    assert "Deleted the session of bob" in said(page)
    with pytest.raises(NotSignedIn):
        console.call(console.app.users.by_session, console.tokens["bob"])
    assert "Nobody is signed in with this account." in said(page)


def test_the_session_that_was_chosen_is_the_one_that_ends(console, bob):
    first = console.call(console.app.users.by_session, console.tokens["bob"]).session.id
    _, newer = console.call(console.app.users.sign_in, "bob", PASSWORD, "phone")
    page = console.page("user", user=bob.id)
    chosen = page.selectbox(key="session")
    chosen.set_value(next(label for label in chosen.options if label.endswith(first[-6:]))).run()
    time.sleep(1.1)  # what is said by "2 s ago" has changed
    page.button(key="end-session").click().run()
    page.button(key="end-session-yes").click().run()
    assert console.call(console.app.users.by_session, newer).user.id == bob.id
    with pytest.raises(NotSignedIn):
        console.call(console.app.users.by_session, console.tokens["bob"])


def test_everything_of_a_user_is_deleted_with_a_receipt_from_every_store(console, bob):
    console.call(lived_in, console.app, bob)
    page = console.page("user", user=bob.id)
    page.button(key="delete-user").click().run()
    assert "· 4 messages" in said(page)
    page.button(key="delete-user-yes").click().run()
    assert "Deleted the user bob and everything of theirs" in said(page)
    assert "0 left in every store" in said(page)
    assert "No user is chosen." in said(page)
    assert not page.error
    with pytest.raises(NotFound):
        console.call(console.app.users.named, "bob")
    files = [p for p in (console.app.settings.home / "objects").rglob("*") if p.is_file()]
    assert files == []
    noted = console.call(console.app.audit.entries, act=Act.DELETED).items[0]
    assert (noted.actor, noted.subject, noted.detail["objects"]) == ("ada", "user bob", 3)
    assert noted.detail["vectors"] == noted.detail["chunks"]
    assert noted.detail["versions of collections"] == noted.detail["collections"]


def test_the_last_admin_can_not_be_lost(console):
    people = console.app.console.people
    for change in ({"role": Role.USER}, {"disabled": True}):
        with pytest.raises(IllegalStep, match="There must be an admin"):
            console.call(people.change, console.admin, console.ada.id, **change)
    with pytest.raises(IllegalStep):
        console.call(people.delete, console.admin, console.ada.id)
    page = console.page("user", user=console.ada.id)
    assert "That is you" in said(page)


def test_two_admins_who_take_each_other_down_at_once_leave_one(console, bob):
    people, app = console.app.console.people, console.app
    console.call(people.change, console.admin, bob.id, role=Role.ADMIN)

    async def both(ada, bob):
        downs = (people.change(ada, bob.user.id, role=Role.USER), people.change(bob, ada.user.id, disabled=True))
        return await asyncio.gather(*downs, return_exceptions=True)

    done = console.call(both, console.admin, console.call(app.users.admin, console.tokens["bob"]))
    assert [type(d) for d in done].count(IllegalStep) == 1
    everyone = console.call(app.users.everyone).items
    assert sum(u.role is Role.ADMIN and not u.disabled for u in everyone) == 1


def test_a_page_of_nobody_says_so(console):
    assert "No user is chosen." in said(console.page("user"))
    assert "There is no such user." in said(console.page("user", user="nobody"))


def test_everything_of_a_user_is_downloaded_as_a_zip_by_admins_alone(console, bob):
    console.call(lived_in, console.app, bob)

    answer = console.download(f"users/{bob.id}.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as made:
        names = made.namelist()
        assert made.testzip() is None
        assert any(name.endswith("guide.md") and b"behind the door" in made.read(name) for name in names)
        assert any(name.startswith("conversations/") and b"a secret of mine" in made.read(name) for name in names)
        assert any(name.startswith("voice/") and b"where is the key" in made.read(name) for name in names)
        assert sum(name.startswith("voice/") and not name.endswith(".json") for name in names) == 2
        assert b"What happened in the shed?" in made.read("account.json")
        assert b"hash" not in made.read("account.json")
    assert console.call(console.app.audit.entries, act=Act.EXPORTED).items[0].subject == "user bob"
    assert console.download(f"users/{bob.id}.zip", "bob").status_code == 404
