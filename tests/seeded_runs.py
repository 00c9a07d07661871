"""Runs as somebody's pipelines leave them, put into a house's stores: a fan-out, failures, long names, many metrics."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.ids import new_id
from core.workflow.model import (
    Artifact,
    ArtifactType,
    Attempt,
    Cause,
    Engine,
    GraphNode,
    Parameter,
    ParameterType,
    Pipeline,
    PipelineRun,
    PipelineSpec,
    RunStatus,
    Step,
    StepStatus,
)

SPEC = PipelineSpec(
    (
        Parameter("collection", ParameterType.STRING, "handbook", description="Whose passages are embedded."),
        Parameter("epochs", ParameterType.INTEGER, 3),
        Parameter("rate", ParameterType.NUMBER, 0.01),
        Parameter("shuffle", ParameterType.BOOLEAN, True),
        Parameter("device", ParameterType.STRING, "cpu", options=("cpu", "cuda")),
        Parameter("settings", ParameterType.STRUCT, {"depth": 2}),
        Parameter("words", ParameterType.LIST, ["Straßenbahn", "東京"]),
        Parameter("hearth_key", required=True),
    ),
    (
        GraphNode("load", "load", "script"),
        GraphNode("embed", "embed", "loop", ("load",)),
        GraphNode("evaluate-against-the-golden-set", "evaluate-against-the-golden-set", "script", ("embed",)),
        GraphNode("publish", "publish", "script", ("evaluate-against-the-golden-set",)),
    ),
    ("Secrets of the cluster are not here.",),
    "Embeds a collection again and says whether it is found better.",
)
BEGUN = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
REASON = "Der Schritt „embed“ ist gescheitert: Für das Modell war kein Speicher mehr frei, und auch der dritte Versuch fand keinen. " * 2


async def pipeline(workflows, owner, name="embed-again", definition="kind: Workflow\nsteps: [load, embed]\n", engine=Engine.ARGO):
    """A version of a pipeline."""
    return await workflows.add_pipeline(Pipeline(f"{name}@1", name, 1, engine, definition, owner.id, BEGUN))


async def run(workflows, objects, owner, of, status, *, fan=0, experiment="", parameters=None, metrics=None, after_s=0, files=(), folder=None):
    """A run with steps. fan: of how many the loop consists.   files: (name, type, media type, bytes) of the first step.   folder: for the files."""
    at = BEGUN + timedelta(seconds=after_s)
    given = {"collection": "handbook", "epochs": 3, "rate": 0.01, "shuffle": True, "device": "cpu", **(parameters or {})}
    one = PipelineRun(new_id(), of.id, RunStatus.PENDING, None, None, given, (), owner.id, at, Cause.CONSOLE, experiment)
    if status is RunStatus.PENDING:
        await workflows.add_run(one, [])
        return one
    failed = status is RunStatus.FAILED
    steps = [_step(one, "load", "load", StepStatus.SUCCEEDED, at, outputs={"rows": 20000})]
    for n in range(fan):
        state = StepStatus.FAILED if failed and n in (3, 70, 199) else StepStatus.RUNNING if status is RunStatus.RUNNING and n > 150 else StepStatus.SUCCEEDED
        steps.append(_step(one, f"embed.{n}", "embed", state, at + timedelta(seconds=1 + n / 20), inputs={"part": n}))
    if status is not RunStatus.RUNNING:
        state = StepStatus.OMITTED if failed and fan else StepStatus.FAILED if failed else StepStatus.SUCCEEDED
        steps.append(_step(one, "evaluate-against-the-golden-set", "evaluate-against-the-golden-set", state, at + timedelta(seconds=12)))
    made = []
    if folder is not None:
        path = folder / "log.txt"
        for key in ("load", "evaluate-against-the-golden-set"):
            lines = "".join(f"{n:05d} {key}: line of a log that somebody reads\n" for n in range(1000))
            path.write_text(lines, encoding="utf-8")
            uri = await objects.put(f"runs/{one.id}/{key}/log-1.txt", path)
            made.append(Artifact(new_id(), one.id, "log-1.txt", ArtifactType.LOGS, uri, {"attempt": 1, "size_bytes": len(lines)}, key))
            steps = [replace(s, attempts=tuple(replace(a, log=uri) for a in s.attempts)) if s.key == key else s for s in steps]
        for name, kind, media_type, held in files:
            (folder / name).write_bytes(held)
            uri = await objects.put(f"runs/{one.id}/load/{name}", folder / name)
            made.append(Artifact(new_id(), one.id, name, kind, uri, {"media_type": media_type, "size_bytes": len(held), "sha256": "ab" * 32}, "load"))
    await workflows.add_run(one, [])  # at once before what follows: the house begins runs that wait, and ends those that nothing runs
    one = one.to(RunStatus.RUNNING, at)
    await workflows.keep(one)
    one = replace(one, metrics=metrics or {})
    over = status.over
    if over:
        one = one.to(status, at + timedelta(seconds=14), REASON if failed else "")
    assert await workflows.keep(one, steps=steps, artifacts=made)
    return one


def _step(run, key, task, status, at, inputs=None, outputs=None):
    error = "MemoryError: 2,1 GB fehlen" if status is StepStatus.FAILED else ""
    ended = at + timedelta(seconds=1) if status.over else None
    tries = () if status is StepStatus.OMITTED else (Attempt(1, "", at, ended, error),)
    return Step(run.id, key, key, task, status, tries, at, ended, inputs or {}, outputs or {}, error)
