import re

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from ui.chat.markdown import MAX_HIGHLIGHT_CHARS, render


def parsed(text, *given):
    return BeautifulSoup(render(text, *given), "html.parser")


def test_no_attack_of_the_corpus_survives_rendering(corpus, check_harmless):
    assert len(set(corpus)) >= 100
    for attack in corpus:
        for text in (
            attack,
            f"before {attack} after",
            f"- a\n- {attack}",
            f"**{attack}**",
            f"[{attack}](http://a.test)",
            f"> {attack}\n\n{attack}",
            f"|a|\n|-|\n|{attack}|",
        ):
            check_harmless(render(text, "m", [1, 2]))


def test_no_attack_survives_while_it_is_still_being_written(corpus, check_harmless):
    for attack in corpus:
        for end in range(len(attack)):
            check_harmless(render(attack[:end], "m", [1]))


def test_an_attack_in_the_message_id_stays_in_its_attribute(corpus, check_harmless):
    for attack in corpus:
        page = check_harmless(render("see [1]", attack, [1]))
        assert len(page.find_all(True)) == 2


PIECES = st.sampled_from(
    [
        "[1]",
        "[2](",
        "![",
        "](http://[::",
        "<",
        ">",
        "`",
        "```",
        "\n",
        "\n\n",
        "    ",
        "|",
        "*",
        "_",
        "~~",
        "#",
        "- ",
        "1. ",
        "&#",
        "\\",
        "x",
        "http://a.test",
        ")",
        '"',
        "'",
        "\x00",
        "é",
        "\u202e",
        "javascript:",
        "on",
        "=",
        "\ud7ff",
        "😀",
    ]
)


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join))
def test_any_text_can_be_shown(text):
    page = parsed(text, "m", [1, 2])
    assert not page.find_all(["script", "img", "iframe", "style"])


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, "*" * 3000, "`" * 3001, "> " * 1000, "- " * 1000, "![" * 1500, "(" * 3000 + "[x]" * 500, "|" * 2000, "<" * 3000, "~" * 3000],
    ids=lambda t: t[:4],
)
def test_text_made_to_be_hard_to_read_is_still_shown(text):
    assert parsed(text).find(True)


def test_raw_html_is_shown_as_what_was_typed():
    assert parsed("a <b>bold</b> <script>x</script>").get_text().strip() == "a <b>bold</b> <script>x</script>"


IMAGES = [
    ("![a cat](https://cats.test/cat.png)", "a cat", "cats.test"),
    ("![](https://cats.test/cat.png)", "picture", "cats.test"),
    ("![a *cat*](https://cats.test/cat.png 'title')", "a cat", "cats.test"),
    ("![a cat][c]\n\n[c]: https://cats.test:8080/cat.png", "a cat", "cats.test"),
    ("![x](/files/1)", "x", "unknown place"),
    ("![x](http://[::1]/x)", "x", "::1"),
    ("![x](http://[bad)", "x", ""),
]


@pytest.mark.parametrize(("text", "alt", "host"), IMAGES, ids=[i[0] for i in IMAGES])
def test_an_outside_picture_is_a_link_that_names_its_host(text, alt, host):
    page = parsed(text)
    assert not page.find_all("img")
    assert alt in page.get_text()
    assert host in page.get_text()


def test_links_open_beside_the_page_and_tell_nobody_where_they_were_found():
    link = parsed("[docs](https://docs.test/a?b=c)").a
    assert (link["href"], link["target"], set(link["rel"])) == ("https://docs.test/a?b=c", "_blank", {"noopener", "noreferrer"})


def cited(text, known, message_id="m1"):
    return [b["data-cite"] for b in parsed(text, message_id, known).find_all("button", attrs={"data-cite": True})]


