"""The pages that say whether all is well: overview and models."""

import asyncio
import json
import logging
import socket
import time
from contextlib import AsyncExitStack

import pytest
from echo_house import ask, finished, say
from seen import rows, said

from core.audit import Act
from core.console.overview import percentiles
from core.errors import IllegalStep
from core.inference import Priority, Service
from inference.lanes import Lanes, Ticket


async def _asked(app, *texts):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    return [await finished(await app.chat.send(who, ask(text))) for text in texts]


def test_an_empty_house_says_that_all_works_and_that_nothing_was_asked(console):
    page = console.page()
    assert "All 9 parts work." in said(page)
    assert {r["Part"] for r in rows(page, "Answers in ms")} == {"records", "objects", "argo", "kubeflow", "llm", "embeddings", "reranker", "stt", "tts"}
    assert rows(page, "Answers in ms")[0]["By"].startswith("SQLite 3")
    assert all(r["Answers in ms"] >= 0 for r in rows(page, "Answers in ms") if r["Part"] != "kubeflow"), "kfp is an extra"
    assert "Nobody has asked anything in the last 24 hours." in said(page)
    assert "There is no backup." in said(page)


def test_what_was_asked_shows_in_the_figures_and_where_its_time_went(console):
    console.call(_asked, console.app, "one", "two", "three")
    page = console.page()
    figures = {m.label: m.value for m in page.metric}
    assert figures["Requests today"] == "3"
    assert int(figures["Tokens today"]) > 3
    latency = {r["Stage"]: r for r in rows(page, "p95 ms")}
    assert latency["whole answer"]["Answers"] == 3
    assert 0 < latency["first word"]["p50 ms"] <= latency["first word"]["p95 ms"]
    assert {r["Kind"] for r in rows(page, "Size")} == {"database", "originals and sound", "models", "backups"}
    assert {r["Lane"]: r["Models"] for r in rows(page, "Premium waiting")} == {
        "chat": "echo",
        "search": "echo-embed, echo-rerank",
        "listening": "echo-stt",
        "speaking": "echo-tts",
    }


def test_an_error_is_shown_with_its_reference_and_survives_a_restart(console):
    logging.getLogger("ui.errors").error("unexpected error %s", "cafe1234")
    page = console.page()
    assert rows(page, "Where")[0]["What"] == "unexpected error cafe1234"
    kept = (console.app.settings.home / "errors.jsonl").read_text().splitlines()
    assert json.loads(kept[-1])["what"] == "unexpected error cafe1234"


def test_what_was_typed_is_not_kept_with_an_error(console):
    try:
        raise ValueError("my secret")
    except ValueError:
        logging.getLogger("x").exception("stumbled")
    assert "my secret" not in (console.app.settings.home / "errors.jsonl").read_text()


def test_percentiles_are_of_each_stage(console):
    answers = console.call(_asked, console.app, *"abcdefgh")
    found = {p.stage: p for p in percentiles(answers)}
    times = sorted(a.metadata.latency_ms for a in answers)
    assert times[3] <= found["whole"].p50_ms <= times[4]
    assert times[6] <= found["whole"].p95_ms <= times[7]
    assert percentiles([]) == []


def test_hearing_and_the_first_sound_of_spoken_turns_are_stages_too(console):
    async def spoken(app):
        who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
        for _ in range(3):
            await app.voice.answer(who, say("How long?"))

    console.call(spoken, console.app)
    found = {p.stage: p for p in console.call(console.app.latency)}
    assert found["stt"].count == found["tts_ttfb"].count == 3
    assert next(iter(found)) == "stt"
    page = console.page()
    assert {"heard", "first sound"} <= {r["Stage"] for r in rows(page, "p95 ms")}
    assert "objects" in [r["Part"] for r in rows(page, "State")]


