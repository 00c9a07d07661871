"""Who may look at the console, and what it says when something is wrong."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from core.users.model import Role
from ui.admin.frame import ago, size


def test_an_admin_sees_the_overview(console):
    page = console.page()
    assert page.title[0].value == "Overview"
    assert not page.error


def test_nobody_else_sees_anything(console):
    console.looking = "bob"
    page = console.page()
    assert [e.value for e in page.error] == ["There is nothing here."]
    assert not page.title
    assert not page.dataframe


def test_a_demoted_admin_is_out_at_the_next_click(console):
    page = console.page()
    console.call(partial(console.app.users.add, "other", None, admin=True))
    console.call(partial(console.app.users.change, console.ada.id, role=Role.USER))
    page.run()
    assert "There is nothing here." in [e.value for e in page.error]
    assert not page.dataframe


def test_who_signed_out_is_asked_to_sign_in_again(console):
    page = console.page()
    console.call(console.app.users.sign_out, console.tokens["ada"])
    page.run()
    assert page.error[0].value.startswith("You are not signed in.")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "now"), (5, "5 s ago"), (60, "1 min ago"), (3 * 3600, "3 h ago"), (86_400 * 40, "40 d ago"), (-7200, "in 2 h")]
)
def test_times_are_told_as_people_tell_them(seconds, said):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now=now) == said


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (250_000_000, "250 MB"), (3_200_000_000_000, "3.2 TB")])
def test_sizes_are_told_as_people_tell_them(count, said):
    assert size(count) == said
