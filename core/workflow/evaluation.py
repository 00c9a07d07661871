"""Evaluating retrieval: a run of `evaluate-rag` for each setting, compared as one experiment, and a run's settings taken over by its collection."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product

from core.audit import Act, AuditEntry
from core.errors import BadInput, IllegalStep, NotAllowed, NotFound
from core.ids import new_id
from core.ports import AuditLog, GoldenSets
from core.rag.golden import GoldenRow
from core.rag.library import Library
from core.rag.model import MAX_CHUNK_CHARS, MAX_RERANK_DEPTH, MAX_TOP_K, MIN_CHUNK_CHARS, Collection, FoundChunk
from core.records import Page
from core.users.model import Role, User
from core.workflow.model import MAX_NAME_CHARS, Cause, Experiment, RunStatus, Value
from core.workflow.room import PipelineRoom
from core.workflow.shipped import TWIN

EVALUATE, RE_EMBED = "evaluate-rag", "re-embed"
"""The pipelines that ship with Hearth and are started here."""
EVALUATIONS = (EVALUATE, EVALUATE + TWIN)
"""The pipelines whose runs have settings to take over: one in each dialect."""
MOST_SETTINGS = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """How a collection is searched, and what its passages are made with; None and "" for what the collection has.

    top_k: passages that a question gets.   rerank_depth: candidates that are read together with it.   chunk_chars: about how long a passage is.
    """

    top_k: int = 5
    rerank: bool = True
    rerank_depth: int | None = None
    chunk_chars: int | None = None
    embedding_model: str = ""

    def __post_init__(self) -> None:
        """Raises: BadInput for a number out of its range."""
        for name, value, least, most in (
            ("top_k", self.top_k, 1, MAX_TOP_K),
            ("rerank_depth", self.rerank_depth, 1, MAX_RERANK_DEPTH),
            ("chunk_chars", self.chunk_chars, MIN_CHUNK_CHARS, MAX_CHUNK_CHARS),
        ):
            if value is not None and not least <= value <= most:
                raise BadInput(f"{name} must be between {least} and {most}, not {value}.")

    def parameters(self) -> dict[str, Value]:
        """As the pipeline takes them: texts, as Argo has no others."""
        return {
            "top_k": str(self.top_k),
            "rerank": "true" if self.rerank else "false",
            "rerank_depth": _text(self.rerank_depth),
            "chunk_chars": _text(self.chunk_chars),
            "embedding_model": self.embedding_model,
        }


def combined(
    *,
    top_k: Sequence[int] = (5,),
    rerank: Sequence[bool] = (True,),
    rerank_depth: Sequence[int | None] = (None,),
    chunk_chars: Sequence[int | None] = (None,),
    embedding_model: Sequence[str] = ("",),
) -> list[Setting]:
    """Every combination. Raises: BadInput."""
    return [Setting(*values) for values in product(top_k, rerank, rerank_depth, chunk_chars, embedding_model)]


@dataclass(frozen=True, slots=True)
class Promoted:
    """What became of a run's settings. changed: of the collection, by name.   left: what needs more, as sentences.

    re_embed: the parameters with which `re-embed` makes the rest of it so; empty where that isn't needed.
    """

    collection: str
    changed: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    re_embed: Mapping[str, str] = field(default_factory=dict)


class Evaluation:
    """Comparing settings, and choosing one. For everybody, about their own collections, with questions about these.

    Runs are their starter's: in their name, with their rights, limits and lanes. An admin who doesn't share the pipeline any more ends that for all others.
    """

    def __init__(self, pipelines: PipelineRoom, library: Library, golden: GoldenSets, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._pipelines, self._library, self._golden, self._audit, self._clock = pipelines, library, golden, audit, clock

    async def golden_sets(self, user: User) -> Mapping[str, int]:
        """The sets with questions about the user's collections, and how many of these each has."""
        return await self._golden.sets(user.id)

    async def questions(self, user: User, golden_set: str, *, limit: int = 50, cursor: str = "") -> tuple[Page[GoldenRow], Mapping[str, FoundChunk]]:
        """The rows of a set about the user's collections, oldest first, with their right passages by id; those that are gone are left out.

        Raises: NotFound for a set without such rows.
        """
        await self._demand(user, golden_set)
        page = await self._golden.rows(golden_set, user.id, limit=limit, cursor=cursor)
        return page, await self._library.passages(user, [chunk_id for row in page.items for chunk_id in row.chunk_ids])

    async def evaluate(
        self,
        user: User,
        golden_set: str,
        collection: str,
        settings: Sequence[Setting],
        *,
        experiment: str = "",
        answers: bool = False,
        cause: Cause = Cause.API,
    ) -> Experiment:
        """Starts a run for each setting, one of each; they are accepted when this returns.

        experiment: its name; "" makes one up.   answers: whether each question is answered too.   Raises: NotFound, BadInput.
        """
        wanted = list(dict.fromkeys(settings))
        if not 1 <= len(wanted) <= MOST_SETTINGS:
            raise BadInput(f"An evaluation compares 1 to {MOST_SETTINGS} settings, not {len(wanted)}.", hint="Choose fewer values.")
        home = await self._library.collection(user, collection)
        await self._demand(user, golden_set)
        name = experiment or _name(home.name, new_id())
        asked: dict[str, Value] = {"golden_set": golden_set, "collection": home.name, "answers": "true" if answers else "false"}
        for setting in wanted:
            await self._pipelines.start(user, EVALUATE, asked | setting.parameters(), cause=cause, experiment=name)
        return await self._pipelines.experiment(user, name)

    async def _demand(self, user: User, golden_set: str) -> None:
        if golden_set not in await self.golden_sets(user):
            raise NotFound("There is no such golden set about your collections.", hint="An admin keeps questions with their right passages in the console.")

    async def promote(self, user: User, run_id: str) -> Promoted:
        """Makes the settings of a run of `evaluate-rag` those of its collection, as far as that goes at once.

        Raises: NotFound; BadInput for a run of another pipeline; IllegalStep for one that hasn't succeeded; NotAllowed for somebody else's, if an admin asks.
        """
        run = await self._pipelines.run(user, run_id)
        if run.pipeline_name not in EVALUATIONS:
            raise BadInput(f"Only a run of {EVALUATE} has settings to take over.", hint="Choose one of an evaluation.")
        if run.status is not RunStatus.SUCCEEDED:
            raise IllegalStep("Only settings that were measured are taken over.", hint="Choose a run that has succeeded.")
        if run.user_id != user.id:
            raise NotAllowed("That run is about somebody else's collection.", hint="Its owner can take its settings over.")
        chosen = {name: str(value or "") for name, value in run.parameters.items()}
        home = await self._library.collection(user, chosen["collection"])
        changed: dict[str, int] = {}
        if chosen["rerank"] == "true" and chosen["rerank_depth"] and int(chosen["rerank_depth"]) != home.rerank_depth:
            changed["rerank_depth"] = int(chosen["rerank_depth"])
            home = await self._library.set_rerank_depth(user, home.name, changed["rerank_depth"])
        left, re_embed = _left(chosen, home, user)
        entry = AuditEntry(self._clock(), user.id, user.username, Act.CHANGED, f"collection {home.id}", {"name": home.name, "promoted": run.id, **changed})
        await self._audit.write(entry)
        return Promoted(home.name, changed, tuple(left), re_embed)


