"""What every audit log keeps to."""

from datetime import UTC, datetime, timedelta

import pytest

from core.audit import Act, AuditEntry
from core.errors import BadInput

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def written(audit, count=5):
    rows = [
        AuditEntry(NOON + timedelta(minutes=n), f"id-{n % 2}", ("Ada", "Bob")[n % 2], (Act.READ, Act.DELETED)[n == 4], f"conversation {n}", {"n": n})
        for n in range(count)
    ]
    for row in rows:
        await audit.write(row)
    return rows[::-1]


async def test_rows_come_back_latest_first_and_page_by_page(audit):
    rows = await written(audit)
    first = await audit.entries(limit=3)
    rest = await audit.entries(limit=3, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == rows
    assert not rest.next_cursor


async def test_rows_are_found_by_who_what_and_when(audit):
    rows = await written(audit)
    assert (await audit.entries(actor="aDA")).items == [row for row in rows if row.actor == "Ada"]
    assert (await audit.entries(act=Act.DELETED)).items == rows[:1]
    assert (await audit.entries(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=3))).items == rows[2:4]


async def test_a_page_that_nobody_gave_is_refused(audit):
    with pytest.raises(BadInput):
        await audit.entries(cursor="nonsense")
