"""Whoever collects traces, or nobody: what a room may rely on."""

import asyncio

import pytest
from collector import Collector, family

from core.adapters import TRACES, adapter
from core.traces import cause, ending, in_order, inside, traced

pytestmark = pytest.mark.anyio
OTHERS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def taking():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def collector(taking):
    taking.received.clear()
    return taking


def opened(url, **given):
    return adapter(TRACES, url, "HEARTH_TRACES_URL")(url, service="web", **given)


@pytest.fixture(params=["off", "otlp"], ids=lambda leg: f"leg={leg}")
async def traces(request, collector):
    async with opened("" if request.param == "off" else collector.url) as found:
        yield found


async def test_work_may_be_ended_twice_and_told_of_in_parts(traces):
    work = traces.begin("work", {"hearth.sources": 3}, ago_ms=20, served=True)
    assert work.ms >= 0
    work.stages(in_order([("one", 5.0), ("two", 0.0)]))
    work.end({"gen_ai.response.finish_reasons": ("stop",)}, failed=True)
    work.end({"late": 1})
    work.stages([("late", 1.0, 2.0)])


@pytest.mark.parametrize("header", ["", OTHERS, "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\udce4", "x" * 10_000])
async def test_whatever_a_cause_says_work_can_be_begun(traces, header):
    with inside(header), traced(traces, "work"):
        pass
    assert cause.get() == ""


async def test_the_cause_is_as_before_after_work_however_it_ended(traces):
    with pytest.raises(ValueError, match="wrong"), inside(OTHERS):
        with traced(traces, "work"), traced(traces, "part"):
            raise ValueError("wrong")
    assert cause.get() == ""


async def test_parts_name_their_whole_also_those_begun_in_tasks_and_by_other_processes(collector):
    async def part():
        with traced(traces, "part of a task"):
            await asyncio.sleep(0)

    async with opened(collector.url) as traces:
        with inside(OTHERS), traced(traces, "whole") as whole:
            with traced(traces, "part"):
                pass
            await asyncio.create_task(part())
            whole.stages([("stage", 1.0, 2.0)])
        traces.begin("of its own").end()
    spans = collector.spans()
    assert family(spans) == {
        ("web", "whole", ""),
        ("web", "part", "whole"),
        ("web", "part of a task", "whole"),
        ("web", "stage", "whole"),
        ("web", "of its own", ""),
    }
    by_name = {span.name: span for span in spans}
    assert (by_name["whole"].trace, by_name["whole"].parent) == tuple(OTHERS.split("-")[1:3])
    assert by_name["of its own"].trace != by_name["whole"].trace
    assert by_name["stage"].begin - by_name["whole"].begin == pytest.approx(0.001, abs=1e-5)
    assert by_name["stage"].end - by_name["stage"].begin == pytest.approx(0.002, abs=1e-5)


async def test_a_process_that_begins_nothing_tells_only_of_what_others_began_and_want_told(collector):
    async with opened(collector.url, begins=False) as traces:
        for header in ("", OTHERS, OTHERS[:-2] + "00"):
            with inside(header), traced(traces, "work"), traced(traces, "part"):
                pass
    assert family(collector.spans()) == {("web", "work", ""), ("web", "part", "work")}


async def test_of_an_error_only_the_kind_is_told_and_being_stopped_is_none(collector):
    async with opened(collector.url) as traces:
        with pytest.raises(ValueError, match="a secret"), ending(traces.begin("broken")):
            raise ValueError("a secret in report.pdf")
        with pytest.raises(asyncio.CancelledError), ending(traces.begin("stopped")):
            raise asyncio.CancelledError
    found = {span.name: (span.attributes, span.failed) for span in collector.spans()}
    assert found == {"broken": ({"error.type": "ValueError"}, True), "stopped": ({"hearth.status": "stopped"}, False)}
    assert b"secret" not in b"".join(collector.received)
