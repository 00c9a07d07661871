"""Every text that people read has its words in every catalogue, and the catalogues hold nothing else."""

import re
from io import BytesIO

import pytest
import words
from babel.messages.pofile import read_po

from ui.catalogue import Catalogue, entries
from ui.words import LANGUAGES, SCRIPTS

OTHERS = sorted(LANGUAGES.keys() - {"en"})
pytestmark = pytest.mark.parametrize("code", OTHERS)


def messages(code):
    return [m for m in read_po(BytesIO(words.catalogue_of(code).read_bytes()), locale=code) if m.id]


def both(message):
    """(ids, texts) of a message, one of each or as many as it has forms."""
    ids, texts = message.id, message.string
    return (ids, texts) if isinstance(ids, tuple) else ((ids,), (texts,))


def named(text):
    return sorted(re.findall(r"\{(\w*)\}", text))


def test_every_text_is_translated_and_none_is_left_over(code):
    known = {both(m)[0] for m in messages(code)}
    assert (sorted(words.texts().keys() - known), sorted(known - words.texts().keys())) == ([], []), "run `make words`, then fill in what it names"
    assert [m.id for m in messages(code) if m.fuzzy or not all(both(m)[1])] == []


def test_the_file_is_as_make_words_writes_it(code):
    assert words.catalogue_of(code).read_bytes() == words.updated(code), "run `make words`"


def test_every_translation_has_the_places_of_its_text_and_no_other(code):
    assert [(one, text) for m in messages(code) for one, text in [(both(m)[0][-1], t) for t in both(m)[1]] if named(one) != named(text)] == []


def test_no_translation_holds_html_that_its_text_does_not(code):
    signs = set('<>&"')
    assert [text for m in messages(code) for text in both(m)[1] if (set(text) & signs) - set("".join(both(m)[0]))] == []


def test_the_pages_read_the_file_as_babel_does(code):
    read = {e.ids: e.texts for e in entries(words.catalogue_of(code).read_text("utf-8")) if e.ids != ("",)}
    assert read == {both(m)[0]: both(m)[1] for m in messages(code)}
    catalogue = Catalogue(words.catalogue_of(code))
    assert {m.id: catalogue.gettext(m.id) for m in messages(code) if isinstance(m.id, str)} == {m.id: m.string for m in messages(code) if isinstance(m.id, str)}
    for m in messages(code):
        if isinstance(m.id, tuple):
            assert [catalogue.ngettext(*m.id, count) for count in (1, 2)] == list(m.string)


def test_the_script_gets_its_own_texts_and_no_more(code):
    asked = {ids[0] for ids, text in words.texts().items() if text.places & set(SCRIPTS)}
    assert Catalogue(words.catalogue_of(code)).texts_of(*SCRIPTS).keys() == asked
    assert len(asked) > 15
