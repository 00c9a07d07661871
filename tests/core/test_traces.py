"""How traces are chosen, and what becomes of them where nobody takes them."""

import logging
import socket
import sys
import threading
import time

import pytest
from collector import Collector

from core.adapters import TRACES, adapter
from core.errors import SettingsError
from core.rag.stages import OF_SEARCH, search_stages
from core.traces import UNTOLD, in_order
from core.voice.model import VoiceTiming
from core.voice.stages import spoken_stages

pytestmark = pytest.mark.anyio


def opened(url):
    return adapter(TRACES, url, "HEARTH_TRACES_URL")(url, service="web")


@pytest.mark.parametrize("url", ["http://", "http://host:0", "http://[::1", "https://:4318", "grpc://host:4317", "host:4318"])
def test_an_address_that_is_no_collectors_is_named_with_what_to_write(url):
    with pytest.raises(SettingsError, match="HEARTH_TRACES_URL") as caught:
        opened(url)
    assert "http" in caught.value.hint


def test_a_password_in_the_address_is_not_shown():
    with pytest.raises(SettingsError) as caught:
        opened("http://ada:secret@:0")
    assert "secret" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "core.adapters.traces_otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(SettingsError, match="not installed") as caught:
        opened("http://127.0.0.1:4318")
    assert "hearth[traces]" in caught.value.hint


async def test_without_a_collector_nothing_is_begun():
    async with opened("") as traces:
        assert traces.begin("work") is UNTOLD


@pytest.fixture(params=["nobody", "deaf", "refusing"])
def away(request):
    """Where no spans are taken: nothing listens, nothing answers, or it answers that it is broken."""
    if request.param == "refusing":
        collector = Collector(status=500)
        yield collector.url
        collector.stop()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            if request.param == "nobody":
                listening.close()
            yield url
    for thread in threading.enumerate():  # what a closed house still had on its way fails in its own test, not in the next
        if thread.name == "traces ending" or thread.name.startswith("OtelBatch"):
            thread.join(10)


async def test_a_collector_that_is_away_costs_no_time_and_one_line_of_the_log(away, caplog):
    with caplog.at_level(logging.WARNING):
        async with opened(away) as traces:
            begun = time.perf_counter()
            for _ in range(5_000):  # more than may wait
                traces.begin("work").end()
            assert time.perf_counter() - begun < 5
            closing = time.perf_counter()
        assert time.perf_counter() - closing < 2
    assert len(caplog.records) <= 1


def test_stages_follow_each_other():
    assert in_order([("a", 2.0), ("b", 3.0)]) == [("a", 0.0, 2.0), ("b", 2.0, 3.0)]
    spent = dict.fromkeys(OF_SEARCH, 10.0)
    assert search_stages(spent)[1:3] == [("dense", 10.0, 10.0), ("lexical", 0.0, 10.0)]
    assert [stage for stage, _, _ in search_stages(spent)] == list(OF_SEARCH)


def test_what_a_speaker_waited_for_is_told_once():
    spent = spoken_stages(VoiceTiming(stt_ms=100, rag_ms=50, llm_first_token_ms=140, llm_ms=300, first_audio_ms=260))
    assert spent == [("stt", 0.0, 100), ("rag", 100, 50), ("llm_ttft", 150, 0.0), ("tts_ttfb", 150, 110)]
    assert spoken_stages(VoiceTiming()) == []
