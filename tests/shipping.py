"""The scripts of the pipelines that ship with Hearth, run one after the other as Argo would, against a house that is served."""

import asyncio
import re
import sys

import yaml

from core.workflow.shipped import definition

TAG = re.compile(r"\{\{(.*?)\}\}")


class StepFailed(Exception):
    """With what the script said last."""


async def ran(name, where, /, **given):
    """What the steps of a shipped pipeline have written: a text by the name of the artifact or parameter. Raises: StepFailed."""
    spec = yaml.safe_load(definition(name))["spec"]
    defaults = {p["name"]: p.get("value") for p in spec["arguments"]["parameters"]}
    assert set(given) <= set(defaults)
    world = {f"workflow.parameters.{key}": value for key, value in (defaults | given).items()}
    assert None not in world.values()
    templates = {t["name"]: t for t in spec["templates"]}
    entry = templates[spec["entrypoint"]]
    for task in entry["dag"]["tasks"] if "dag" in entry else [{"name": entry["name"], "template": entry["name"]}]:
        if "when" in task and filled(task["when"], world) != "true == true":
            continue
        world |= await step(templates[task["template"]], task, where / task["name"], world)
    made = {key: value for key, value in world.items() if key.startswith("tasks.")}
    return {key.rpartition(".")[2]: path_text(value) if ".artifacts." in key else value for key, value in made.items()}


def path_text(path):
    with open(path) as file:
        return file.read()


def filled(text, values):
    return TAG.sub(lambda found: values[found[1]], text)


async def step(template, task, folder, world):
    """Runs one script; its outputs as other tasks name them."""
    folder.mkdir()
    given, outputs = task.get("arguments", {}), template.get("outputs", {})
    mine = world | {f"inputs.parameters.{p['name']}": filled(p["value"], world) for p in given.get("parameters", [])}
    mine |= {f"inputs.artifacts.{a['name']}.path": filled(a["from"], world) for a in given.get("artifacts", [])}
    files = {f"outputs.{kind}.{one['name']}": str(folder / one["name"]) for kind, those in outputs.items() for one in those}
    mine |= {f"{name}.path": path for name, path in files.items()}
    script = template["script"]
    source = folder / "source.py"
    source.write_text(filled(script["source"], mine))
    env = {"LANG": "C.UTF-8"} | {e["name"]: filled(e["value"], mine) for e in script["env"]}
    process = await asyncio.create_subprocess_exec(
        sys.executable, source, env=env, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode:
        raise StepFailed(said.decode())
    return {f"tasks.{task['name']}.{name}": path_text(path) if ".parameters." in name else path for name, path in files.items()}
