"""The chat room: takes messages in, answers them, and keeps what was said.

A message is accepted only when it, the place for its answer and the events are stored. The answer is written by a task of the room, not of the client:
clients follow it, come and go, and find it again by its id. Text is checkpointed as it grows, all open answers in one transaction.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, count
from types import TracebackType
from typing import Self

from core.chat.answering import CHECKPOINT_CHARS, QUOTED, Answering
from core.chat.elsewhere import Elsewhere
from core.chat.grounding import title_of
from core.chat.model import (
    ChatMessage,
    ChatSettings,
    Checkpoint,
    Conversation,
    Feedback,
    MessageContent,
    MessageStatus,
    NewTurn,
    SendMessage,
    Thread,
    Timing,
    Verdict,
)
from core.chat.stages import attributes, stages
from core.chat.turn import Turn, Update
from core.crash import crash
from core.errors import BadInput, HearthError, IllegalStep, NotFound, ServiceBusy, ServiceError, ServiceUnavailable
from core.events import Event, EventType
from core.ids import is_id, new_id, reply_id
from core.ports import Conversations, Limits, Signals, Traces
from core.rag.model import RAGQuery
from core.rag.stages import OF_SEARCH
from core.records import DeleteReceipt, Page
from core.signals import Signal
from core.traces import NO_TRACES, inside
from core.users.model import NO_QUOTA, Quota, User
from core.users.room import SignedIn

log = logging.getLogger(__name__)

CHECKPOINT_AFTER_S = 0.7
"""How old text may become before it is stored. With the tick it is less than a second; twice as often would be twice the writes (docs/adr/0013)."""
CHECKPOINT_TICK_S = 0.2
FIRST_WORD = timedelta(milliseconds=400)
"""So late the first word of an answer may be by this process's doing (its target); whoever waits longer waits for a model."""
LOOK_S = 0.5
"""How often the records are asked whether an answer is to stop; a signal says it sooner, where there is one."""
LEASE = timedelta(seconds=30)
HISTORY_MESSAGES = 100
"""More than a prompt keeps (packing.KEPT_MESSAGES): what it doesn't keep is summed up before it is out of sight."""
FINISH_ATTEMPTS = 3
"""Where the records are away, it is tried as long as the lease lasts: nobody else may touch the answer before."""
FINISH_AGAIN_S = 2.0
UNHEARD = "It was interrupted here; what was not heard is not kept."
MAX_TITLE_CHARS = 200
MAX_PAGE = 500
MAX_TAGS = 20
MAX_TAG_CHARS = 40


