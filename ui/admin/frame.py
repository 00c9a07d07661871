"""What every page of the console stands in: errors as sentences, parts that refresh themselves, paged tables, deletes with a question and a receipt."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import streamlit as st

from core.errors import NotSignedIn
from core.records import DeleteReceipt, Page
from ui.admin.bridge import drawn_giving_way
from ui.errors import sentence

P = ParamSpec("P")

PAGE_ROWS = 50
_RECEIPT = "receipt"
RECEIPT_S = 15.0
"""So long a receipt is drawn again: a page draws itself more than once after a click, and nobody reads in a blink."""


@contextmanager
def shown() -> Iterator[None]:
    """Draws whatever goes wrong inside as a sentence; a bug by its reference alone. Streamlit's own ways of stopping a script pass."""
    try:
        drawn_giving_way()
        yield
    except NotSignedIn as error:
        st.error(sentence(error), icon=":material/lock:")
        st.link_button("Sign in", "/login?next=/admin/")
    except Exception as error:  # the one place where the console meets an error  # noqa: BLE001
        st.error(sentence(error), icon=":material/error:")


def live(every_s: float | None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Makes a function a part of the page that draws itself again every so many seconds, and nothing else with it; None draws it once."""

    def decorate(draw: Callable[P, None]) -> Callable[P, None]:
        @wraps(draw)
        def drawn(*args: P.args, **given: P.kwargs) -> None:
            with shown():
                draw(*args, **given)

        refreshing: Callable[P, None] = st.fragment(run_every=every_s)(drawn)
        return refreshing

    return decorate


class Underway(Protocol):
    """Something that a room has begun and that goes on by itself."""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""


U = TypeVar("U", bound=Underway)


def underway(key: str, look: Callable[[], U | None], draw: Callable[[U], None], stop: Callable[[], None]) -> U | None:
    """Draws how far something is, again and again with a button that stops it; the whole page once it is over. Gives what it was when the page began."""
    first = look()
    if first is None:
        return None
    going = not first.over

    @live(2 if going else None)
    def drawn() -> None:
        now = look()
        if now is None or (going and now.over):
            st.rerun()
        draw(now)
        if going and st.button("Stop", icon=":material/stop_circle:", key=key):
            stop()
            st.rerun()

    drawn()
    return first


def cursor(key: str = "after") -> str:
    """Where in a list the page stands, from the URL."""
    return st.query_params.get(key, "")


def pager(page: Page[Any], key: str = "after") -> None:
    """The buttons under a table: back to its first page, and on to the next. The place is kept in the URL under `key`."""
    here = cursor(key)
    if not here and not page.next_cursor:
        return
    with st.container(horizontal=True):
        st.button("First page", icon=":material/first_page:", disabled=not here, key=f"{key}-first", on_click=_go, args=(key, ""))
        st.button("Next page", icon=":material/chevron_right:", disabled=not page.next_cursor, key=f"{key}-next", on_click=_go, args=(key, page.next_cursor))


def _go(key: str, to: str) -> None:
    if to:
        st.query_params[key] = to
    elif key in st.query_params:
        del st.query_params[key]


def from_the_start(key: str) -> None:
    """Another question has another first page: for `on_change` of whatever is asked by, with the key of the list."""
    _go(key, "")


def nothing(what: str, *, then: str = "", icon: str = ":material/inbox:") -> None:
    """What an empty list says: that it is empty, and what to do next."""
    st.info(f"{what} {then}".strip(), icon=icon)


def deleting(key: str, button: str, *, what: str, goes: Mapping[str, int] | Sequence[str] = (), act: Callable[[], DeleteReceipt]) -> None:
    """A button that says what it will delete, asks, deletes, and leaves the receipt for `receipt` to show.

    what: the thing, as in "the collection papers of ada".   goes: what goes with it, by kind or in lines.
    """
    asked = f"{key}-asked"
    if not st.session_state.get(asked):
        st.button(button, icon=":material/delete:", key=key, on_click=_set, args=(asked, True))
        return
    with st.container(border=True):
        st.warning(f"This deletes {what}. It can't be taken back.", icon=":material/delete_forever:")
        lines = [f"{count:,} {kind}" for kind, count in goes.items()] if isinstance(goes, Mapping) else goes
        if lines:
            st.text("\n".join(f"· {line}" for line in lines))
        with st.container(horizontal=True):
            st.button("Keep it", key=f"{key}-no", on_click=_set, args=(asked, False))
            wanted = st.button("Delete for good", type="primary", key=f"{key}-yes")
    if wanted:
        st.session_state[_RECEIPT] = (what, act(), time.monotonic() + RECEIPT_S)
        st.session_state[asked] = False
        st.rerun()


def _set(key: str, value: object) -> None:
    st.session_state[key] = value


def receipt() -> None:
    """The receipt of the last delete: what went, by kind, and what was still found afterwards."""
    if _RECEIPT not in st.session_state:
        return
    what, given, until_s = st.session_state[_RECEIPT]
    if time.monotonic() > until_s:
        del st.session_state[_RECEIPT]
        return
    gone = ", ".join(f"{count:,} {kind}" for kind, count in given.removed.items() if count) or "nothing"
    if given.complete:
        st.success(f"Deleted {what}: {gone}. 0 left in every store.", icon=":material/task_alt:")
    else:
        left = ", ".join(f"{count:,} {kind}" for kind, count in given.left.items() if count)
        st.error(f"Deleted {what}: {gone}. Still there: {left}. Try again; the log names the cause.", icon=":material/error:")


def ago(moment: datetime | None, *, now: datetime | None = None) -> str:
    """How long ago that was, for people: "3 min ago"; "–" for never."""
    if moment is None:
        return "–"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    past = seconds >= 0
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if abs(seconds) >= length:
            return f"{abs(seconds) // length:.0f} {unit} ago" if past else f"in {abs(seconds) // length:.0f} {unit}"
    return "now"


def moment(at: datetime) -> str:
    """A time for people, exact to the minute, in UTC."""
    return f"{at.astimezone(UTC):%a %d %b %Y, %H:%M} UTC"


def size(count_bytes: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count_bytes < 1000:
            return f"{count_bytes:.0f} {unit}" if unit == "B" or count_bytes >= 100 else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1000
    return f"{count_bytes:.1f} TB"
