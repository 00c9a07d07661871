"""The pipelines that come with Hearth, as files beside this one: they use nothing but its API, with a key that ends with the run."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.resources import files
from itertools import product

from core.errors import HearthError
from core.ports import PipelineEngine, Workflows
from core.records import every_page
from core.workflow.model import Engine, Pipeline, pipeline_id

log = logging.getLogger(__name__)

SHIPPED = ("backup", "evaluate-rag", "ingest-folder", "re-embed", "retention-sweep")
"""In both dialects: a name belongs to one engine, so Kubeflow's has TWIN at its end. `scripts/compile_shipped.py` makes those of the others."""
TWIN = "-kubeflow"
FOR_EVERYBODY = ("evaluate-rag",)
"""Those that are shared from the beginning: whoever runs one does what they may do anyway, with their own collections."""
HOUSE = ""
"""Who owns them."""


def definition(name: str) -> str:
    """The YAML of one of them."""
    return files(__package__).joinpath(f"{name}.yaml").read_text("utf-8")


async def define_shipped(workflows: Workflows, engines: Mapping[Engine, PipelineEngine], clock: Callable[[], datetime]) -> None:
    """Keeps each as the next version of its name where its text isn't the house's latest; a version that an admin has put on top stays.

    One whose name is taken by a pipeline of another engine is left out, and that is logged. For a cluster of Kubeflow nothing is defined: steps install
    nothing, so an image is needed that has kfp, and only its admin knows one.
    """
    languages = [language for language, engine in engines.items() if language is Engine.ARGO or not engine.survives]
    for language, name in product(languages, SHIPPED):
        shared = name in FOR_EVERYBODY
        name += TWIN if language is Engine.KUBEFLOW else ""
        text = definition(name)
        if await _latest(workflows, name) == text:
            continue
        try:
            await workflows.add_pipeline(Pipeline(pipeline_id(name, 1), name, 1, language, text, HOUSE, clock(), shared))
        except HearthError as error:
            log.warning("the pipeline %s that comes with Hearth can't be defined: %s", name, error)


async def _latest(workflows: Workflows, name: str) -> str | None:
    """The definition of the house's own latest version."""
    async for page in every_page(lambda cursor: workflows.versions(name, cursor=cursor)):
        for version in page:
            if version.owner_id == HOUSE:
                return version.definition
    return None