CITATIONS = [
    ("kept for 35 days [1].", [1], ["m1-1"]),
    ("[1][2] and [2]", [1, 2], ["m1-1", "m1-2", "m1-2"]),
    ("**[1]** and *see [2]*", [1, 2], ["m1-1", "m1-2"]),
    ("- [1]\n- [2]", [1, 2], ["m1-1", "m1-2"]),
    ("|a|\n|-|\n|[1]|", [1], ["m1-1"]),
    ("> [1]", [1], ["m1-1"]),
    ("[12]", [12], ["m1-12"]),
    ("[3] is no source", [1, 2], []),
    ("[1] without sources", [], []),
    ("[0] [-1] [1.5] [a] [123] []", [1], []),
    ("`[1]` is code", [1], []),
    ("```\nx[1]\n```", [1], []),
    ("```python\nx[1]\n```", [1], []),
    ("    x[1]", [1], []),
    ("[1](http://a.test)", [1], []),
    ("[01] is no number of a source", [1], []),
    ("the number [١] in other digits", [1], []),
]


@pytest.mark.parametrize(("text", "known", "buttons"), CITATIONS, ids=[c[0] for c in CITATIONS])
def test_a_citation_is_a_button_only_in_prose_and_only_for_a_known_source(text, known, buttons):
    assert cited(text, known) == buttons


def test_what_is_no_citation_keeps_its_text():
    assert parsed("see [1], [7] and `a[1]`", "m", [1]).get_text().strip() == "see 1, [7] and a[1]"


def test_a_citations_button_says_what_it_does():
    button = parsed("[2]", "m", [2]).button
    assert (button["type"], button["aria-label"], button.get_text()) == ("button", "Source 2", "2")


CODE = 'def f(x):\n    return x[1] if x < 2 & 3 else "<b>&amp;</b>"\n'


@pytest.mark.parametrize("language", ["", "python", "no-such-language", 'py"><b>', "python extra words"])
def test_code_is_shown_to_the_letter_with_a_button_to_copy_it(language):
    page = parsed(f"```{language}\n{CODE}```", "m", [1])
    assert page.pre.get_text() == CODE
    assert page.find("button", attrs={"data-copy": "code"})
    assert bool(page.pre.find("span")) is language.startswith("python")


def test_code_that_is_very_long_is_shown_without_colours():
    code = "x = 1\n" * (MAX_HIGHLIGHT_CHARS // 6 + 1)
    page = parsed(f"```python\n{code}```")
    assert page.pre.get_text() == code
    assert not page.pre.find("span")


def test_a_block_that_is_not_closed_yet_is_code_already():
    assert parsed("text\n\n```python\nx = 1").pre.get_text() == "x = 1\n"


def test_a_table_keeps_its_alignment_and_nothing_else_of_style():
    page = parsed("|a|b|\n|:-:|-:|\n|1|2|")
    assert [re.sub(r"\s", "", t["style"]) for t in page.find_all(["th", "td"])] == ["text-align:center", "text-align:right"] * 2


FORMULAS = {
    "It is $\\frac{a}{b}$ here.": "mfrac",
    "$$\n\\sqrt{x}\n$$": "msqrt",
    "a $$x^2$$ b": "msup",
    "\\begin{align}a&=b\\end{align}": "mtable",
}


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_drawn_by_the_browser_itself(text):
    page = parsed(text)
    assert page.math is not None
    assert page.find(FORMULAS[text]) is not None


@pytest.mark.parametrize("text", ["It costs $5 or $6.", "between $10 and $20", "`$x$`", "```\n$x$\n```", "US$ and A$", "a \\$x\\$ b"])
def test_prices_and_code_are_no_formulas(text):
    assert parsed(text).math is None


def test_a_formula_that_can_not_be_read_is_shown_as_it_was_written():
    assert parsed("so $\\frac{a}{$ it is").code.get_text() == "\\frac{a}{"
    assert parsed("$" + "x+" * 2000 + "y$").math is None


def test_no_attack_survives_inside_a_formula(corpus, check_harmless):
    for attack in corpus:
        for text in (f"${attack}$", f"$\\text{{{attack}}}$", f"$$\n\\text{{{attack}}}\n$$", f"\\begin{{align}}{attack}\\end{{align}}"):
            check_harmless(render(text))


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="\\\\{}^_&abfracsqrtextleightbeginndmatrix$ 12+=<>", max_size=60))
def test_no_formula_breaks_the_page(source):
    parsed(f"${source}$ and $$\n{source}\n$$")