class ChatRoom:
    """Conversations of every user. `async with` runs it: leaving stops open answers and keeps what they have."""

    def __init__(
        self,
        conversations: Conversations,
        answering: Answering,
        signals: Signals,
        limits: Limits,
        clock: Callable[[], datetime],
        *,
        open_answers: int = 200,
        open_answers_per_user: int = 20,
        quota: Quota = NO_QUOTA,
        traces: Traces = NO_TRACES,
    ) -> None:
        """open_answers: how many may be written at the same time, and how many of them for one user.

        quota: of users who have none of their own.
        """
        self._quota, self._traces = quota, traces
        self._conversations, self._answering, self._clock = conversations, answering, clock
        self._open_answers, self._open_answers_per_user = open_answers, open_answers_per_user
        self._signals, self._limits = signals, limits
        self._elsewhere = Elsewhere(conversations, signals)
        signals.on(Signal.STOP_ANSWER, self._stop_of)
        signals.on(Signal.STOP_USER, self._stop_all_of)
        signals.on(Signal.STOP_CONVERSATION, self._stop_all_of)
        self._accepting = 0
        """How many messages are being stored: turns that are open in a moment."""
        self._turns: dict[str, Turn] = {}
        self._writing: dict[str, asyncio.Task[ChatMessage]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """What makes each answer final. Only the writing is ever cancelled, so that an answer stopped before its first step is still concluded."""
        self._stopping: set[str] = set()
        self._drafts: dict[str, tuple[Turn, asyncio.Task[ChatMessage]]] = {}
        """Answers to messages that have not been sent yet, by the ids that they will have."""
        self._closing = False
        self._due = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Starts checkpoints and the watch over leases."""
        loops = (self._keep_checkpoints, self._keep_leases, self._keep_listening)
        self._background = [asyncio.create_task(loop()) for loop in loops]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Interrupts what is open, text kept."""
        await self.interrupt()
        await self._elsewhere.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def interrupt(self) -> None:
        """Ends every open answer, text kept, and takes no more messages: whoever follows one is told so before the house closes."""
        self._closing = True
        for task in self._writing.values():
            task.cancel()
        for turn in self._turns.values():
            turn.hear(None)
        for answer_id in list(self._drafts):
            self.drop_draft(answer_id)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @property
    def open_answers(self) -> int:
        """How many answers are being written now."""
        return len(self._turns)

    @property
    def beginning(self) -> bool:
        """Whether somebody waits for the first word of an answer, and has not waited long. May be asked from any thread."""
        lately, drafts = self._clock() - FIRST_WORD, (turn for turn, _ in tuple(self._drafts.values()))
        return self._accepting > 0 or any(not turn.chars and turn.started_at > lately for turn in chain(tuple(self._turns.values()), drafts))

    async def send(self, who: SignedIn, request: SendMessage, *, detached: bool = False) -> Turn:
        """Accepts a message: when this returns, it is stored and being answered. Sending the same again gives the same turn.

        detached: the answer is finished even when nobody follows it (a page that is reloaded); otherwise it is stopped soon after.
        Raises: AlreadyThere for a used id with another text; NotFound for somebody else's conversation; ServiceBusy; BadInput; NoSpace.
        """
        answer_id = reply_id(request.message_id)
        if (turn := self._turns.get(answer_id)) is not None and turn.answer.user_id == who.user.id and turn.question == request.content.text:
            return turn
        now = self._clock()
        question = ChatMessage(request.message_id, request.conversation_id, who.session.id, who.user.id, "user", request.content.text, now)
        async with self._room_for(who.user, answer_id):
            return await self._begin(who, request, question, answer_id, now, request.parent_id, detached)

    async def draft(self, who: SignedIn, request: SendMessage) -> Turn:
        """Begins to answer a message that will probably be sent. Nothing is stored before `send` takes the same message and goes on with this turn.

        `drop_draft` forgets it, and has to be called where it isn't sent. Raises: ServiceUnavailable while the house stops.
        """
        self._demand_open()
        try:
            known = await self._conversations.get_for(who.user.id, request.conversation_id)
            earlier = (await self._conversations.thread_for(who.user.id, known.id, limit=HISTORY_MESSAGES)).messages
            settings = known.settings
        except NotFound:  # it begins with this message, or is somebody else's, which `send` will say
            earlier, settings = (), request.settings
        now = self._clock()
        turn = Turn(self._blank(who, request, reply_id(request.message_id), now), request.content.text, now)
        writing = self._write(turn, who.user, request, earlier, settings)
        writing.add_done_callback(lambda written: None if written.cancelled() or written.exception() else turn.speaks())
        self._drafts[turn.answer_id] = turn, writing
        return turn

    def drop_draft(self, answer_id: str) -> None:
        """Nobody sends that message. Nothing happens if it was sent."""
        if (draft := self._drafts.pop(answer_id, None)) is not None:
            draft[1].cancel()
            draft[0].work.end({"hearth.status": "dropped"})
            draft[1].add_done_callback(lambda writing: writing.cancelled() or writing.exception())  # nobody asks how it ended

    async def answer_again(
        self,
        who: SignedIn,
        answer_id: str,
        new_answer_id: str,
        *,
        model: str = "default",
        rag: RAGQuery | None = None,
        collections: Sequence[str] | None = None,
    ) -> Turn:
        """Another answer to the same question, beside the first: by another model, with another depth or from other collections, if wanted.

        new_answer_id: a UUID of the client's; the same again gives the same turn.   collections: None for those of the first answer, () for none.
        Raises: NotFound, BadInput.
        """
        if not is_id(new_answer_id):
            raise BadInput(f"The new answer's id must be a UUID in lower case, not {new_answer_id[:60]!r}.", hint="Make a new UUIDv7.")
        first = await self._conversations.message_for(who.user.id, answer_id)
        if first.role != "assistant":
            raise BadInput("Only an answer can be given again.", hint="Edit the question instead.")
        question = await self._conversations.message_for(who.user.id, first.reply_to)
        again = self._again(first, question)
        again = replace(again, model=model, rag=None if rag is None else replace(rag, query=question.content))
        if collections is not None:
            again = replace(again, collections=tuple(collections))
        async with self._room_for(who.user, new_answer_id):
            return await self._begin(who, again, None, new_answer_id, self._clock(), question.id, detached=True)

    async def go_on(self, who: SignedIn, answer_id: str, request: SendMessage | None = None) -> Turn:
        """Continues an answer that was broken off, as a new message after it. Raises: NotFound, IllegalStep if it was not broken off."""
        broken = await self._conversations.message_for(who.user.id, answer_id)
        if broken.status not in (MessageStatus.INTERRUPTED, MessageStatus.STOPPED, MessageStatus.FAILED):
            raise IllegalStep("That answer is complete.", hint="Send a new message instead.")
        question = await self._conversations.message_for(who.user.id, broken.reply_to)
        again = replace(request or self._again(broken, question), continues=broken.id)
        async with self._room_for(who.user, reply_id(broken.id)):
            return await self._begin(who, again, None, reply_id(broken.id), self._clock(), broken.id, detached=True)

    def _again(self, answer: ChatMessage, question: ChatMessage) -> SendMessage:
        """What was asked for an answer, to be asked again."""
        names = (answer.metadata.retrieval or {}).get("collections", ())
        collections = tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()
        model = answer.metadata.model_used
        model = "default" if model in ("", QUOTED) else model
        return SendMessage(answer.conversation_id, question.id, MessageContent(question.content), collections, model=model)

    async def stop(self, user: User, answer_id: str) -> None:
        """Ends an answer, wherever it is written; its text is kept. Nothing happens if it is over. Raises: NotFound for somebody else's."""
        if self._stop_of(user.id, answer_id) or (await self._conversations.message_for(user.id, answer_id)).status.final:
            return
        await self._conversations.ask_to_stop(user.id, answer_id)
        await self._signals.send(Signal.STOP_ANSWER, user.id, answer_id)  # sooner than its process looks; one that is lost delays it

    def _stop_of(self, user_id: str, answer_id: str) -> bool:
        """Whether it was written here, for that user."""
        turn = self._turns.get(answer_id)
        if turn is None or turn.answer.user_id != user_id:
            return False
        self._stop(turn)
        return True

    def _stop(self, turn: Turn, heard: int | None = None) -> None:
        self._stopping.add(turn.answer_id)
        self._writing[turn.answer_id].cancel()
        turn.hear(heard)

    async def heard(self, user: User, answer_id: str, chars: int | None = None) -> None:
        """How far an answer that is read out was heard, in characters; None for all of it. Less than all ends the answer there, and only that much is kept
        when this returns.

        Nothing happens if it is over. Raises: NotFound for somebody else's.
        """
        turn = self._turns.get(answer_id)
        if turn is None or turn.answer.user_id != user.id:
            await self._conversations.message_for(user.id, answer_id)
        elif chars is None:
            turn.hear(None)
        else:
            self._stop(turn, chars)
            await asyncio.wait([self._tasks[answer_id]])

    def answering_for(self) -> set[str]:
        """The ids of the users for whom answers are being written now."""
        return {turn.answer.user_id for turn in self._turns.values()}

    async def stop_all(self, user_id: str) -> None:
        """Ends every open answer of a user, wherever it is written; their text is kept."""
        await self._signals.send(Signal.STOP_USER, user_id)

    def _stop_all_of(self, user_id: str, conversation_id: str = "") -> None:
        """Every answer of a user that is written here, or those in one conversation."""
        for turn in list(self._turns.values()):
            if turn.answer.user_id == user_id and conversation_id in ("", turn.conversation_id):
                self._stop(turn)

    async def turn(self, user: User, answer_id: str) -> Turn:
        """An answer to follow: as it is written, here or by another process, or as it is stored. Raises: NotFound."""
        turn = await self.open_turn(user, answer_id)
        return turn or self._elsewhere.turn(await self._conversations.message_for(user.id, answer_id))

    async def open_turn(self, user: User, answer_id: str) -> Turn | None:
        """The turn of an answer that is still being written here, to follow it again."""
        turn = self._turns.get(answer_id)
        return turn if turn is not None and turn.answer.user_id == user.id else None

    async def conversations(self, user: User, *, search: str = "", tag: str = "", limit: int = 50, cursor: str = "") -> Page[Conversation]:
        """The user's conversations, pinned ones and then the latest activity first."""
        return await self._conversations.list_for(user.id, search=search, tag=tag, limit=_bounded(limit), cursor=cursor)

    async def conversation(self, user: User, conversation_id: str) -> Conversation:
        """Raises: NotFound."""
        return await self._conversations.get_for(user.id, conversation_id)

    async def thread(self, user: User, conversation_id: str, *, at: str = "", limit: int = 100, before: str = "") -> Thread:
        """The last messages of one path through a conversation: the newest, or the one through the message `at`. Raises: NotFound."""
        return await self._conversations.thread_for(user.id, conversation_id, at=at, limit=_bounded(limit), before=before)

    async def whole_path(self, user: User, conversation_id: str, *, at: str = "") -> Sequence[ChatMessage]:
        """Every message of one path, for an export. Raises: NotFound."""
        thread = await self.thread(user, conversation_id, at=at, limit=MAX_PAGE)
        messages = list(thread.messages)
        while thread.older and thread.messages:
            thread = await self.thread(user, conversation_id, limit=MAX_PAGE, before=messages[0].id)
            messages = [*thread.messages, *messages]
        return messages

    async def message(self, user: User, message_id: str) -> ChatMessage:
        """Raises: NotFound."""
        return await self._conversations.message_for(user.id, message_id)

    async def change(
        self,
        user: User,
        conversation_id: str,
        *,
        title: str | None = None,
        pinned: bool | None = None,
        tags: Sequence[str] | None = None,
        settings: ChatSettings | None = None,
    ) -> Conversation:
        """Gives a conversation another title, pin, tags or settings; what is None stays. Raises: NotFound, BadInput."""
        known = await self._conversations.get_for(user.id, conversation_id)
        changed = replace(
            known,
            title=known.title if title is None else _title(title),
            pinned=known.pinned if pinned is None else pinned,
            tags=known.tags if tags is None else _tags(tags),
            settings=settings or known.settings,
        )
        await self._conversations.change_for(user.id, changed)
        return changed

    async def tags(self, user: User) -> Sequence[str]:
        """Every tag the user gave, by name."""
        return await self._conversations.tags_for(user.id)

    async def judge(self, user: User, answer_id: str, verdict: Verdict | None, reason: str = "") -> None:
        """Keeps what the user thinks of an answer; None takes it back. Raises: NotFound, BadInput."""
        feedback = None if verdict is None else Feedback(answer_id, user.id, verdict, reason.strip(), self._clock())
        await self._conversations.judge(feedback, answer_id, user.id)

    async def feedback(self, user: User, conversation_id: str) -> Mapping[str, Feedback]:
        """The user's verdicts in a conversation by answer id."""
        return await self._conversations.feedback_for(user.id, conversation_id)

    async def delete(self, user: User, conversation_id: str) -> DeleteReceipt:
        """Removes a conversation with everything in it; answers still being written are stopped first. Raises: NotFound."""
        tasks = [self._tasks[t.answer_id] for t in self._turns.values() if t.conversation_id == conversation_id and t.answer.user_id == user.id]
        await self._signals.send(Signal.STOP_CONVERSATION, user.id, conversation_id)
        await asyncio.gather(*tasks, return_exceptions=True)
        return await self._conversations.delete_for(user.id, conversation_id)

    def follow_or_stop(self, turn: Turn) -> AsyncIterator[Update]:
        """Follows a turn for a program: when the last such follower leaves before the end, the answer is stopped soon after."""

        def abandoned() -> None:
            if turn.answer_id in self._writing:
                self._stop(turn)

        return turn.follow_or(abandoned)

    @asynccontextmanager
    async def _room_for(self, user: User, answer_id: str) -> AsyncIterator[None]:
        """While a message is being stored. Raises: ServiceBusy if no more answers may be written now, or no more of this user's."""
        if len(self._turns) + self._accepting >= self._open_answers:
            raise ServiceBusy("Hearth is writing as many answers as it can.", service="chat", hint="Try again in a moment.", retry_after_s=2)
        self._accepting += 1
        try:
            if not await self._take_place(user.id, answer_id):
                mine = self._open_answers_per_user
                raise ServiceBusy(
                    f"{mine} of your answers are being written already.", service="chat", hint="Wait until one is finished, or stop one.", retry_after_s=2
                )
            yield
        finally:
            self._accepting -= 1
            if answer_id not in self._turns:
                await self._limits.give_back(_places(user.id), answer_id)

    async def _take_place(self, user_id: str, answer_id: str) -> bool:
        return await self._limits.take(_places(user_id), answer_id, self._open_answers_per_user, LEASE.total_seconds())

    async def _begin(
        self, who: SignedIn, request: SendMessage, question: ChatMessage | None, answer_id: str, now: datetime, parent_id: str | None, detached: bool
    ) -> Turn:
        self._demand_open()
        user = who.user
        answer = self._blank(who, request, answer_id, now)
        received = Event(new_id(), EventType.MESSAGE_RECEIVED, user.id, request.conversation_id, now, {"message_id": request.message_id})
        title = title_of(request.content.text)
        crash("before_accept_commit")
        conversation = Conversation(request.conversation_id, user.id, title, now, now, settings=request.settings)
        quota = user.quota.over(self._quota)
        accepted = await self._conversations.accept(NewTurn(conversation, question, answer, now + LEASE, (received,), HISTORY_MESSAGES, parent_id, quota))
        crash("after_accept_commit")
        if accepted.stored is not None:
            return self._turns.get(answer_id) or self._elsewhere.turn(accepted.stored)
        answer = replace(answer, parent_id=accepted.parent_id)
        drafted = self._drafts.get(answer_id)
        if drafted is not None and drafted[0].question == request.content.text and drafted[0].answer.user_id == user.id:
            turn, writing = self._drafts.pop(answer_id)
            turn.sent(answer)
        else:
            self.drop_draft(answer_id)
            turn = Turn(answer, request.content.text, now)
            # The question itself is asked last; where it is answered again it is already on the path.
            earlier = [m for m in accepted.history if request.continues or m.id != request.message_id]
            writing = self._write(turn, user, request, earlier, accepted.settings)
        turn.lease_until = now + LEASE
        turn.heard = asyncio.get_running_loop().create_future() if request.read_out else None
        self._turns[answer_id] = turn
        self._writing[answer_id] = writing
        self._tasks[answer_id] = asyncio.create_task(self._conclude(turn, writing))
        return turn

    def _demand_open(self) -> None:
        """Raises: ServiceUnavailable once the room is being left."""
        if self._closing:
            raise ServiceUnavailable("Hearth is stopping.", service="chat", hint="Send it again in a moment.")

    def _blank(self, who: SignedIn, request: SendMessage, answer_id: str, now: datetime) -> ChatMessage:
        """An answer with nothing in it yet. It is one microsecond younger than its question, so that it never sorts before it."""
        made_at, state = now + timedelta(microseconds=1), MessageStatus.GENERATING
        return ChatMessage(answer_id, request.conversation_id, who.session.id, who.user.id, "assistant", "", made_at, status=state, reply_to=request.message_id)

    def _write(self, turn: Turn, user: User, request: SendMessage, earlier: Sequence[ChatMessage], settings: ChatSettings) -> asyncio.Task[ChatMessage]:
        history = self._answering.history(request, earlier, settings.system_prompt)
        turn.work = self._traces.begin("chat turn", ago_ms=(self._clock() - turn.started_at) / timedelta(milliseconds=1))
        with inside(turn.work.cause):
            return asyncio.create_task(self._answering.write(turn, user, _with(settings, request), history, self._due.set), name=f"answer {turn.answer_id}")

    async def _conclude(self, turn: Turn, writing: asyncio.Task[ChatMessage]) -> None:
        """Makes one answer final, however its writing ends."""
        try:
            answer = turn.placed(await writing)
        except asyncio.CancelledError:
            if turn.answer_id in self._stopping:
                answer = replace(turn.interrupted(""), status=MessageStatus.STOPPED)
            else:
                answer = turn.interrupted("Hearth was stopped while this was being written.")
        except HearthError as error:
            answer = turn.interrupted(str(error))
        except Exception:  # a bug must end this answer and no other
            reference = new_id()[-8:]
            log.exception("answer %s failed (%s)", turn.answer_id, reference)
            answer = turn.interrupted(f"Something went wrong inside Hearth. Its log names the cause under {reference}.")
        written_at = self._clock()
        try:
            await self._finish(turn, await self._as_heard(turn, answer), written_at)
        finally:
            self._turns.pop(turn.answer_id, None)
            self._writing.pop(turn.answer_id, None)
            self._tasks.pop(turn.answer_id, None)
            self._stopping.discard(turn.answer_id)
            await self._limits.give_back(_places(turn.answer.user_id), turn.answer_id)
            await self._signals.send(Signal.GROWN, turn.answer_id)

    async def _as_heard(self, turn: Turn, answer: ChatMessage) -> ChatMessage:
        """An answer that is read out, when it has been: what was not heard is not kept. A failed one waits for nobody."""
        if turn.heard is None or answer.status not in (MessageStatus.COMPLETE, MessageStatus.STOPPED):
            return answer
        turn.speaks()
        chars = await turn.heard
        if chars is None or (answer.status is MessageStatus.COMPLETE and chars >= len(answer.content)):
            return answer
        return replace(answer, content=answer.content[:chars].rstrip(), status=MessageStatus.INTERRUPTED, metadata=replace(answer.metadata, error=UNHEARD))

    async def _finish(self, turn: Turn, answer: ChatMessage, written_at: datetime) -> None:
        now = self._clock()
        total_ms = (written_at - turn.started_at) / timedelta(milliseconds=1)
        meta = answer.metadata
        timing = replace(meta.timing, total_ms=round(total_ms, 1)) if meta.timing != Timing() else Timing(total_ms=round(total_ms, 1))
        answer = replace(answer, metadata=replace(meta, latency_ms=round(total_ms, 1), timing=timing))
        told = {"message_id": answer.id}
        turn.events.append(Event(new_id(), EventType.RESPONSE_GENERATED, answer.user_id, answer.conversation_id, now, told | {"status": answer.status.value}))
        turn.events.append(Event(new_id(), EventType.MESSAGE_STORED, answer.user_id, answer.conversation_id, now, told))
        until = time.monotonic() + LEASE.total_seconds()
        for attempt in count(1):
            try:
                await self._conversations.finish(answer, turn.events)
                crash("after_finish_commit")
                break
            except HearthError as error:
                away = isinstance(error, ServiceError) and error.retryable and time.monotonic() < until and not self._closing
                if attempt >= FINISH_ATTEMPTS and not away:
                    log.error("answer %s could not be stored: %s", answer.id, error)
                    answer = replace(
                        answer, status=MessageStatus.INTERRUPTED, metadata=replace(answer.metadata, error=f"This answer could not be stored whole. {error}")
                    )
                    break
                await asyncio.sleep(min(attempt * 0.5, FINISH_AGAIN_S))
        turn.work.stages(spent for spent in stages(answer) if spent[0] not in OF_SEARCH)  # the search has told of its own
        turn.work.end(attributes(answer), failed=answer.status is MessageStatus.FAILED)
        turn.end(answer)

    async def _keep_checkpoints(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), CHECKPOINT_TICK_S)
            self._due.clear()
            try:
                await self._checkpoint()
            except Exception as error:  # the next tick tries again; answers go on meanwhile
                log.error("a checkpoint could not be stored: %s", error, exc_info=not isinstance(error, HearthError))

    async def _checkpoint(self) -> None:
        now, late = self._clock(), time.monotonic() - CHECKPOINT_AFTER_S
        grown = [t for t in self._turns.values() if not t.finished and (t.unsaved(late, CHECKPOINT_CHARS) or t.lease_until - now < LEASE / 2)]
        if not grown:
            return
        checkpoints, taken = [], []
        for turn in grown:
            checkpoints.append(Checkpoint(turn.answer_id, turn.text, now + LEASE, tuple(turn.events)))
            taken.append((turn, turn.chars, len(turn.events)))
            turn.unsaved_since = math.inf
        try:
            await self._conversations.checkpoint(checkpoints)
        except BaseException:
            for turn, _, _ in taken:
                turn.unsaved_since = late  # still not stored: the next tick takes it again
            raise
        crash("after_checkpoint")
        for turn, chars, events in taken:
            turn.saved_chars, turn.lease_until = chars, now + LEASE
            del turn.events[:events]
        await self._signals.send(Signal.GROWN, *(turn.answer_id for turn in grown))

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 6)
            try:
                await self._conversations.expire_leases(self._clock())
                for turn in list(self._turns.values()):
                    await self._take_place(turn.answer.user_id, turn.answer_id)
            except Exception as error:  # the next round tries again
                log.error("leases could not be checked: %s", error, exc_info=not isinstance(error, HearthError))

    async def _keep_listening(self) -> None:
        """Stops the answers that are not to go on: somebody has said so at another process, or deleted their conversation, or this one was taken for gone."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if written := list(self._turns):
                    going_on = await self._conversations.going_on(written)
                    for answer_id in set(written) - going_on - self._stopping:
                        if (turn := self._turns.get(answer_id)) is not None:
                            self._stop(turn)
            except Exception as error:  # the next round tries again
                log.error("what other processes ask for could not be read: %s", error, exc_info=not isinstance(error, HearthError))


def _places(user_id: str) -> str:
    """The name of the places of a user's open answers."""
    return f"answers of {user_id}"


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _with(settings: ChatSettings, request: SendMessage) -> SendMessage:
    """The request with the conversation's settings where it says nothing itself."""
    return replace(
        request,
        model=settings.model or request.model if request.model in ("", "default") else request.model,
        temperature=settings.temperature if request.temperature is None else request.temperature,
        max_tokens=settings.max_tokens if request.max_tokens is None else request.max_tokens,
    )


def _title(text: str) -> str:
    title = " ".join(text.split())[:MAX_TITLE_CHARS]
    if not title:
        raise BadInput("A title needs at least one letter.")
    return title


def _tags(names: Sequence[str]) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(" ".join(name.split()) for name in names if name.strip()))
    if len(tags) > MAX_TAGS or any(len(tag) > MAX_TAG_CHARS or not tag.isprintable() for tag in tags):
        raise BadInput(f"A conversation may have {MAX_TAGS} tags of at most {MAX_TAG_CHARS} characters.")
    return tags
