"""What every store of golden sets keeps to."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.adapters.golden_sql import SqlGoldenSets
from core.errors import AlreadyThere
from core.ids import new_id
from core.rag.golden import GoldenRow

pytestmark = pytest.mark.anyio
ROW = GoldenRow("", "first", "Where?", "u1", ("lab",), ("c1", "c2"), False, "lab", "", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def golden(database):
    return SqlGoldenSets(database)


def a_row(**given):
    return replace(ROW, id=new_id(), **given)


async def test_rows_come_back_oldest_first_and_page_by_page_of_their_set_alone(golden):
    kept = [a_row(question=f"Question {n}?") for n in range(5)]
    for row in [*kept, a_row(golden_set="second", chunk_ids=(), refuse=True)]:
        await golden.add(row)
    first = await golden.rows("first", limit=3)
    rest = await golden.rows("first", limit=3, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == kept
    assert not rest.next_cursor
    assert await golden.sets() == {"first": 5, "second": 1}


async def test_whoever_asks_for_one_owners_rows_gets_no_others(golden):
    mine, theirs = a_row(), a_row(owner_id="u2")
    for row in (mine, theirs, a_row(owner_id="u2", golden_set="second")):
        await golden.add(row)
    assert (await golden.rows("first", "u1")).items == [mine]
    assert await golden.sets("u1") == {"first": 1}
    assert await golden.sets("u2") == {"first": 1, "second": 1}
    assert await golden.sets("u3") == {}


async def test_a_verdict_is_in_a_set_once_and_what_an_admin_chose_as_often_as_they_like(golden):
    await golden.add(a_row(origin="good", message_id="m1"))
    with pytest.raises(AlreadyThere):
        await golden.add(a_row(origin="good", message_id="m1"))
    await golden.add(a_row(origin="good", message_id="m1", golden_set="second"))
    for _ in range(2):
        await golden.add(a_row(message_id="m1"))
    assert await golden.sets() == {"first": 3, "second": 1}


async def test_dropped_rows_are_counted_and_unknown_ones_are_no_error(golden):
    row = a_row()
    await golden.add(row)
    receipt = await golden.drop([row.id, new_id()])
    assert (dict(receipt.removed), receipt.complete) == ({"golden rows": 1}, True)
    assert await golden.sets() == {}
