from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bs4 import BeautifulSoup

from core.chat.model import ChatMessage, Conversation, Feedback, MessageMetadata, MessageStatus, Thread, Timing, Verdict
from core.chat.stages import stages
from core.inference import Usage
from core.rag.model import Collection, IngestJob, IngestStage, Source
from core.records import DeleteReceipt
from ui.chat import render

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TRACE = {
    "considered": 1812, "returned": 2, "collections": ["lab", "home"], "ms": {"total": 41.6}, "degraded": "",
    "candidates": [{"chunk_id": "c1", "dense_rank": 1, "dense_score": 0.9, "lexical_rank": None, "lexical_score": None,
                    "fused_rank": 1, "fused_score": 0.03, "rerank_rank": 2, "rerank_score": 0.5}],
}  # fmt: skip


def a_source(number=1, **given):
    passage = "Backups run every night\nand are kept for 35 days."
    return Source(number, f"c{number}", f"d{number}", "Lab handbook", 3, 0, "night and are kept", 0.9, passage=passage, heading="Backups", **given)


def an_answer(content="Kept for 35 days [1].", status=MessageStatus.COMPLETE, **metadata):
    return ChatMessage("m1", "c1", "s1", "u1", "assistant", content, NOW, MessageMetadata(**metadata), status, "q1")


def a_job(stage=IngestStage.PARSING, **given):
    return IngestJob("j1", "d1", "u1", "lab", given.pop("title", "guide.md"), stage, given.pop("percent", 40.0), created_at=NOW, **given)


def shown(messages, branches=None, verdicts=None, **given):
    acting = given.pop("acting", True)
    return "".join(render.thread(Thread(tuple(messages), branches or {}, **given), verdicts or {}, acting=acting))


def parsed(html):
    return BeautifulSoup(html, "html.parser")


