"""The versions of a collection on its page: re-embedded, compared, let be searched, taken back, removed."""

import time

import pytest
from echo_house import taken_in
from seen import rows, said

from core.audit import Act

OTHER = "echo-embed-small"


async def _filled(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    for n, thing in enumerate(("keys", "tea", "wool")):
        await taken_in(app, who, f"{n}.md", f"# Part {n}\n\nThis is about {thing} and nothing else.\n".encode())
    return (await app.library.collection(who.user, "lab")).id


@pytest.fixture
def collection(console):
    return console.call(_filled, console.app)


def versions(console, collection):
    return console.page("collection", collection=collection, view="versions")


def built(console, collection):
    """The page once version 2 is there."""
    page = versions(console, collection)
    page.selectbox(key="model").set_value(OTHER).run()
    page.button(key="re-embed").click().run()
    for _ in range(200):
        page = versions(console, collection)
        if "ready" in [r["State"] for r in rows(page, "Dimensions")]:
            return page
        time.sleep(0.05)
    raise AssertionError("it was never built")


def test_a_collection_is_re_embedded_compared_served_and_taken_back(console, collection):
    page = versions(console, collection)
    assert [(r["Version"], r["State"], r["Model"]) for r in rows(page, "Dimensions")] == [(1, "searched", "echo-embed")]
    page = built(console, collection)
    assert [(r["Version"], r["State"], r["Model"], r["Dimensions"]) for r in rows(page, "Dimensions")] == [
        (2, "ready", OTHER, 64),
        (1, "searched", "echo-embed", 384),
    ]
    page.toggle(key="compare-versions").set_value(True).run()
    assert [(r["Version"], r["Found among the first 5"]) for r in rows(page, "Mean reciprocal rank")] == [(1, "100%"), (2, "100%")]
    assert "first sentences of passages" in said(page)
    page.button(key="serve").click().run()
    assert [(r["Version"], r["State"]) for r in rows(versions(console, collection), "Dimensions")] == [(2, "searched"), (1, "ready")]
    page = versions(console, collection)
    page.button(key="serve").click().run()
    assert [(r["Version"], r["State"]) for r in rows(versions(console, collection), "Dimensions")] == [(2, "ready"), (1, "searched")]
    acts = [(subject, detail["version"]) for subject, detail in [*console.noted(Act.MADE), *console.noted(Act.CHANGED)] if "version" in detail]
    assert acts == [(f"collection {collection}", 2), (f"collection {collection}", 1), (f"collection {collection}", 2)]


def test_a_version_is_removed_with_a_receipt_and_the_searched_one_can_not_be(console, collection):
    page = built(console, collection)
    page.button(key="drop-version").click().run()
    page.button(key="drop-version-yes").click().run()
    assert "3 vectors" in said(page)
    assert "0 left in every store" in said(page)
    page = versions(console, collection)
    assert [r["Version"] for r in rows(page, "Dimensions")] == [1]
    assert not [b for b in page.button if b.key == "drop-version"]
