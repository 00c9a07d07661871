"""The pages that say how long things are kept, and what happened: retention, backups, settings, audit."""

import os
import time
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import ask, echo_settings, finished, say, taken_in
from seen import rows, said

from core.adapters import backups_zip
from core.app import open_app
from core.audit import Act, AuditEntry
from core.console import leftovers
from core.errors import IllegalStep, ServiceBusy

NOW = datetime.now(UTC)
HOSTILE = '<script>alert(1)</script> **x** `$x$` =HYPERLINK("http://x")'


def once(page, found, tries=100):
    """Runs the page until it shows what is waited for."""
    for _ in range(tries):
        page.run()
        if found(page):
            return page
        time.sleep(0.05)
    raise AssertionError(said(page))


async def lived_in(app, days_ago):
    """Bob's house of so many days ago, over the same home: a written and a spoken conversation, and one that he pinned."""
    async with open_app(echo_settings(app.settings.home), local=None, clock=lambda: NOW - timedelta(days=days_ago)) as then, then.chat, then.voice:
        bob = await then.users.by_key((await then.users.make_key(await then.users.named("bob")))[1])
        for _ in range(2):
            await finished(await then.chat.send(bob, ask("forgotten")))
        kept = ask("kept")
        await finished(await then.chat.send(bob, kept))
        await then.chat.change(bob.user, kept.conversation_id, pinned=True)
        return kept.conversation_id


def test_retention_says_what_the_next_sweep_removes_asks_and_shows_the_receipt(console):
    page = once(console.page("retention"), lambda p: any(r["Removed"] == "nothing" for r in rows(p, "Removed")))
    rules = {r["What"]: r for r in rows(page, "Kept")}
    assert (rules["messages"]["Kept"], rules["sounds"]["Kept"], rules["documents, chunks and embeddings"]["Kept"]) == (
        "30 days", "1 hour", "until somebody deletes it",
    )  # fmt: skip
    assert rules["messages"]["The next sweep removes"] == "0"
    assert "Nobody has pinned a conversation." in said(page)
    pinned = console.call(lived_in, console.app, 40)
    page.run()
    assert {r["What"]: r["The next sweep removes"] for r in rows(page, "Kept")}["messages"] == "4"
    assert rows(page, "Conversation") == [{"Of": "bob", "Messages kept by the pin": 2, "Oldest of them": "40 d ago", "Conversation": pinned}]
    page.button(key="sweep").click().run()
    assert "This deletes everything that is past its time" in said(page)
    assert "· 4 messages" in said(page)
    page.button(key="sweep-no").click().run()
    assert {r["What"]: r["The next sweep removes"] for r in rows(page, "Kept")}["messages"] == "4"
    page.button(key="sweep").click().run()
    page.button(key="sweep-yes").click().run()
    assert any("4 messages" in s.value and "0 left in every store" in s.value for s in page.success)
    newest = rows(page, "Removed")[0]
    assert newest["Asked for by"] == "ada"
    assert "4 messages" in newest["Removed"]
    assert (console.call(console.app.audit.entries, act=Act.DELETED)).items[0].actor == "ada"


def test_sweeps_page_by_page(console):
    for _ in range(60):
        console.call(console.app.retention.sweep)
    page = console.page("retention")
    assert len(rows(page, "Removed")) == 50
    page.button(key="sweeps-next").click().run()
    assert 10 <= len(rows(page, "Removed")) < 50
    page.button(key="sweeps-first").click().run()
    assert len(rows(page, "Removed")) == 50
    deep = console.page("retention", sweeps="nonsense")
    assert "no cursor of this list" in said(deep)