# Where a text of somebody else's stands on the page; a name in HTML takes the text.
PLACES = {
    "a question": lambda t: render.question(ChatMessage(t, "c1", "s1", "u1", "user", t, NOW)),
    "the ids of growing answers": lambda t: render.followed([t]),
    "a tag": lambda t: render.conversations([Conversation("c1", "u1", "x", NOW, NOW, tags=(t,))], "", "", now=NOW),
    "what a search found": lambda t: render.conversations([Conversation("c1", "u1", "x", NOW, NOW, found=t)], "", "", now=NOW),
    "a search": lambda t: render.conversations([Conversation("c1", "u1", "§", NOW, NOW, found="§")], "", t, now=NOW),
    "a branch": lambda t: shown([an_answer()], {"m1": ("m1", t)}),
    "a title in the list": lambda t: render.conversations([Conversation(t, "u1", t, NOW, NOW)], "", "", now=NOW),
    "a user name": lambda t: render.account(t),
    "a document's title": lambda t: render.sources(an_answer(sources=(replace(a_source(), title=t),))),
    "a heading": lambda t: render.sources(an_answer(sources=(replace(a_source(), heading=t),))),
    "a passage": lambda t: render.sources(an_answer(sources=(replace(a_source(), passage=t, quote=""),))),
    "a document's id": lambda t: render.sources(an_answer(sources=(replace(a_source(), document_id=t),))),
    "a retrieval's trouble": lambda t: render.sources(an_answer(sources=(a_source(),), retrieval=TRACE | {"degraded": t})),
    "an error": lambda t: render.answer(an_answer(status=MessageStatus.FAILED, error=t)),
    "a caution": lambda t: render.answer(an_answer(caution=t)),
    "a model's name": lambda t: render.answer(an_answer(model_used=t)),
    "a message's id": lambda t: render.answer(replace(an_answer(sources=(a_source(),), status=MessageStatus.STOPPED), id=t)),
    "a conversation's id": lambda t: render.sent("m1", t),
    "a job's title": lambda t: render.jobs([a_job(title=t)]),
    "a job's error": lambda t: render.jobs([a_job(IngestStage.FAILED, error=t)]),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_no_attack_of_the_corpus_changes_the_page_it_stands_on(corpus, check_harmless, shape_of, place):
    plain = shape_of(place("harmless"))
    for attack in corpus:
        html = place(attack)
        check_harmless(html)
        assert shape_of(html) == plain, attack


def test_no_attack_survives_in_an_answer_its_quote_or_while_it_grows(corpus, check_harmless):
    for attack in corpus:
        known = (replace(a_source(), passage=f"so {attack} it is", quote=attack),)
        check_harmless(render.answer(an_answer(f"{attack} [1]", sources=known, retrieval=TRACE)))
        check_harmless(render.growing(attack, "model", "m1", known))


FIGURES = [
    ({}, ""),
    ({"tokens_used": 5}, "5 tokens"),
    ({"tokens_used": 101, "timing": Timing(first_token_ms=100, total_ms=2100)}, "first words after 100 ms · 50 tokens/s · 101 tokens"),
    ({"tokens_used": 1, "timing": Timing(first_token_ms=1500, total_ms=1500)}, "first words after 1.5 s · 1 token"),
    ({"tokens_used": 3, "usage": Usage(1, 3, estimated=True)}, "3 tokens (estimated)"),
    ({"timing": Timing(queue_ms=99)}, ""),
    ({"timing": Timing(queue_ms=2500), "model_used": "echo"}, "waited 2.5 s · echo"),
    ({"timing": Timing(first_token_ms=0, total_ms=0), "tokens_used": 9}, "first words after 0 ms · 9 tokens"),
]


@pytest.mark.parametrize(("metadata", "line"), FIGURES, ids=[f[1] or "nothing" for f in FIGURES])
def test_the_figures_say_what_is_known_and_nothing_else(metadata, line):
    assert parsed(render.answer(an_answer(**metadata))).footer.span.get_text() == line


@pytest.mark.parametrize(
    ("status", "said", "button"),
    [
        (MessageStatus.INTERRUPTED, "broken off", "Continue"),
        (MessageStatus.STOPPED, "You stopped", "Continue"),
        (MessageStatus.FAILED, "no answer", "Try again"),
    ],
)
def test_a_broken_answer_says_why_and_offers_to_go_on(status, said, button):
    trouble = parsed(render.answer(an_answer(status=status, error="The disk is full."))).find(class_="trouble")
    assert said in trouble.span.get_text()
    assert "The disk is full." in trouble.span.get_text()
    assert (trouble.button.get_text(), trouble.button["data-act"], trouble.button["data-id"]) == (button, "continue", "m1")


def test_a_complete_answer_has_no_trouble_and_an_empty_one_nothing_to_copy():
    assert parsed(render.answer(an_answer())).find(class_="trouble") is None
    assert parsed(render.answer(an_answer())).find(attrs={"data-copy": "message"})
    assert parsed(render.answer(an_answer(""))).find(attrs={"data-copy": "message"}) is None


def test_cited_sources_stand_out_from_those_that_were_only_read_and_each_has_its_panel():
    page = parsed(render.answer(an_answer(sources=(a_source(1), a_source(2)), retrieval=TRACE)))
    chips = page.find_all(class_="chip")
    assert [("read" in c["class"], c["data-cite"]) for c in chips] == [(False, "m1-1"), (True, "m1-2")]
    assert [p["id"] for p in page.find_all(class_="source")] == ["source-m1-1", "source-m1-2"]
    assert all(p.name == "template" for p in page.find_all(class_="source")), "the pictures in a panel are loaded when it is shown and not before"


def test_a_panel_opens_the_original_at_its_page_with_the_quote_marked_and_says_how_it_was_found():
    panel = parsed(render.panel(an_answer(sources=(a_source(),), retrieval=TRACE), a_source()).replace("template", "div"))
    assert panel.find(class_="original")["href"] == "/files/d1#page=3"
    assert panel.mark.get_text().split() == ["night", "and", "are", "kept"]
    assert panel.find(class_="where").get_text() == "page 3 · Backups"
    assert [[c.get_text() for c in row.find_all(["th", "td"])] for row in panel.find_all("tr")] == [
        ["by meaning", "#1", "0.900"], ["by words", "–", ""], ["fused", "#1", "0.030"], ["reranked", "#2", "0.500"],
    ]  # fmt: skip
    assert panel.find(class_="searched").get_text() == "2 of 1,812 passages from 2 collections · 42 ms"
    assert panel.find(class_="unverified") is None


def test_a_quote_that_does_not_stand_in_its_passage_is_said_to_be_so():
    source = a_source(verified=False)
    assert parsed(render.panel(an_answer(sources=(source,)), source)).find(class_="unverified")


@pytest.mark.parametrize(
    ("passage", "quote", "marked"), [("a b\n c d", "b c", "b\n c"), ("a (b) c", "(b)", "(b)"), ("a b", "x", None), ("a b", "", None), ("a <b> c", "<b>", "<b>")]
)
def test_a_quote_is_marked_however_its_lines_are_broken(passage, quote, marked):
    page = parsed(render.marked(passage, quote))
    assert page.get_text() == passage
    assert (page.mark.get_text() if page.mark else None) == marked


@pytest.mark.parametrize(
    ("text", "stage", "waits"),
    [
        ("", "queued", "Waiting for its turn"),
        ("", "retrieval", "Reading your documents"),
        ("", "model", "Thinking"),
        ("", "?", "Thinking"),
        ("So", "model", None),
    ],
)
def test_an_answer_without_words_yet_says_what_it_waits_for(text, stage, waits):
    page = parsed(render.growing(text, stage, "m1", []))
    status = page.find(attrs={"role": "status"})
    assert (status.get_text() if status else None) == (f"{waits}…" if waits else None)


def test_growing_answers_have_a_place_that_says_which_they_are():
    place = parsed(render.followed(["m1", "m2"])).div
    assert (place["data-growing"], len(place.find_all("article"))) == ("m1 m2", 2)


def test_a_message_that_was_taken_names_its_conversation_whether_or_not_its_answer_still_grows():
    mark = parsed(render.sent("m1", "c1")).i
    assert (mark["data-sent"], mark["data-conversation"]) == ("m1", "c1")


def test_a_transcript_shows_questions_as_typed_answers_as_markdown_and_a_way_to_what_came_before():
    question = ChatMessage("q1", "c1", "s1", "u1", "user", "**what** is it?", NOW)
    page = parsed(shown([question, an_answer("**this**")], older=True))
    assert [a["aria-label"] for a in page.find_all("article")] == ["You", "Hearth"]
    assert page.find(class_="said").get_text() == "**what** is it?"
    assert page.strong.get_text() == "this"
    assert page.find(attrs={"data-act": "older"})
    assert shown([]) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "now"), (59, "now"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (86400 * 3, "3 d"), (86400 * 61, "2 mo"), (86400 * 800, "2 y"), (-5, "now")],
)
def test_the_list_says_how_long_ago_something_was(seconds, said):
    assert render.ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_the_list_marks_the_open_conversation_and_offers_more():
    page = parsed(render.conversations([Conversation(i, "u1", f"Title {i}", NOW, NOW) for i in "ab"], "b", "", more=True, now=NOW))
    assert [(li.get("aria-current"), li.find(class_="open")["data-id"]) for li in page.find_all("li")] == [(None, "a"), ("true", "b")]
    assert page.find(attrs={"data-act": "more"})
    assert "Nothing found" in render.conversations([], "", "x")
    assert "will be listed" in render.conversations([], "", "")


