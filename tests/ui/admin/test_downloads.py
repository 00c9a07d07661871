"""What admins take away, in which form, and that nobody else gets anything; and the console that is served alone."""

import asyncio
import csv
import io
import json
import zipfile
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from starlette.responses import PlainTextResponse

from core.audit import Act, AuditEntry
from core.users.model import Role
from ui.admin.downloads import audit_address, backup_address
from ui.gate import COOKIE
from ui.server import LatePage, console_alone

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def browser_of(app, served, open_client):
    async def signed_in(name, *, admin=False, application=served):
        user = await app.users.add(name, PASSWORD, admin=admin)
        _, token = await app.users.sign_in(name, PASSWORD, "test")
        return user, open_client(application, cookies={COOKIE: token})

    return signed_in


async def seeded(app, count=1200):
    rows = [AuditEntry(NOON + timedelta(minutes=n), f"id-{n % 2}", ("=SUM(A1)", "Bob")[n % 2], Act.READ, f'-cmd "{n}"\nline', {"n": n}) for n in range(count)]
    for row in rows:
        await app.audit.write(row)
    return rows[::-1]


async def test_the_audit_log_is_exported_whole_and_a_spreadsheet_computes_nothing_of_it(app, browser_of):
    rows = await seeded(app)
    _, opened = await browser_of("ada", admin=True)
    async with opened as client:
        answer = await client.get("/admin/files/audit.jsonl?act=read")
        assert answer.headers["content-disposition"].startswith("attachment")
        found = [json.loads(line) for line in answer.text.splitlines()]
        assert [(f["id"], f["actor"], f["subject"], f["detail"]) for f in found] == [(r.id, r.actor, r.subject, dict(r.detail)) for r in rows]
        assert found[0]["at"] == rows[0].at.isoformat(timespec="milliseconds")
        table = list(csv.reader(io.StringIO((await client.get("/admin/files/audit.csv?actor=bob")).text)))
        assert table[0] == ["at", "actor", "act", "subject", "detail", "actor_id", "id"]
        assert len(table) == 601
        assert {row[1] for row in table[1:]} == {"Bob"}
        whole = (await client.get("/admin/files/audit.csv")).text
        assert not [cell for row in csv.reader(io.StringIO(whole)) for cell in row if cell.startswith(("=", "+", "-", "@"))]
    exported = (await app.audit.entries(act=Act.EXPORTED)).items
    assert [(e.actor, e.subject, e.detail) for e in exported] == [
        ("ada", "audit log", {}), ("ada", "audit log", {"actor": "bob"}), ("ada", "audit log", {"act": "read"}),
    ]  # fmt: skip


async def test_an_export_has_the_days_that_are_asked_for(app, browser_of):
    rows = await seeded(app, 5)
    _, opened = await browser_of("ada", admin=True)
    async with opened as client:
        found = (await client.get("/admin/files/audit.jsonl", params={"since": rows[3].at.isoformat(), "until": rows[1].at.isoformat()})).text
        assert [json.loads(line)["id"] for line in found.splitlines()] == [rows[2].id, rows[3].id]
        for wrong in ("since=yesterday", "until=2026-13-01", "act=nothing", "since=0001-01-01T00:00:00%2B14:00"):
            assert (await client.get(f"/admin/files/audit.jsonl?{wrong}")).status_code == 400, wrong


async def test_a_backup_is_taken_away_whole(app, browser_of):
    _, opened = await browser_of("ada", admin=True)
    async with opened as client:
        who = await app.users.admin(client.cookies[COOKIE])
        await app.console.keeping.back_up(who)
        while not (found := await app.console.keeping.backups(who)):
            await asyncio.sleep(0.02)
        answer = await client.get(backup_address(found[0].name))
        assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
        assert answer.headers["cache-control"] == "no-store"
        for name in ("hearth-20200101T000000Z.zip", "hearth.db", "..%2Fhearth.db", "%2Fetc%2Fpasswd"):
            assert (await client.get(backup_address("x")[:-1] + name)).status_code == 404, name


async def test_for_everybody_else_there_is_nothing_to_take_away(app, browser_of, stranger):
    paths = ["/admin/files/audit.csv", "/admin/files/audit.jsonl", "/admin/files/backups/hearth-20200101T000000Z.zip"]
    user, opened = await browser_of("bob")
    async with opened as client:
        for path in paths:
            assert (await client.get(path)).json()["error"]["message"] == "There is nothing here.", path
    ada, opened = await browser_of("ada", admin=True)
    async with opened as client:
        assert (await client.get(paths[0])).status_code == 200
        await app.users.add("other", PASSWORD, admin=True)
        await app.users.change(ada.id, role=Role.USER)
        for path in paths:
            assert (await client.get(path)).status_code == 404, path
    for path in paths:
        assert (await stranger.get(path)).status_code == 401, path
    assert len((await app.audit.entries(act=Act.EXPORTED)).items) == 1
    assert user.role is Role.USER


async def test_the_console_alone_has_its_sign_in_and_nothing_else(app, browser_of, open_client):
    console = LatePage()
    await console.load(lambda: (PlainTextResponse("the console"), nullcontext()))
    alone = console_alone(app, console)
    _, opened = await browser_of("ada", admin=True, application=alone)
    async with opened as client:
        assert (await client.get("/")).headers["location"] == "/admin/"
        assert (await client.get("/admin/")).text == "the console"
        assert (await client.get("/admin/files/audit.csv")).status_code == 200
        for path in ("/chat/", "/voice", "/v1/conversations", "/docs", "/openapi.json", "/metrics", "/files/x"):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.post("/v1/chat/completions", json={})).status_code == 404
    _, opened = await browser_of("bob", application=alone)
    async with opened as client:
        assert (await client.get("/admin/")).status_code == 404
    async with open_client(alone) as client:
        assert (await client.get("/admin/", headers={"Accept": "text/html"})).headers["location"] == "/login?next=%2Fadmin%2F"
        answer = await client.post("/login", data={"username": "ada", "password": PASSWORD, "next": "/admin/"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
    await console.close()


def test_what_is_asked_for_stands_in_the_address():
    from core.console.logbook import Asked

    assert audit_address("csv", Asked()) == "/admin/files/audit.csv?"
    assert audit_address("jsonl", Asked("a&b", Act.READ, NOON)) == "/admin/files/audit.jsonl?actor=a%26b&act=read&since=2026-01-01T12%3A00%3A00.000%2B00%3A00"
