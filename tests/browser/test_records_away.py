"""The page over a database that goes away: it says so, what was typed stays in the browser, and the page comes back by itself when the database does."""

import pytest
import servers
from proxy import Proxy
from running_house import RunningHouse

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.mark.parametrize("leg", ["postgres-18"], ids=lambda leg: f"leg={leg}")
def test_what_was_typed_while_the_records_are_away_stays_in_the_browser_and_is_sent_when_they_are_back(leg, visit, tmp_path):
    with servers.postgres_18() as records, Proxy(records.port) as way:
        url = records.url.replace(f":{records.port}/", f":{way.port}/")
        with RunningHouse(tmp_path / "home", HEARTH_CHAT_PAGE="true", HEARTH_RECORDS_URL=url) as house:
            house.make_user()
            house.wait_for_pages()
            ada = visit(house.url)
            ada.sign_in(house.url)
            ada.ask("before")
            page = ada.page
            way.mode = "down"
            page.locator("#text textarea").press_sequentially("typed while they are away")
            page.keyboard.press("Enter")
            page.wait_for_selector("text=The database failed")
            page.wait_for_timeout(500)
            kept = "Object.keys(localStorage).filter(k => k.startsWith('hearth-draft-')).map(k => localStorage[k])"
            assert page.evaluate(kept) == ["typed while they are away"]
            page.reload()
            page.wait_for_selector("text=This page could not start")
            way.mode = ""
            page.wait_for_function("document.querySelector('#text textarea')?.value === 'typed while they are away'")
            page.click("#send")
            page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: typed while they are away")
            assert page.locator(".message.mine").count() == 2
