"""Pipelines on this machine: what a run and a step cost, how soon a run is ended, and `evaluate-rag` comparing settings of retrieval. Prints JSON lines.

`--write` puts the figures into docs/benchmarks.md. The evaluation asks the handbook questions of the tuning half (tests/bench/evaluation) of the shipped
embedding model and reranker, one run of the shipped pipeline for each setting; everything goes over the API of a house that runs by itself.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.evaluation.corpora import HANDBOOK
from bench.evaluation.run import QUESTIONS
from bench.house import fresh_home, linked_models
from bench.report import ROOT, keep, now_and_here
from running_house import RunningHouse

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.database_sql import SqliteDatabase
from core.adapters.golden_sql import SqlGoldenSets
from core.ids import new_id
from core.rag.golden import GoldenRow

FIGURES = ("pipeline run", "pipeline evaluation")
REPEATED = 10
CHAIN, WIDE = 20, 200
SETTINGS = tuple(product((3, 5), (True, False), (None, 400)))
"""top_k, rerank, characters of a passage (None: the shipped 700)."""
HEAD = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: bench-}
spec:
  entrypoint: all
  templates:
    - name: step
      script: {image: alpine, command: [sh], source: "true"}
    - name: slow
      script: {image: alpine, command: [sh], source: "sleep 600"}
    - name: all
      dag:
        tasks:
"""


def chain(count, template="step"):
    """A workflow of so many steps, one after the other."""
    tasks = [f"          - {{name: s{n}, template: {template}" + (f", dependencies: [s{n - 1}]" if n else "") + "}" for n in range(count)]
    return HEAD + "\n".join(tasks) + "\n"


def wide(count):
    """A workflow of one task with so many items."""
    return HEAD + f"          - {{name: s, template: step, withItems: [{', '.join(map(str, range(count)))}]}}\n"


def defined(house, name, definition):
    """The pipeline, kept."""
    status, body = house.post("/v1/pipelines", {"name": name, "engine": "argo", "definition": definition})
    assert status == 201, body


def started(house, name, parameters=None, experiment=""):
    """The id of a run."""
    status, body = house.post("/v1/runs", {"pipeline": name, "parameters": parameters or {}, "experiment": experiment, "cache": False})
    assert status in (201, 202), body
    return body["id"]


def over(house, run_id, within_s=900):
    """The run once it is over."""
    begun = time.monotonic()
    while (run := house.get(f"/v1/runs/{run_id}")[1])["status"] in ("pending", "running"):
        assert time.monotonic() - begun < within_s, run
        time.sleep(0.02)
    return run


def took_s(house, name):
    """From asking for a run until it is told to be over."""
    begun = time.monotonic()
    run = over(house, started(house, name))
    assert run["status"] == "succeeded", run
    return time.monotonic() - begun


def runs():
    """What runs and steps cost, with models that cost nothing."""
    with fresh_home() as home, RunningHouse(home) as house:
        house.make_user()
        for name, definition in (("one", chain(1)), ("chain", chain(CHAIN)), ("wide", wide(WIDE)), ("slow", chain(1, "slow"))):
            defined(house, name, definition)
        took_s(house, "one")
        ones = [took_s(house, "one") for _ in range(REPEATED)]
        chains = [took_s(house, "chain") for _ in range(3)]
        fan_s = took_s(house, "wide")
        stops = []
        for _ in range(REPEATED):
            run_id = started(house, "slow")
            while not house.get(f"/v1/runs/{run_id}/steps")[1]["items"]:
                time.sleep(0.02)
            begun = time.monotonic()
            status, run = house.post(f"/v1/runs/{run_id}/terminate", {})
            assert (status, run["status"]) == (200, "failed"), run
            stops.append(time.monotonic() - begun)
        one_s = statistics.median(ones)
        yield {
            "figure": "pipeline run",
            "engine": "argo",
            "one_step_s": round(one_s, 2),
            "one_step_max_s": round(max(ones), 2),
            "further_step_s": round((statistics.median(chains) - one_s) / (CHAIN - 1), 3),
            "fan_out": WIDE,
            "fan_out_s": round(fan_s, 1),
            "terminate_p50_s": round(statistics.median(stops), 2),
            "terminate_max_s": round(max(stops), 2),
        }


async def keep_golden(home, house, documents):
    """The questions with the passages that hold what is wanted; how many there are. documents: their ids by the names of their files."""
    passages = [(name, c) for name, i in documents.items() for c in house.get(f"/v1/documents/{i}/chunks?limit=500")[1]["items"]]
    wanted = [q for q in map(json.loads, QUESTIONS.read_text("utf-8").splitlines()) if (q["corpus"], q["half"]) == ("handbook", "tuning") and "target" in q]
    count = 0
    async with SqliteDatabase("", home=home) as database:
        owner, _ = await SqlAccounts(database).named("ada")
        golden = SqlGoldenSets(database)
        for q in wanted:
            right = tuple(c["id"] for name, c in passages if q["document"] == name and " ".join(q["target"].split()) in " ".join(c["content"].split()))
            if right and not q.get("previous"):
                await golden.add(GoldenRow(new_id(), "handbook", q["question"], owner.id, ("handbook",), right, False, "lab", "", datetime.now(UTC)))
                count += 1
    return count


def evaluation():
    """Settings of retrieval, each measured by a run."""
    with fresh_home() as home:
        linked_models(home)
        service = {f"HEARTH_{name}_MODEL": model for name, model in (("EMBEDDINGS", "minilm-l6"), ("RERANKER", "maxsim"))}
        with RunningHouse(home, **service) as house:
            house.make_user()
            house.post("/v1/collections", {"name": "handbook"})
            documents = {}
            for file in sorted(HANDBOOK.glob("*.md")):
                status, job = house.upload(file.name, file.read_bytes(), "handbook")
                assert status == 202, job
                assert house.job_done(job["id"])["stage"] == "ready"
                documents[file.stem] = job["document_id"]
            questions = asyncio.run(keep_golden(home, house, documents))
            for top_k, rerank, chars in SETTINGS:
                given = {
                    "golden_set": "handbook",
                    "collection": "handbook",
                    "top_k": str(top_k),
                    "rerank": str(rerank).lower(),
                    "chunk_chars": str(chars or ""),
                }
                run = over(house, started(house, "evaluate-rag", given, "settings"))
                assert run["status"] == "succeeded", run
                yield {
                    "figure": "pipeline evaluation",
                    "questions": questions,
                    "top_k": top_k,
                    "rerank": rerank,
                    "chunk_chars": chars or 700,
                    "metrics": {name: round(value, 3) for name, value in run["metrics"].items()},
                    "run_s": round((datetime.fromisoformat(run["completed_at"]) - datetime.fromisoformat(run["started_at"])).total_seconds(), 1),
                }


def main():
    """Prints, and writes where that was asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--write", action="store_true")
    given = asked.parse_args()
    lines = []
    for measured in (runs, evaluation):
        for line in measured():
            lines.append(now_and_here() | line)
            print(json.dumps(lines[-1]), flush=True)
    if given.write:
        keep(ROOT / "docs", FIGURES, lines)


if __name__ == "__main__":
    main()
