"""How one message is answered: read the documents if they are on, then quote or ask the model, and say what was done.

The order is fixed and never left to the model: retrieval comes before every answer of a turn with documents.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from core.chat.followups import standalone
from core.chat.grounding import CONTINUE, CitationFilter, ends, nothing_relevant, numbered, prompt, quoted_answer, stored_history
from core.chat.model import ChatMessage, MessageMetadata, MessageStatus, SendMessage
from core.chat.packing import KEPT_MESSAGES, MESSAGE_TOKENS, History, Summary, first_kept, fits_clearly, room_tokens, worth_counting
from core.chat.summary import TIMEOUT_S, cut, extracted, reserved_tokens, summarised
from core.chat.turn import SourcesFound, Stage, Turn
from core.errors import ServiceError, ServiceUnavailable
from core.events import Event, EventType
from core.ids import new_id
from core.inference import Done, Grounding, Message, Model, Queued, TextDelta, estimated_tokens
from core.ports import ChatModel, Reranker
from core.rag.model import RAGContext, RAGQuery, RAGResult, Source
from core.rag.quoting import best_quotes
from core.rag.retrieval import Retrieval
from core.users.model import User

CHECKPOINT_CHARS = 4096
PIECE_CHARS = 24
"""Quoted answers are streamed in pieces of about this length, so that they read like any other."""
CAUTION = "Written from memory by a very small model, without your documents: don't rely on its facts."
AHEAD = 0.75
"""A new summary stands for so much that only this part of the room is left to what it doesn't: the next few turns need no other."""
QUOTED = "quoted from your documents"
"""What is named as the model of an answer that no model wrote."""