def test_backups_are_made_told_and_deleted_with_a_receipt(console, monkeypatch):
    page = console.page("backups")
    assert "There is no backup yet." in said(page)
    assert "None on schedule: set HEARTH_BACKUP_EVERY_H" in said(page)
    page.button(key="back-up").click().run()
    page = once(page, lambda p: p.dataframe)
    (made,) = rows(page, "File")
    assert (made["Users"], made["Missing files"]) == (2, 0)
    assert made["Hearth"].startswith("0.1.0, revision ")
    assert f"hearth restore {made['File']} --home NEW_FOLDER" in said(page)
    assert "nothing reaches into a backup" in said(page)
    path = console.call(console.app.console.keeping.backup_file, console.call(console.app.users.admin, console.tokens["ada"]), made["File"])
    assert zipfile.is_zipfile(path)
    path.write_bytes(b"broken")
    page.run()
    assert "no backup of Hearth, or it is damaged" in rows(page, "File")[0]["Hearth"]
    page.button(key=f"drop-{made['File']}").click().run()
    assert "This deletes the backup hearth-" in said(page)
    page.button(key=f"drop-{made['File']}-yes").click().run()
    assert any("1 backups. 0 left" in s.value for s in page.success)
    assert "There is no backup yet." in said(page)
    assert not path.exists()
    monkeypatch.setattr(backups_zip.shutil, "disk_usage", lambda _: type("usage", (), {"free": 1000}))
    page.button(key="back-up").click().run()
    once(page, lambda p: "could not be made" in said(p) and "MB are free" in said(p))
    assert [e.subject for e in console.call(console.app.audit.entries, act=Act.EXPORTED).items] == [
        "backup of the house",
        f"backup {made['File']}",
        "backup of the house",
    ]


def test_every_setting_is_there_with_its_source_and_no_secret(console):
    page = console.page("settings")
    every = {r["Setting"]: r for r in rows(page, "Setting")}
    assert set(every) == {f"HEARTH_{name.upper()}" for name in type(console.app.settings).model_fields}
    assert every["HEARTH_MESSAGE_RETENTION_DAYS"]["Value"] == "30"
    assert every["HEARTH_MESSAGE_RETENTION_DAYS"]["From"] == "default"
    page.text_input(key="setting").set_value("chunk").run()
    assert "HEARTH_CHUNK_CHARS" in [r["Setting"] for r in rows(page, "Setting")]
    assert len(rows(page, "Setting")) < 10
    page.text_input(key="setting").set_value("no such thing").run()
    assert "No setting is like that." in said(page)
    assert len(rows(console.page("settings", setting="backup"), "Setting")) >= 3


def test_the_audit_log_is_found_by_who_what_and_when_page_by_page(console):
    audit = console.app.audit
    for n in reversed(range(60)):
        console.call(audit.write, AuditEntry(NOW - timedelta(days=n), "b", HOSTILE if n == 3 else "bob", Act.READ if n else Act.CHANGED, f"conversation {n}"))
    page = console.page("audit", audit_act="read")
    assert len(rows(page, "Of what")) == 50
    page.button(key="audit-next").click().run()
    assert rows(page, "Of what")[-1]["Of what"] == "conversation 59"
    page.text_input(key="audit_who").set_value("BOB").run()
    assert rows(page, "Of what")[0]["Of what"] == "conversation 1", "another question begins at its first page"
    day = (NOW - timedelta(days=7)).date()
    page.date_input(key="audit_from").set_value(day).run()
    page.date_input(key="audit_to").set_value(day).run()
    assert [r["Of what"] for r in rows(page, "Of what")] == ["conversation 7"]
    links = [e.proto.url for e in page.get("link_button")]
    assert any("/admin/files/audit.csv?" in url and "actor=BOB" in url and "act=read" in url for url in links)
    assert rows(console.page("audit", audit_who=HOSTILE), "Of what")[0]["Who"] == HOSTILE
    page.text_input(key="audit_who").set_value("nobody").run()
    assert "Nothing was noted that is like that." in said(page)


def left_behind(console, key, minutes_ago, content=b"left"):
    """An object that no row names."""
    path = console.app.settings.home / "objects" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    at = time.time() - minutes_ago * 60
    os.utime(path, (at, at))
    return path