def test_who_waits_for_a_model_is_shown_in_order_with_a_place_and_a_time(console, monkeypatch):
    async def crowd(app):
        lanes = Lanes(1, queue=9)
        monkeypatch.setattr(app.console.overview, "_queues", lambda: {Service.LLM: lanes.load()})
        places = AsyncExitStack()
        await places.enter_async_context(lanes.place(Ticket("at it")))
        waiting = [
            asyncio.create_task(places.enter_async_context(lanes.place(Ticket(name, name, priority))))
            for name, priority in (("patient", Priority.STANDARD), ("hurried", Priority.PREMIUM))
        ]
        await asyncio.sleep(0)
        return waiting

    waiting = console.call(crowd, console.app)
    page = console.page()
    assert [(r["Lane"], r["Position"], r["Priority"]) for r in rows(page, "Position")] == [("llm, elsewhere", 1, "premium"), ("llm, elsewhere", 2, "standard")]
    assert {m.label: m.value for m in page.metric}["Waiting for a model"] == "2"

    async def leave():
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    console.call(leave)


def test_every_service_is_asked_where_it_is_served(console):
    page = console.page("models")
    page.button(key="check").click().run()
    found = {r["Service"]: r for r in rows(page, "Says")}
    assert found["llm"]["State"] == "works"
    assert (found["llm"]["At"], found["llm"]["Says"]) == ("the local inference process", "echo")
    assert set(found) == {"llm", "embeddings", "reranker", "stt", "tts"}


def test_models_are_loaded_and_unloaded_by_hand_and_that_is_noted(console):
    page = console.page("models")
    assert {r["Name"] for r in rows(page, "Licence")} >= {"smollm2-135m", "minilm-l6", "pocketsphinx"}
    page.button(key="load").click().run()
    row = {r["Service"]: r for r in rows(page, "Loaded in")}["llm"]
    assert (row["In memory"], row["On"], row["Memory"] != "") == ("yes", "cpu", True)
    page.button(key="unload").click().run()
    assert {r["Service"]: r["In memory"] for r in rows(page, "Loaded in")}["llm"].startswith("no")
    noted = [(e.subject, e.detail["loaded"]) for e in console.call(console.app.audit.entries, act=Act.CHANGED).items]
    assert noted == [("model of llm", False), ("model of llm", True)]


@pytest.mark.parametrize(
    ("what", "said_so"), [("chat", "You said: What is the capital of France?"), ("embed", "1.000  What is the capital of France?"), ("rerank", "Paris is")]
)
def test_a_model_is_tried_with_its_time(console, what, said_so):
    page = console.page("models")
    page.segmented_control(key="try").set_value(what).run()
    next(b for b in page.button if b.label == "Try").click().run()
    assert said_so in said(page)
    assert "ms in all" in said(page)


def test_speaking_and_hearing_are_tried(console):
    room = console.app.console.models
    assert console.call(room.speak, console.admin, "hello there").sound.startswith(b"RIFF")
    assert console.call(room.hear, console.admin, "hello there").said == "hello there"


def test_a_fetch_that_fails_says_why(console):
    room = console.app.console.models
    console.call(room.fetch, console.admin, "nonsense")
    for _ in range(100):
        if console.call(room.fetching, console.admin).over:
            break
        time.sleep(0.05)
    assert "There is no model named 'nonsense'." in said(console.page("models"))


def test_a_fetch_is_stopped_from_the_page_and_leaves_nothing_that_could_be_loaded(console, monkeypatch):
    room, folder = console.app.console.models, console.app.settings.models_folder
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a mirror that takes the question and never answers
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        console.call(room.fetch, console.admin, "minilm-l6")
        for _ in range(200):
            if console.call(room.fetching, console.admin).what == "downloading":
                break
            time.sleep(0.05)
        page = console.page("models")
        page.button(key="stop-fetch").click().run()
    assert "minilm-l6 was stopped; nothing of it is left." in said(page)
    assert [p.name for p in folder.iterdir()] == [".fetching"]
    assert {r["State"] for r in rows(page, "Licence") if r["Name"] == "minilm-l6"} == {"missing"}
    assert [detail for _, detail in console.noted(Act.CHANGED)] == [{"fetched": False}, {"fetched": True}]
    assert not [b for b in page.button if b.key == "stop-fetch"]
    with pytest.raises(IllegalStep):
        console.call(room.stop, console.admin)