class Answering:
    """Turns an accepted message into an answer."""

    def __init__(
        self,
        model: ChatModel,
        retrieval: Retrieval,
        reranker: Reranker | None,
        clock: Callable[[], datetime],
        *,
        max_tokens: int,
        quote_threshold: float | None,
        summary_timeout_s: float = TIMEOUT_S,
    ) -> None:
        """max_tokens: of an answer when the client doesn't say.   quote_threshold: how well a sentence must match before it is quoted; None for the reranker's.

        summary_timeout_s: how long the model may take to sum up what doesn't fit.
        """
        self._summary_timeout_s = summary_timeout_s
        self._model, self._retrieval, self._reranker, self._clock = model, retrieval, reranker, clock
        self._max_tokens, self._quote_threshold = max_tokens, quote_threshold

    def history(self, request: SendMessage, stored: Sequence[ChatMessage], system_prompt: str = "") -> History:
        """What was said before: as the client holds it, if it does, else as it is stored. system_prompt: of the conversation."""
        if request.history is None:
            kept = stored_history(stored)
        else:
            said = tuple(Message(role, text) for role, text in request.history if role != "system")
            kept = History(said, ("",) * len(said), tuple(text for role, text in request.history if role == "system"))
        return replace(kept, instructions=(system_prompt, *kept.instructions)) if system_prompt else kept

    async def write(self, turn: Turn, user: User, request: SendMessage, history: History, due: Callable[[], None]) -> ChatMessage:
        """Writes the answer into the turn and returns it complete.

        due: called when so much text has come that it should be checkpointed at once. Raises: HearthError; what has been written stays in the turn.
        """
        info = await self._model.info()
        question = request.content.text
        asked = f"{CONTINUE}\n\nThe question was: {question}" if request.continues else question
        if not request.collections:
            return await self._ask(turn, user, request, info, await self._prompt(turn, user, request, info, asked, history), due)
        searched = standalone(question, history.messages)
        result, unavailable = await self._read(turn, user, request, searched)
        if info.grounding is Grounding.EXTRACTIVE:
            return await self._quote(turn, user, searched, result, unavailable)
        context = RAGContext(result.chunks, result.scores, question) if result is not None and result.relevant else None
        if context is not None:
            self._sources_found(turn, numbered(context), result)
        else:
            notice = unavailable if result is None else nothing_relevant(result.trace, result.trace.best_score, result.trace.threshold)
            turn.add(TextDelta(f"*{notice}*\n\n"))
        messages = await self._prompt(turn, user, request, info, asked, history, context=context, searched=context is None)
        return await self._ask(turn, user, request, info, messages, due)

    async def _prompt(
        self,
        turn: Turn,
        user: User,
        request: SendMessage,
        info: Model,
        asked: str,
        history: History,
        *,
        context: RAGContext | None = None,
        searched: bool = False,
    ) -> list[Message]:
        """The prompt with what fits of the conversation; what doesn't is summed up, and both are kept with the answer."""
        limit, said = self._limit(request), history.messages
        system, last = ends(asked, history.instructions, model=info, max_tokens=limit, context=context, searched=searched)
        room, texts = room_tokens(info, limit), [system, last, *(m.content for m in said)]
        tokens = [estimated_tokens(text) for text in texts]
        clear = fits_clearly(tokens, room)
        if not clear:
            first = max(2, worth_counting(texts, room))
            counted = (await self._model.count([system, last, *texts[first:]])).tokens
            tokens = [*counted[:2], *tokens[2:first], *counted[2:]]
        left = room - tokens[0] - tokens[1] - 2 * MESSAGE_TOKENS
        start, summary = first_kept(said, tokens[2:], left), ""
        if dropped := history.unseen + start:
            left -= reserved_tokens(room) + MESSAGE_TOKENS
            start = first_kept(said, tokens[2:], left)
            dropped = history.unseen + start
            made = history.summary
            if made is None or start > history.summarised:
                ahead = max(start, first_kept(said, tokens[2:], int(left * AHEAD), int(KEPT_MESSAGES * AHEAD)))
                made = await self._summed_up(turn, user, info, history, ahead, room)
            summary = cut(made.text, room)
            self._keep(turn, dropped=dropped, summary=made.text, summarised=made.messages, summarised_to=made.until)
        own = [Message("system", text) for text in history.instructions]
        kept = len(said) - start
        return prompt(asked, [*own, *said], model=info, max_tokens=limit, context=context, searched=searched, kept=kept, summary=summary)

    async def _summed_up(self, turn: Turn, user: User, info: Model, history: History, ahead: int, room: int) -> Summary:
        """The summary of all messages up to that index, out of the last one and of those it doesn't stand for."""
        before = history.summary.text if history.summary is not None else ""
        fallen = history.messages[history.summarised : ahead]
        if not history.stored:  # it would be made again in every turn
            text = extracted(before, fallen, room)
        else:
            turn.add(Stage("summary"))
            text = await summarised(self._model, info, before, fallen, caller=user.caller, room_tokens=room, timeout_s=self._summary_timeout_s)
        return Summary(text, history.unseen + ahead, history.ids[ahead - 1])

    def _limit(self, request: SendMessage) -> int:
        return request.max_tokens or self._max_tokens

    async def _read(self, turn: Turn, user: User, request: SendMessage, searched: str) -> tuple[RAGResult | None, str]:
        """What was found, or a sentence that says why nothing could be read; either way it is told as an event and kept with the answer."""
        turn.add(Stage("retrieval"))
        query = replace(request.rag or RAGQuery(searched, request.collections[0]), query=searched)
        try:
            result = await self._retrieval.search(user, query, request.collections)
        except ServiceError as error:
            self._tell(turn, EventType.RAG_QUERY_EXECUTED, {"error": error.message, "collections": list(request.collections)})
            self._keep(turn, retrieval={"collections": list(request.collections), "error": error.message})
            return None, f"Your documents can't be read just now: {error.message}"
        trace = result.trace
        told = {"collections": list(trace.collections), "considered": trace.considered, "returned": trace.returned, "ms": trace.ms.get("total")}
        self._tell(turn, EventType.RAG_QUERY_EXECUTED, told)
        self._keep(turn, retrieval=asdict(trace), timing=replace(turn.answer.metadata.timing, retrieval_ms=trace.ms.get("total")))
        return result, ""

    def _sources_found(self, turn: Turn, sources: tuple[Source, ...], result: RAGResult | None) -> None:
        self._keep(turn, sources=sources, rag_sources=tuple(s.chunk_id for s in sources))
        turn.add(SourcesFound(sources, result.trace if result else None))

    async def _quote(self, turn: Turn, user: User, question: str, result: RAGResult | None, unavailable: str) -> ChatMessage:
        """The embedded model's answer: words that stand in the documents, or the sentence that there are none."""
        self._tell(turn, EventType.INFERENCE_REQUESTED, {"service": "reranker", "grounding": Grounding.EXTRACTIVE.value})
        text, written_by = unavailable, ""
        if result is not None:
            quoted = await best_quotes(question, result, self._reranker, user.caller, self._quote_threshold)
            if quoted.quotes:
                self._sources_found(turn, numbered(RAGContext(result.chunks, result.scores, question), quoted.quotes), result)
                text, written_by = quoted_answer(quoted.quotes, [found.chunk.content for found in result.chunks]), QUOTED
            elif quoted.best_score is not None:
                text = nothing_relevant(result.trace, quoted.best_score, quoted.threshold)
            else:
                text = nothing_relevant(result.trace, result.trace.best_score, result.trace.threshold)
        self._first_token(turn)
        for piece in _pieces(text):
            turn.add(TextDelta(piece))
        return self._complete(turn, replace(turn.answer.metadata, model_used=written_by))

    async def _ask(self, turn: Turn, user: User, request: SendMessage, info: Model, messages: Sequence[Message], due: Callable[[], None]) -> ChatMessage:
        """A model's answer, streamed into the turn; its citations are held to the sources."""
        turn.add(Stage("model"))
        model = request.model if request.model not in ("", "default") else (user.preferences.model_preference or "default")
        self._tell(turn, EventType.INFERENCE_REQUESTED, {"service": "llm", "model": model, "grounding": info.grounding.value})
        named = info.id if model in ("default", info.id) else model
        small = info.grounding is Grounding.EXTRACTIVE and named == info.id
        self._keep(turn, model_used=named, caution=CAUTION if small else "")
        checked = CitationFilter(len(turn.answer.metadata.sources))
        done: Done | None = None
        begun, since_due = False, 0
        stream = self._model.stream(messages, caller=user.caller, model=model, max_tokens=self._limit(request), temperature=request.temperature)
        async with aclosing(stream) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if type(delta) is not TextDelta:
                    done = _aside(turn, delta) or done
                    continue
                if not begun:
                    begun = True
                    self._first_token(turn)
                text = checked.feed(delta.text)
                if text:
                    turn.add(delta if text is delta.text else TextDelta(text))
                since_due += len(delta.text)
                if since_due > CHECKPOINT_CHARS:
                    since_due = 0
                    due()
        if rest := checked.flush():
            turn.add(TextDelta(rest))
        if not begun:
            raise ServiceUnavailable("The model gave an empty answer.", service="llm", hint="Ask again, or try another model.")
        metadata = turn.answer.metadata
        if done is not None:
            timing = replace(metadata.timing, queue_ms=done.queue_ms)
            metadata = replace(metadata, usage=done.usage, tokens_used=done.usage.completion_tokens, timing=timing)
        return self._complete(turn, metadata)

    def _complete(self, turn: Turn, metadata: MessageMetadata) -> ChatMessage:
        return replace(turn.answer, content=turn.text, status=MessageStatus.COMPLETE, metadata=metadata)

    def _first_token(self, turn: Turn) -> None:
        passed = (self._clock() - turn.started_at) / timedelta(milliseconds=1)
        self._keep(turn, timing=replace(turn.answer.metadata.timing, first_token_ms=round(passed, 1)))

    def _keep(self, turn: Turn, **metadata: Any) -> None:
        turn.answer = replace(turn.answer, metadata=replace(turn.answer.metadata, **metadata))

    def _tell(self, turn: Turn, kind: EventType, data: dict[str, object]) -> None:
        answer = turn.answer
        turn.events.append(Event(new_id(), kind, answer.user_id, answer.conversation_id, self._clock(), {"message_id": answer.id, **data}))


def _aside(turn: Turn, delta: Queued | TextDelta | Done) -> Done | None:
    """Tells the turn of a wait; gives the end of the stream back."""
    if isinstance(delta, Queued):
        turn.add(Stage("queue", delta.position, delta.eta_s) if delta.position else Stage("model"))
    return delta if isinstance(delta, Done) else None


def _pieces(text: str) -> list[str]:
    """The text cut after words, in pieces that stream."""
    pieces, piece = [], ""
    for word in re.split(r"(?<=\s)", text):
        piece += word
        if len(piece) >= PIECE_CHARS:
            pieces.append(piece)
            piece = ""
    return [*pieces, piece] if piece else pieces
