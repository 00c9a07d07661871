"""Makes the Kubeflow twins of the pipelines that ship with Hearth out of their Argo definitions, so that both dialects run the same scripts.

    .venv/workflow/bin/python scripts/compile_shipped.py [FOLDER] [IMAGE]

FOLDER: where the YAML files go; left out, beside the others.   IMAGE: of the steps. On this machine it does nothing; on a cluster it has to have kfp, because
nothing is installed when a step runs.
"""

import importlib.util
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

SHIPPED = Path(__file__).parent.parent / "core" / "workflow" / "shipped"
TWIN = "-kubeflow"
IMAGE = "python:3.12-slim"
_PATH = re.compile(r'"\{\{((?:inputs|outputs)\.(?:artifacts|parameters)\.[\w-]+)\.path\}\}"')
_PARAMETER = re.compile(r"\{\{(?:workflow|inputs)\.parameters\.(\w+)\}\}")
_OUTPUT = re.compile(r"\{\{tasks\.([\w-]+)\.outputs\.(?:parameters|artifacts)\.([\w-]+)\}\}")
METRICS = "metrics"


def module(definition: dict[str, Any], name: str, image: str) -> str:
    """The source of a module whose function `pipeline` is the twin of an Argo definition of scripts."""
    spec = definition["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    entry = templates[spec["entrypoint"]]
    tasks = entry["dag"]["tasks"] if "dag" in entry else [{"name": entry["name"], "template": entry["name"]}]
    parts = ["from kfp import dsl", "from kfp.dsl import Dataset, Input, Metrics, Output, OutputPath", ""]
    parts += [component(templates[task["template"]], image) for task in tasks]
    return "\n".join([*parts, pipeline(definition, name, tasks, templates)])


def component(template: dict[str, Any], image: str) -> str:
    """A script as a component: its variables become parameters, its files artifacts. Metrics are kept as kfp keeps them, too."""
    inputs, outputs = template.get("inputs", {}), template.get("outputs", {})
    metrics = any(one["name"] == METRICS for one in outputs.get("artifacts", ()))
    env = {one["name"]: _PARAMETER.fullmatch(one["value"])[1] for one in template["script"]["env"]}
    arguments = [f"{_python(one['name'])}: Input[Dataset]" for one in inputs.get("artifacts", ())]
    arguments += [f"{name}: str" for name in dict.fromkeys(env.values())]
    arguments += [f"{_python(one['name'])}: OutputPath(str)" for one in outputs.get("parameters", ())]
    arguments += [f"{_python(one['name'])}: Output[{'Metrics' if one['name'] == METRICS else 'Dataset'}]" for one in outputs.get("artifacts", ())]
    files = {
        f"{way}.artifacts.{one['name']}": f"{_python(one['name'])}.path"
        for way, all_ in (("inputs", inputs), ("outputs", outputs))
        for one in all_.get("artifacts", ())
    }
    files |= {f"outputs.parameters.{one['name']}": _python(one["name"]) for one in outputs.get("parameters", ())}
    lines = ["import os", f"os.environ.update({{{', '.join(f'{key!r}: {value}' for key, value in env.items())}}})"]
    lines.append(f"path_of = {{{', '.join(f'{key!r}: {value}' for key, value in files.items())}}}")
    lines += ["measured_numbers = metrics"] if metrics else []
    lines += _PATH.sub(lambda found: f"path_of[{found[1]!r}]", template["script"]["source"]).splitlines()
    lines += [f'with open(path_of["outputs.artifacts.{METRICS}"]) as file:', "    measured_numbers.metadata.update(json.load(file))"] if metrics else []
    body = "\n".join(f"    {line}" if line else "" for line in lines)
    head = f"@dsl.component(base_image={image!r}, install_kfp_package=False)\ndef {_python(template['name'])}({', '.join(arguments)}):"
    return f"{head}\n{body}\n\n"


def pipeline(definition: dict[str, Any], name: str, tasks: list[dict[str, Any]], templates: dict[str, Any]) -> str:
    """The function that is the pipeline. Nothing of it is taken from a cache: its steps do something in the house, or look at what changes there."""
    parameters = definition["spec"]["arguments"]["parameters"]
    ordered = sorted(parameters, key=lambda one: "value" in one)
    signature = ", ".join(f"{one['name']}: str" + (f" = {one['value']!r}" if "value" in one else "") for one in ordered)
    about = definition["metadata"]["annotations"]["hearth/description"]
    told = "\n".join(f"        {one['name']}: {one['description']}" for one in parameters)
    lines = [f"@dsl.pipeline(name={name!r}, description={about!r})", f"def pipeline({signature}):", f'    """{about}\n\n    Args:\n{told}\n    """']
    for task in tasks:
        template, given = templates[task["template"]], task.get("arguments", {})
        own = {one["name"]: _value(one["value"]) for one in given.get("parameters", ())}
        own |= {_python(one["name"]): _value(one["from"]) for one in given.get("artifacts", ())}
        wanted = dict.fromkeys(_PARAMETER.fullmatch(one["value"])[1] for one in template["script"]["env"])
        called = ", ".join(f"{key}={own.get(key, key)}" for key in dict.fromkeys([*own, *wanted]))
        after = "".join(f".after({_task(one)})" for one in task.get("dependencies", ()))
        line = f"{_task(task['name'])} = {_python(task['template'])}({called}){after}.set_caching_options(False)"
        if "when" in task:
            left, _, right = task["when"].partition(" == ")
            lines += [f"    with dsl.If({_value(left)} == {right!r}):", f"        {line}"]
        else:
            lines.append(f"    {line}")
    return "\n".join(lines) + "\n"


def _value(text: str) -> str:
    """What an argument stands for."""
    task, output = _OUTPUT.fullmatch(text).groups()
    return f"{_task(task)}.outputs[{_python(output)!r}]"


def _python(name: str) -> str:
    return name.replace("-", "_")


def _task(name: str) -> str:
    return f"task_{_python(name)}"


def _offer(compiled: dict[str, Any], definition: dict[str, Any]) -> None:
    """Puts the only values that a parameter may have into its place of the format; kfp's compiler knows it but doesn't write it."""
    for one in definition["spec"]["arguments"]["parameters"]:
        if "enum" in one:
            compiled["root"]["inputDefinitions"]["parameters"][one["name"]]["literals"] = one["enum"]


def main(folder: Path, image: str) -> None:
    """Writes the twin of each."""
    for source in sorted(SHIPPED.glob("*.yaml")):
        if source.stem.endswith(TWIN):
            continue
        name, definition = source.stem + TWIN, yaml.safe_load(source.read_text("utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            written = Path(scratch, "twin.py")
            written.write_text(module(definition, name, image), "utf-8")
            spec = importlib.util.spec_from_file_location("twin", written)
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            made = Path(scratch, "twin.yaml")
            compiler.Compiler().compile(loaded.pipeline, str(made))
            compiled = yaml.safe_load(made.read_text("utf-8"))
        _offer(compiled, definition)
        head = f"# Made from {source.name} by scripts/compile_shipped.py: change that one.\n"
        (folder / f"{name}.yaml").write_text(head + yaml.safe_dump(compiled, width=160, allow_unicode=True), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED, sys.argv[2] if len(sys.argv) > 2 else IMAGE)