JOBS = [
    (IngestStage.QUEUED, "waiting", True),
    (IngestStage.PARSING, "reading · 40 %", True),
    (IngestStage.EMBEDDING, "understanding · 40 %", True),
    (IngestStage.READY, "ready", True),
    (IngestStage.FAILED, "It is a picture.", False),
]


@pytest.mark.parametrize(("stage", "said", "bar"), JOBS, ids=[j[0] for j in JOBS])
def test_a_job_says_how_far_it_is_or_why_it_failed(stage, said, bar):
    page = parsed(render.jobs([a_job(stage, error="It is a picture." if stage is IngestStage.FAILED else "")]))
    assert page.span.get_text() == said
    assert bool(page.progress) is bar


def test_many_documents_on_their_way_are_a_number_with_when_the_last_is_expected_and_a_way_to_pause():
    waiting = [replace(a_job(stage=IngestStage.QUEUED, title=f"{n}.md"), eta_s=200.0 + n) for n in range(8)]
    page = parsed(render.jobs([replace(a_job(stage=IngestStage.FAILED, title="bad.md"), error="It is damaged."), *waiting], 300))
    assert [b.get_text() for b in page.find_all("b")] == ["300 documents on their way", "bad.md"]
    assert page.find(class_="all").span.get_text() == "about 3 min"
    assert page.find(class_="all").button["data-job"] == "pause"
    assert parsed(render.jobs(waiting, 300, paused=True)).find(class_="all").button["data-job"] == "resume"
    assert [b.get_text() for b in parsed(render.jobs(waiting[:2], 2)).find_all("b")] == ["2 documents on their way", "0.md", "1.md"]


@pytest.mark.parametrize(
    ("stage", "age_s", "shown"),
    [
        (IngestStage.PARSING, 9999, True),
        (IngestStage.READY, 59, True),
        (IngestStage.READY, 61, False),
        (IngestStage.FAILED, 599, True),
        (IngestStage.FAILED, 601, False),
    ],
)
def test_jobs_leave_the_page_some_time_after_they_ended(stage, age_s, shown):
    assert bool(render.recent([a_job(stage, heartbeat_at=NOW - timedelta(seconds=age_s))], NOW)) is shown


