"""Visiting the console with a real browser: how it may look, signing in, waiting until a page is whole."""

import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

from running_house import PASSWORD

LOOKS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True},
}
DRAWN = "[data-testid=stEChartsChart][aria-busy=false] canvas"
"""A chart that has been given its data."""


def id_of(house, name):
    with closing(sqlite3.connect(house.home / "hearth.db")) as database:
        return database.execute("SELECT id FROM users WHERE name_key = ?", (name,)).fetchone()[0]


def there(page):
    page.wait_for_selector("[data-testid=stHeading] h1", timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]') && !document.querySelector('[data-stale=true]')", timeout=60_000)


_seats = {}
"""By house, the cookies of Ada's session: she signs in once, for that and the page behind it cost each test two seconds."""


def admin(house, visit, at="", **given):
    """Ada at a page of her console. Streamlit asks for two of its own routes at the wrong place first, and takes the 404 for an answer."""
    visitor = visit(house.url, **given)
    if house.url in _seats:
        visitor.context.add_cookies(_seats[house.url])
        visitor.page.goto(f"{house.url}/admin/{at}")
    else:
        visitor.page.goto(f"{house.url}/login?next={quote(f'/admin/{at}', safe='')}")
        visitor.page.fill("[name=username]", "ada")
        visitor.page.fill("[name=password]", PASSWORD)
        visitor.page.keyboard.press("Enter")
    there(visitor.page)
    _seats[house.url] = visitor.context.cookies()
    return visitor


def problems(visitor):
    ours = [p for p in visitor.problems if "/_stcore/" not in p and not p.startswith("503")]
    return [p for p in ours if not re.match(r"Failed to load resource: .* (404|503)", p)]


def choose(page, name, option):
    """Takes one from a list, and gives the list's field."""
    field = page.get_by_role("combobox", name=name)
    field.click()
    page.wait_for_timeout(500)
    if not page.get_by_role("option").count():  # it closes while the page still moves to it; whoever sees that clicks again
        field.click()
    page.get_by_role("option", name=option).click()
    return field
