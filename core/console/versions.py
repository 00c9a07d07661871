"""Re-embedding a collection, for an admin: another model's vectors are made beside those that are searched, compared with them, served, taken back, removed."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.audit import Act
from core.console.begun import Begun
from core.console.notes import Notes
from core.errors import BadInput, NotFound, ServiceBusy
from core.inference import Caller, Service, Vector
from core.ports import Catalogue, CollectionLedger, Embedder, GoldenSets
from core.rag.comparison import Found, found
from core.rag.model import Collection, CollectionVersion
from core.rag.reembedding import Reembedding
from core.records import DeleteReceipt, every_page
from core.users.model import Admin

COMPARED = 20_000
QUESTIONS = 100
ENOUGH_GOLDEN = 10
"""From so many questions of golden sets these are asked; before, the passages' own first sentences."""
FIRST_SENTENCE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Compared:
    """What two versions find, by searching for meaning alone, among the same passages. golden: whether the questions are those of golden sets."""

    questions: int
    golden: bool
    passages: int
    first: Found
    second: Found


class Versions:
    """The versions of everybody's collections."""

    def __init__(
        self,
        reembedding: Reembedding,
        ledger: CollectionLedger,
        golden: GoldenSets,
        embedder: Embedder,
        catalogue: Catalogue,
        notes: Notes,
        begun: Begun,
    ) -> None:
        self._reembedding, self._ledger, self._golden, self._embedder, self._catalogue = reembedding, ledger, golden, embedder, catalogue
        self._notes, self._begun = notes, begun
        self._comparing: tuple[tuple[str, int, int, int], asyncio.Task[Compared]] | None = None

    async def of(self, admin: Admin, collection_id: str) -> Sequence[CollectionVersion]:
        """All versions of a collection, latest first."""
        return await self._reembedding.versions(collection_id)

    async def models(self, admin: Admin) -> Sequence[str]:
        """What it could be re-embedded with: the chosen model, and those of the catalogue that are here."""
        known = {e.name: e.state for e in await self._catalogue.entries() if e.service is Service.EMBEDDINGS}
        chosen = (await self._embedder.info()).id
        wanted = {"ready", known.get(chosen)}  # what needs no files is for trying the house out, and offered only where such a model is chosen
        return list(dict.fromkeys([chosen, *(name for name, state in known.items() if state in wanted)]))

    async def begin(self, admin: Admin, collection_id: str, model: str) -> CollectionVersion:
        """Embeds every passage with that model, in the background. Raises: NotFound, IllegalStep, ModelError, ServiceError."""
        if not model.strip():
            raise BadInput("A version needs an embedding model.", hint="Choose one, or write its name as the embeddings server has it.")
        held = await self._ledger.holding(collection_id)
        begun = await self._reembedding.begin(collection_id, model.strip())
        await self._notes.note(admin, Act.MADE, f"collection {collection_id}", name=held.collection.name, of=held.owner, version=begun.version, model=model)
        return begun

    async def again(self, admin: Admin, collection_id: str, version: int) -> None:
        """Goes on with one that has failed. Raises: NotFound, IllegalStep."""
        await self._reembedding.again(collection_id, version)

    async def serve(self, admin: Admin, collection_id: str, version: int) -> Collection:
        """Lets this version be searched, at once for everybody; the one before stays, to go back to. Raises: NotFound; IllegalStep for one with gaps."""
        held = await self._ledger.holding(collection_id)
        detail = {"name": held.collection.name, "of": held.owner, "version": version, "before": held.collection.version}
        await self._notes.note(admin, Act.CHANGED, f"collection {collection_id}", **detail)
        return await self._reembedding.serve(collection_id, version)

    async def drop(self, admin: Admin, collection_id: str, version: int) -> DeleteReceipt:
        """Removes a version that is not searched. Raises: NotFound; IllegalStep; ServiceBusy where that takes long: it then goes on by itself."""
        held = await self._ledger.holding(collection_id)
        await self._notes.note(admin, Act.DELETED, f"collection {collection_id}", name=held.collection.name, of=held.owner, version=version)
        late = ServiceBusy("There is much to remove, and it goes on.", hint="The version is gone from the list once nothing is left of it.")
        return await self._begun.within(self._reembedding.drop(collection_id, version), late)

    async def compare(self, admin: Admin, collection_id: str, first: int, second: int) -> Compared:
        """What each of two versions finds. Raises: NotFound; BadInput for too few passages; ServiceBusy while it is still being compared: ask again."""
        held = await self._ledger.holding(collection_id)
        key = (collection_id, held.state, first, second)
        if self._comparing is None or self._comparing[0] != key or _failed(self._comparing[1]):
            self._comparing = (
                key,
                self._begun.begin(self._compare(held.collection, first, second)),
            )
        return await self._begun.patiently(self._comparing[1], ServiceBusy("They are still being compared.", hint="Look again in a moment."))

    async def _compare(self, collection: Collection, first: int, second: int) -> Compared:
        known = {v.version: v for v in await self._reembedding.versions(collection.id)}
        if first not in known or second not in known:
            raise NotFound("There is no such version of that collection.", hint="It may have been removed meanwhile.")
        (passages, one), (others, other) = [await self._ledger.sample(collection.id, COMPARED, v) for v in (first, second)]
        places = {p.chunk_id: n for n, p in enumerate(others)}
        both = [n for n, p in enumerate(passages) if p.chunk_id in places]
        if len(both) < 2:
            raise BadInput("Too few passages have a vector of both versions.", hint="Wait until the version is ready.")
        one, other = one[both], other[[places[passages[n].chunk_id] for n in both]]
        place_of = {passages[n].chunk_id: at for at, n in enumerate(both)}
        asked = await self._golden_questions(collection, place_of)
        golden = len(asked) >= ENOUGH_GOLDEN
        if not golden:
            step = max(1, len(both) // QUESTIONS)
            asked = [(_first_sentence(passages[both[at]].content), [at]) for at in range(0, len(both), step)][:QUESTIONS]
        texts, right = [text for text, _ in asked], [where for _, where in asked]

        async def of(version: int, vectors: Vector) -> Found:
            embedded = await self._embedder.of(known[version].embedding_model).embed(texts, "query", caller=Caller(user_key=collection.owner_id))
            return await asyncio.to_thread(found, vectors, embedded.vectors, right)

        return Compared(len(asked), golden, len(both), await of(first, one), await of(second, other))

    async def _golden_questions(self, collection: Collection, place_of: dict[str, int]) -> list[tuple[str, list[int]]]:
        """Questions of golden sets whose right passages are among these."""
        asked: list[tuple[str, list[int]]] = []
        for golden_set in await self._golden.sets():
            async for rows in every_page(lambda cursor, name=golden_set: self._golden.rows(name, limit=200, cursor=cursor)):  # type: ignore[misc]
                places = [(row.question, [place_of[c] for c in row.chunk_ids if c in place_of]) for row in rows if row.owner_id == collection.owner_id]
                asked += [(question, where) for question, where in places if where]
                if len(asked) >= QUESTIONS:
                    return asked[:QUESTIONS]
        return asked


def _failed(task: asyncio.Task[Compared]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _first_sentence(content: str) -> str:
    """The beginning of a passage, as somebody might ask for it."""
    return re.split(r"(?<=[.!?。])\s", content.strip(), maxsplit=1)[0][:FIRST_SENTENCE_CHARS]