@pytest.mark.parametrize(
    ("removed", "left", "said"),
    [
        ({"messages": 2, "conversations": 1, "events": 0}, {"messages": 0}, "2 messages, 1 conversation removed. Nothing of it is left."),
        ({}, {}, "Nothing removed. Nothing of it is left."),
        ({"chunks": 1}, {"chunks": 3}, "1 passage removed. Still there: 3 passages."),
    ],
)
def test_a_receipt_is_a_sentence(removed, left, said):
    assert render.receipt(DeleteReceipt(removed, left)) == said


def test_a_collection_is_offered_with_the_number_of_its_documents():
    collection = Collection("1", "u1", "lab", "echo-embed", 384, "x/700", NOW)
    assert render.collection_choices([(collection, {"ready": 7})]) == [("lab (7)", "lab")]


def test_an_answer_with_branches_leads_to_the_one_before_and_the_next():
    page = parsed(shown([an_answer()], {"m1": ("m0", "m1", "m2")}))
    assert page.find(class_="branch").get_text() == "‹2/3›"
    assert [b["data-id"] for b in page.find_all(attrs={"data-act": "branch"})] == ["m0", "m2"]
    first = parsed(shown([an_answer()], {"m1": ("m1", "m2")}))
    assert [b["data-id"] for b in first.find_all(attrs={"data-act": "branch"})] == ["m2"]
    assert parsed(shown([an_answer()])).find(class_="branch") is None


def test_a_verdict_is_shown_as_pressed():
    page = parsed(shown([an_answer()], verdicts={"m1": Feedback("m1", "u1", Verdict.BAD, "", NOW)}))
    assert {b["data-judge"]: b["aria-pressed"] for b in page.find_all(attrs={"data-judge": True})} == {"good": "false", "bad": "true"}


def test_what_a_search_found_is_marked_however_it_is_written():
    found = Conversation("c1", "u1", "Wool", NOW, NOW, found="comes from SHETLAND sheep & wool")
    page = parsed(render.conversations([found], "", "wool shetland", now=NOW))
    assert [m.get_text() for m in page.find_all("mark")] == ["Wool", "SHETLAND", "wool"]
    assert page.em.get_text() == found.found


def test_a_waterfall_begins_where_the_stage_before_ended_and_words_run_beside_meaning():
    timing = Timing(queue_ms=20.0, retrieval_ms=30.0, first_token_ms=90.0, total_ms=290.0)
    retrieval = {"ms": {"embed": 8.0, "dense": 6.0, "lexical": 10.0, "fuse": 1.0, "load": 3.0, "rerank": 12.0, "total": 30.0}}
    bars = {name: (begin, length) for name, begin, length in stages(an_answer(timing=timing, retrieval=retrieval))}
    assert bars == {
        "embed": (0.0, 8.0), "dense": (8.0, 6.0), "lexical": (0.0, 10.0), "fuse": (14.0, 1.0), "load": (15.0, 3.0),
        "rerank": (18.0, 12.0), "queue": (30.0, 20.0), "first_token": (50.0, 40.0), "writing": (90.0, 200.0),
    }  # fmt: skip
    assert stages(an_answer()) == []
    assert parsed(render.answer(an_answer())).find("details") is None
    assert "290 ms" in parsed(render.answer(an_answer(timing=timing, retrieval=retrieval))).summary.get_text()


@pytest.mark.parametrize(
    ("position", "eta_s", "words"),
    [
        (1, 0.2, "1st in the queue, about 1 s"),
        (2, 5.4, "2nd in the queue, about 5 s"),
        (3, 12.0, "3rd in the queue, about 12 s"),
        (11, 89, "11th in the queue, about 89 s"),
        (21, 150, "21st in the queue, about 2 min"),
        (112, None, "112th in the queue"),
    ],
)
def test_an_answer_that_waits_says_where_in_the_queue_and_about_how_long(position, eta_s, words):
    shown = parsed(render.growing("", "queue", "m1", [], position=position, eta_s=eta_s)).find(class_="waiting")
    assert shown.text == words


def test_once_there_are_words_the_queue_is_no_longer_shown():
    assert parsed(render.growing("So", "queue", "m1", [], position=3, eta_s=12.0)).find(class_="waiting") is None


def test_what_had_no_room_is_said_with_what_the_model_was_told_instead():
    page = parsed(render.answer(an_answer(dropped=12, summary="- asked about <doors>")))
    assert page.find(class_="left-out").get_text() == "12 earlier messages didn't fit; summarised: - asked about <doors>"
    assert parsed(render.answer(an_answer())).find(class_="left-out") is None