def _left(chosen: Mapping[str, str], home: Collection, user: User) -> tuple[list[str], dict[str, str]]:
    """What the collection can't take over by itself, and how `re-embed` is started where it helps."""
    reranked = "with" if chosen["rerank"] == "true" else "without"
    left = [f"How many passages a question gets is chosen in each conversation: {chosen['top_k']}, {reranked} reranking, is what was measured."]
    re_embed: dict[str, str] = {}
    if chosen["embedding_model"] and chosen["embedding_model"] != home.embedding_model:
        admin = user.role is Role.ADMIN
        re_embed = {"collection": home.name, "embedding_model": chosen["embedding_model"]} if admin else {}
        how = f"the pipeline {RE_EMBED} does that" if admin else "ask an admin"
        left.append(f"Its passages have to be embedded with {chosen['embedding_model']}: {how}.")
    if chosen["chunk_chars"] and int(chosen["chunk_chars"]) != home.chunk_chars:
        left.append(f"Passages of {chosen['chunk_chars']} characters need a new collection into which the documents are taken in again.")
    return left, re_embed


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _name(collection: str, unique: str) -> str:
    """Of an experiment about that collection."""
    plain = re.sub(r"[^a-z0-9]+", "-", collection.lower()).strip("-")
    tail = unique.replace("-", "")[-8:]
    return "-".join(filter(None, ("evaluate", plain[: MAX_NAME_CHARS - 20].strip("-"), tail)))
