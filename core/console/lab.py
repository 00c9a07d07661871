"""The retrieval lab: what a question finds and why, two settings side by side, past answers searched again, and golden sets made of what was right."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from core.audit import Act
from core.chat.grounding import prompt
from core.chat.model import ChatMessage, Verdict
from core.chat.room import ChatRoom
from core.console.notes import Notes
from core.errors import BadInput
from core.ids import new_id
from core.inference import Grounding, Message
from core.ports import Accounts, ChatModel, Documents, GoldenSets, Talks
from core.rag.golden import GoldenRow, Origin
from core.rag.model import FoundChunk, RAGContext, RAGQuery, RetrievalTrace
from core.rag.retrieval import Retrieval
from core.records import DeleteReceipt, Page, every_page
from core.users.model import Admin, User

MAX_TOP_K = 50
COLLECTIONS = 200


@dataclass(frozen=True, slots=True)
class Depth:
    """How a search is made: how many candidates, whether they are reranked, and how many of those an answer reads."""

    top_k: int = 5
    rerank: bool = True
    rerank_top_k: int = 3


@dataclass(frozen=True, slots=True)
class Run:
    """What a search did, the passages by chunk id, and the prompt that a model would be given, without a conversation; () where the model quotes instead."""

    trace: RetrievalTrace
    passages: Mapping[str, FoundChunk]
    prompt: Sequence[Message]


@dataclass(frozen=True, slots=True)
class Past:
    """An answer that was given, with its question and what its retrieval did then; None where documents were off. passages: those that are still there.

    searched: the question as it was searched, which for a follow-up is another one.
    """

    owner: User
    question: str
    answer: ChatMessage
    trace: RetrievalTrace | None
    passages: Mapping[str, FoundChunk]

    @property
    def searched(self) -> str:
        """As it was searched."""
        return self.trace.query if self.trace is not None else self.question


class Lab:
    """Retrieval, looked into. What is looked for in somebody's documents is noted."""

    def __init__(
        self,
        retrieval: Retrieval,
        documents: Documents,
        accounts: Accounts,
        talks: Talks,
        chat: ChatRoom,
        model: ChatModel,
        golden: GoldenSets,
        notes: Notes,
        clock: Callable[[], datetime],
        *,
        max_tokens: int,
    ) -> None:
        """max_tokens: of an answer, for which the prompt leaves room."""
        self._retrieval, self._documents, self._accounts, self._talks, self._chat = retrieval, documents, accounts, talks, chat
        self._model, self._golden, self._notes, self._clock, self._max_tokens = model, golden, notes, clock, max_tokens

    async def collections(self, admin: Admin, username: str) -> Sequence[str]:
        """The names of a user's collections. Raises: NotFound."""
        owner, _ = await self._accounts.named(username)
        return [collection.name for collection, _ in (await self._documents.collections_for(owner.id, limit=COLLECTIONS)).items]

    async def run(self, admin: Admin, username: str, question: str, collections: Sequence[str], depth: Depth) -> Run:
        """Searches as that user would. Raises: NotFound, BadInput; ServiceError if neither meaning nor words can be searched."""
        if not question.strip() or not collections:
            raise BadInput("A search needs a question and a collection.", hint="Write a question and choose where to look.")
        owner, _ = await self._accounts.named(username)
        await self._notes.look(admin, f"documents of {owner.username}", search=question, collections=", ".join(collections))
        query = RAGQuery(question.strip(), collections[0], min(depth.top_k, MAX_TOP_K), depth.rerank, min(depth.rerank_top_k, depth.top_k))
        result = await self._retrieval.search(owner, query, collections)
        passages = await self._documents.found([c.chunk_id for c in result.trace.candidates])
        model = await self._model.info()
        if model.grounding is Grounding.EXTRACTIVE:
            return Run(result.trace, passages, ())
        context = RAGContext(result.chunks, result.scores, question) if result.relevant else None
        return Run(result.trace, passages, prompt(question, [], model=model, max_tokens=self._max_tokens, context=context, searched=context is None))

    async def past(self, admin: Admin, message_id: str) -> Past:
        """An answer, to be searched again. Raises: NotFound, BadInput for a message that is no answer."""
        owner = await self._accounts.get(await self._talks.owner_of_answer(message_id))
        await self._notes.look(admin, f"message {message_id}", of=owner.username)
        answer = await self._chat.message(owner, message_id)
        if answer.role != "assistant":
            raise BadInput("Only an answer can be searched again.", hint="Open it from its conversation.")
        question = (await self._chat.message(owner, answer.reply_to)).content
        kept = answer.metadata.retrieval or {}
        trace = msgspec.convert(kept, RetrievalTrace) if "candidates" in kept else None
        passages = await self._documents.found([c.chunk_id for c in trace.candidates]) if trace is not None else {}
        return Past(owner, question, answer, trace, passages)

    async def keep(
        self,
        admin: Admin,
        golden_set: str,
        username: str,
        question: str,
        collections: Sequence[str],
        chunk_ids: Sequence[str],
        *,
        refuse: bool = False,
        message_id: str = "",
    ) -> GoldenRow:
        """A question with its right passages, chosen in the lab. message_id: of the answer it comes from. Raises: NotFound for what isn't theirs; BadInput."""
        owner, _ = await self._accounts.named(username)
        for name in collections:
            await self._documents.collection_for(owner.id, name)
        for chunk_id in chunk_ids:
            await self._documents.chunk_for(owner.id, chunk_id)
        row = GoldenRow(new_id(), golden_set, question.strip(), owner.id, tuple(collections), tuple(chunk_ids), refuse, "lab", message_id, self._clock())
        return await self._keep(admin, owner, row)

    async def keep_answer(self, admin: Admin, golden_set: str, message_id: str) -> GoldenRow:
        """An answer as its owner judged it: of a good one what it cited is right; of a bad one nobody knows yet what would be.

        Raises: NotFound; AlreadyThere; BadInput for one that nobody has judged.
        """
        past = await self.past(admin, message_id)
        verdict = (await self._chat.feedback(past.owner, past.answer.conversation_id)).get(message_id)
        if verdict is None:
            raise BadInput("Nobody has judged that answer.", hint="Choose the right passages in the lab instead.")
        good = verdict.verdict is Verdict.GOOD
        cited = past.answer.metadata.rag_sources if good else ()
        where = past.trace.collections if past.trace else ()
        origin: Origin = "good" if good else "bad"
        row = GoldenRow(new_id(), golden_set, past.searched, past.owner.id, tuple(where), tuple(cited), False, origin, message_id, self._clock())
        return await self._keep(admin, past.owner, row)

    async def golden_sets(self, admin: Admin) -> Mapping[str, int]:
        """How many rows each has."""
        return await self._golden.sets()

    async def golden_rows(self, admin: Admin, golden_set: str, cursor: str = "", *, limit: int = 50) -> Page[GoldenRow]:
        """Oldest first."""
        return await self._golden.rows(golden_set, limit=limit, cursor=cursor)

    async def drop(self, admin: Admin, ids: Sequence[str]) -> DeleteReceipt:
        """Removes rows."""
        await self._notes.note(admin, Act.DELETED, "golden rows", count=len(ids))
        return await self._golden.drop(ids)

    async def export(self, admin: Admin, golden_set: str) -> AsyncIterator[Sequence[GoldenRow]]:
        """All rows of a set, some at a time."""
        await self._notes.note(admin, Act.EXPORTED, f"golden set {golden_set}")
        return every_page(lambda cursor: self._golden.rows(golden_set, limit=200, cursor=cursor))

    async def _keep(self, admin: Admin, owner: User, row: GoldenRow) -> GoldenRow:
        await self._golden.add(row)
        await self._notes.note(admin, Act.MADE, f"golden row {row.id}", golden_set=row.golden_set, of=owner.username)
        return row
