"""Argo's published examples: each runs with its documented result or is refused with a reason, and nothing else is raised.

They are not in this repository: `HEARTH_TEST_ARGO_EXAMPLES` names the folder `examples` of a checkout of Argo Workflows; `docs/pipelines.md` has the
command and the figures.
"""

import os
from collections import Counter
from pathlib import Path

import pytest
from pipelining import works

from core.adapters.engine_local import LocalEngine
from core.errors import BadInput
from core.workflow import argo
from core.workflow.argo_cluster import cluster_spec
from core.workflow.model import Engine, RunStatus

FOLDER = os.environ.get("HEARTH_TEST_ARGO_EXAMPLES", "")
pytestmark = [pytest.mark.full, pytest.mark.anyio, pytest.mark.skipif(not FOLDER, reason="HEARTH_TEST_ARGO_EXAMPLES names no folder")]

FILES, HERE, THERE = 217, 3, 196
"""How many there were at commit f016ad89 (2026-08-21), how many run here, and how many may be sent to a cluster."""
REASONS = {
    "a template that needs a cluster (container, resource, suspend, http, …)": ("needs a cluster",),
    "other workflows (templateRef, workflowTemplateRef)": ("Other workflows",),
    "no single Workflow or WorkflowTemplate": ("documents", "What can be run:", "Argo's is"),
    "expressions, and conditions of more than two values": ("an expression", "no comparison", "Expressions need"),
    "outputs or retries of a template of tasks": ("of a template of tasks",),
    "withSequence, inline, boolean depends": ("Write the numbers", "Give the template a name", "names joined by &&"),
    "exit handlers, hooks, continueOn": ("Exit handlers", "A failure fails"),
    "waiting, memory and time limits (synchronization, memoize, parallelism, timeouts)": ("wait for each other and remember", "Time limits"),
    "files by their literal paths": ("the path", "no {{outputs"),
    "templates that call themselves": ("a circle",),
    "YAML with aliases, or with a key twice": ("an alias", "for the second time"),
    "another program than python, bash and sh, or `sh -c`": ("What runs here: python",),
    "another field that isn't in the subset": ("is not taken",),
}


def reason_of(refusal):
    return next((reason for reason, signs in REASONS.items() if any(sign in str(refusal) for sign in signs)), "other")


@pytest.fixture(scope="module")
def examples():
    return {str(path.relative_to(FOLDER)): path.read_text("utf-8") for path in sorted(Path(FOLDER).rglob("*.yaml"))}


@pytest.fixture(scope="module")
def read_here(examples):
    """What reading each gives: its specification, or the refusal."""
    found = {}
    for name, text in examples.items():
        try:
            found[name] = argo.local_spec(text)
        except BadInput as refusal:
            found[name] = refusal
    return found


def test_each_is_read_or_refused_with_a_reason(read_here):
    refused = {name: one for name, one in read_here.items() if isinstance(one, BadInput)}
    counts = Counter(map(reason_of, refused.values()))
    for reason, count in counts.most_common():
        print(f"| {reason} | {count} |")
    assert "other" not in counts
    assert all(one.message and one.hint for one in refused.values())
    assert (len(read_here), len(read_here) - len(refused)) == (FILES, HERE)


def test_each_may_be_sent_to_a_cluster_or_is_refused_with_a_reason(examples):
    taken = []
    for name, text in examples.items():
        try:
            cluster_spec(text)
            taken.append(name)
        except BadInput as refusal:
            assert refusal.message and refusal.hint  # noqa: PT017, PT018 - most are taken
    assert len(taken) == THERE


async def ran(tmp_path, text):
    """The run of a definition, and its logs by the keys of its steps."""
    engine = LocalEngine("Hearth's Argo subset", "argo_worker.py", argo.local_spec, log_bytes=100_000, folder_bytes=100_000_000)
    async with works(tmp_path, engine=engine, wall_s=170) as here:
        pipeline = await here.room.define(here.ada, "example", Engine.ARGO, text)
        run = await here.ended(await here.room.start(here.ada, pipeline.id, {}), within_s=170)
        steps = (await here.room.steps(here.ada, run.id, limit=500)).items
        logs = {step.key: (await here.room.log(here.ada, run.id, step.key, step.attempts[-1].number)).text for step in steps if step.attempts}
        return run, {step.key: step for step in steps}, logs


async def test_parameter_aggregation_script_divides_the_even_numbers(tmp_path, examples):
    run, steps, logs = await ran(tmp_path, examples["parameter-aggregation-script.yaml"])
    assert run.status is RunStatus.SUCCEEDED, run.reason
    assert [steps[key].status.value for key in sorted(steps) if key.startswith("divide")] == ["skipped", "succeeded", "skipped", "succeeded"]
    assert sorted(text.splitlines()[-1] for key, text in logs.items() if key.startswith("divide")) == ["1", "2"]


async def test_retry_script_tries_until_it_ends_well(tmp_path, examples):
    """It ends well in one of three tries, and has eleven: in one of 90 runs all of them fail."""
    run, steps, _ = await ran(tmp_path, examples["retry-script.yaml"])
    attempts = steps["retry-script"].attempts
    assert all(attempt.error == "It ended with exit code 1." for attempt in attempts[:-1])
    assert (run.status is RunStatus.SUCCEEDED) == (attempts[-1].error == "")
    assert run.status is RunStatus.SUCCEEDED or len(attempts) == 11


async def test_colored_logs_prints_a_line_a_second_in_colours(tmp_path, examples):
    text = examples["colored-logs.yaml"]
    assert text.count("range(1, 100)") == 1
    run, _, logs = await ran(tmp_path, text.replace("range(1, 100)", "range(1, 4)"))
    assert run.status is RunStatus.SUCCEEDED, run.reason
    assert len(logs["print-colors"].splitlines()) == 3


async def test_the_three_are_all_that_are_accepted(read_here):
    accepted = [name for name, one in read_here.items() if not isinstance(one, BadInput)]
    assert accepted == ["colored-logs.yaml", "parameter-aggregation-script.yaml", "retry-script.yaml"]