async def taken_in_and_spoken(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "one.md", b"# One\n\nThe shed is locked.\n")
    await taken_in(app, who, "one.md", b"# One\n\nThe shed is open.\n")
    await taken_in(app, who, "broken.pdf", b"%PDF-1.4 broken")
    async for _ in (await app.voice.send(who, say("hello there"))).follow():
        pass


def test_objects_that_no_row_names_are_counted_once_they_are_an_hour_old_and_deleted_with_a_receipt(console):
    console.call(taken_in_and_spoken, console.app)
    named = [p for p in (console.app.settings.home / "objects").rglob("*") if p.is_file()]
    assert len(named) >= 4
    for path in named:
        os.utime(path, (1, 1))
    left = [left_behind(console, "originals/x/lost", 61), left_behind(console, "voice/lost.wav", 90, b"sound"), left_behind(console, "voice/.put-x", 61)]
    young = left_behind(console, "originals/x/young", 59)
    page = console.page("retention")
    assert "no row names" not in said(page).replace("Objects that no row names", "")
    page.button(key="look-leftovers").click().run()
    page = once(page, lambda p: [b for b in p.button if b.key == "leftovers"])
    assert f"{len(named) + 4} objects were looked at" in said(page)
    assert "no row names 3 of them (13 B)" in said(page)
    assert {(r["Of"], r["Objects"]) for r in rows(page, "Objects")} == {("originals", 1), ("voice", 2)}
    assert {r["Object"] for r in rows(page, "Object")} == {f"s3://hearth/{p.relative_to(console.app.settings.home / 'objects')}" for p in left}
    page.button(key="leftovers").click().run()
    assert "· 3 objects, 13 B" in said(page)
    page.button(key="leftovers-yes").click().run()
    assert any("3 objects, 13 bytes. 0 left in every store" in s.value for s in page.success)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in (*named, young))
    assert "no row names 0 of them" in said(page)
    assert console.noted(Act.DELETED) == [("objects that no row names", {"objects": 3, "bytes": 13})]
    assert [subject for subject, _ in console.noted(Act.READ)] == ["objects that no row names"]


def test_what_other_programs_have_put_into_the_store_is_theirs_and_is_never_left_over(console):
    theirs = [left_behind(console, key, 600) for key in ("incoming/report.pdf", "incoming/originals/x", "other", "runsheet/a", "voices/b")]
    ours = [left_behind(console, key, 61) for key in ("originals/x/lost", "runs/x/step/metrics.json", "voice/lost.wav", "checks/x")]
    console.call(console.app.console.leftovers.look, console.admin)
    page = once(console.page("retention"), lambda p: [b for b in p.button if b.key == "leftovers"])
    assert {(r["Of"], r["Objects"]) for r in rows(page, "Objects")} == {("originals", 1), ("runs", 1), ("voice", 1), ("checks", 1)}
    receipt = console.call(console.app.console.leftovers.drop, console.admin)
    assert (receipt.removed["objects"], receipt.complete) == (4, True)
    assert all(path.exists() for path in theirs)
    assert not any(path.exists() for path in ours)


def test_a_look_for_objects_is_stopped_and_there_is_one_at_a_time(console, monkeypatch):
    room = console.app.console.leftovers
    monkeypatch.setattr(leftovers, "AT_ONCE", 1)
    for n in range(100):
        left_behind(console, f"voice/{n}", 61)

    async def hurried(admin):
        await room.look(admin)
        with pytest.raises(ServiceBusy):
            await room.drop(admin)
        await room.stop(admin)

    console.call(hurried, console.admin)
    page = once(console.page("retention"), lambda p: "stopped before it came to its end" in said(p))
    assert len(list((console.app.settings.home / "objects" / "voice").iterdir())) == 100
    with pytest.raises(IllegalStep):
        console.call(room.stop, console.admin)
    page.button(key="look-leftovers").click().run()
    once(page, lambda p: "no row names 100 of them" in said(p) and not [b for b in p.button if b.key == "stop-leftovers"])
    receipt = console.call(room.drop, console.admin)
    assert (receipt.removed["objects"], receipt.complete) == (100, True)
