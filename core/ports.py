"""Every seam of the house: what the contexts need from outside, said in their own words.

An adapter of each lives in `core/adapters/` (stores) or `inference/client.py` (models). The docstrings carry the meaning of every number;
`tests/contract/` holds every adapter to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from core.audit import Act, AuditEntry
    from core.backups import Backup, Progress
    from core.chat.model import Accepted, ChatMessage, Checkpoint, Conversation, Feedback, NewTurn, SavedPrompt, Share, Thread
    from core.console.collections import Holdings, Passage, Row
    from core.console.folders import Known
    from core.console.reading import Talk
    from core.events import DeadLetter, Event, EventType, RecordedEvent
    from core.inference import Caller, CatalogueEntry, Counted, Done, Embedded, Message, Model, Queued, Residences, Samples, Service, TextDelta, Vector
    from core.processes import Duty, Process
    from core.rag.golden import GoldenRow
    from core.rag.model import Chunk, Collection, CollectionVersion, Document, FetchedPage, FoundChunk, Hit, IngestJob, PagePicture, ParsedDocument, Waiting
    from core.records import DeleteReceipt, Facts, Page, Stored
    from core.retention import Pin, Sweep
    from core.signals import Signal
    from core.traces import Attributes, Spent
    from core.users.model import ApiKey, Session, Used, User
    from core.voice.model import AudioChunk, AudioData, AudioFormat, SpokenTurn, SynthesizedAudio, Transcription, Voice, VoiceResponse, VoiceTiming
    from core.workflow.model import Artifact, EngineReport, Experiment, Order, Pipeline, PipelineRun, PipelineSpec, Step, StepResult, Trigger
    from core.workflow.shelf import Listed, RunFilter


class ChatModel(Protocol):
    """Thinks: turns a prompt into an answer, piece by piece."""

    async def info(self) -> Model:
        """What is known of the configured model. Raises: ServiceError, ModelError."""

    async def check(self) -> Model:
        """Asks its server for something real and says which model it is. Raises: ServiceError, ModelError."""

    def stream(
        self, messages: Sequence[Message], *, caller: Caller, model: str = "default", max_tokens: int | None = None, temperature: float | None = None
    ) -> AsyncIterator[Queued | TextDelta | Done]:
        """The answer: Queued while it has to wait for a place, deltas as they come, then exactly one Done. Leaving the iterator stops the model.

        Where the wait was told, Queued(0, 0) says that it is over; a short wait isn't told.
        max_tokens: of the answer; None leaves it to the server.   temperature: 0 and up.
        Raises: TooLong if the prompt does not fit; ServiceUnavailable, ServiceTimeout, ServiceBusy, ModelMissing (also in mid-answer).
        """

    async def count(self, texts: Sequence[str]) -> Counted:
        """How many tokens each text has, without a template's marks around it. A text that was counted before costs nothing.

        Never fails: where the server has no tokenizer to ask or doesn't answer, the counts are careful estimates and say so.
        """

    async def models(self) -> Sequence[Model]:
        """The chat models that may be named in `stream`."""


class Embedder(Protocol):
    """Turns texts into directions, so that near means alike."""

    async def info(self) -> Model:
        """The configured model, with its dimensions. Raises: ServiceError, ModelError."""

    async def check(self) -> Model:
        """Asks its server for something real and says which model it is. Raises: ServiceError, ModelError."""

    def of(self, model: str) -> Embedder:
        """The same service with another of its models; itself for its own. Whether it has that model shows when it is asked: ModelMissing."""

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"], *, caller: Caller) -> Embedded:
        """Unit vectors, one per text, in order; [] gives (0, d). Raises: ServiceError, ModelError, WrongShape."""


class Reranker(Protocol):
    """Reads question and passage together and says how well one answers the other."""

    async def info(self) -> Model:
        """The configured model and its relevance threshold."""

    async def check(self) -> Model:
        """Asks its server for something real and says which model it is. Raises: ServiceError, ModelError."""

    async def rerank(self, query: str, documents: Sequence[str], *, caller: Caller) -> Sequence[float]:
        """A score per document, in the documents' order; higher is better, the scale is the model's own. Raises: ServiceError, ModelError."""


class Transcriber(Protocol):
    """Listens: turns what somebody said into text."""

    async def info(self) -> Model:
        """The configured model. Raises: ServiceError, ModelError."""

    async def check(self) -> Model:
        """Asks its server for something real and says which model it is. Raises: ServiceError, ModelError."""

    async def transcribe(self, audio: AudioData, *, caller: Caller, language: str = "", goes_on: bool = False) -> Transcription:
        """What was said. language: as BCP 47 names it; "" leaves it to the model.   goes_on: more of it is being said and will come, with this before it.

        Raises: NoSpeech for silence and noise; Unreadable for bytes that are no such sound; TooLong past a limit on seconds, bytes or channels;
        ServiceError, ModelError.
        """

    async def prepare(self, *, caller: Caller) -> None:
        """Somebody is about to speak: what their first words would wait for is made ready, where that can be asked for. Raises: ServiceError, ModelError."""


class AudioCodec(Protocol):
    """Opens sound of the forms that the domain doesn't know."""

    async def to_wav(self, data: bytes, *, caller: Caller) -> AudioData:
        """The same sound as WAV with one channel, as far as a model would listen to it. data: a file of any form that `container_of` knows.

        Raises: Unreadable for a broken file; TooLong past a limit on seconds, bytes or channels; ServiceError.
        """


class Synthesizer(Protocol):
    """Speaks: turns text into sound."""

    async def info(self) -> Model:
        """The configured model. Raises: ServiceError, ModelError."""

    async def check(self) -> Model:
        """Asks its server for something real and says which model it is. Raises: ServiceError, ModelError."""

    async def voices(self) -> Sequence[Voice]:
        """Who can speak; the first is the usual one. [] where the server can't say. Raises: ServiceError, ModelError."""

    def speak(self, text: str, *, caller: Caller, voice: str = "", speed: float = 1.0) -> AsyncIterator[AudioChunk]:
        """The text as raw samples at SPEECH_RATE_HZ, the first of them as soon as they are there; silence around it is cut. Leaving the iterator stops it.

        voice: "" for the usual one.   speed: 0.25 to 4, 1 is usual.   Raises: BadInput for an unknown voice; ServiceError, ModelError.
        """

    async def synthesize(self, text: str, *, caller: Caller, voice: str = "", speed: float = 1.0, audio_format: AudioFormat | None = None) -> SynthesizedAudio:
        """The text as one file; None means WAV. Raises: as `speak`."""


class Residency(Protocol):
    """Which models the local inference process has in memory. There is none where every model is elsewhere."""

    async def status(self) -> Residences:
        """Raises: ServiceError."""

    async def load(self, service: Service) -> Residences:
        """Brings a model into memory. Raises: ServiceError, ModelError."""

    async def unload(self, service: Service) -> Residences:
        """Frees it. Raises: ServiceBusy while somebody uses it; ServiceError, ModelError."""


class Catalogue(Protocol):
    """The models that Hearth knows by name, and bringing them here."""

    async def entries(self) -> Sequence[CatalogueEntry]:
        """All of them, by service and name."""

    async def fetch(self, name: str, on_progress: Callable[[int, int | None, str], None]) -> None:
        """Downloads, checks and unpacks one. on_progress: (bytes done, bytes in all or None, what is being done), from another thread.

        Cancelling it ends the download, and nothing of it is left. Raises: ModelError, ServiceError, NoSpace.
        """


class VoiceActivity(Protocol):
    """Tells speech from everything else, in one stream of sound: it remembers what came before."""

    frame_samples: int
    """How many samples it takes at once, at `rate_hz`."""
    rate_hz: int

    def probability(self, frame: Samples) -> float:
        """How likely the frame is speech, 0 to 1. frame: (frame_samples,) int16. Takes well under a millisecond, so it is not awaited."""


class SpokenTurns(Protocol):
    """Keeps spoken requests and their responses: the text for as long as messages, the place of the sound for an hour."""

    async def accept(self, turn: SpokenTurn, events: Sequence[Event]) -> SpokenTurn:
        """Stores a request with what was heard, and its events. The same request again is not stored: it comes back as it stands.

        Raises: AlreadyThere if the id has other sound; NotFound if it is somebody else's.
        """

    async def answer(self, response: VoiceResponse, events: Sequence[Event]) -> VoiceResponse:
        """Stores the response with its events; where there is one already, that one comes back. Raises: NotFound without its request."""

    async def turn_for(self, user_id: str, request_id: str) -> SpokenTurn:
        """Without the bytes of the sound. Raises: NotFound."""

    async def audio_before(self, moment: datetime, limit: int) -> Sequence[str]:
        """Uris of sound that came in or was spoken before that moment."""

    async def forget_audio(self, uris: Sequence[str]) -> None:
        """Says that these are dropped; the rows stay."""

    async def drop_before(self, moment: datetime, limit: int) -> int:
        """Removes at most `limit` requests from before that moment, with their responses and events; says how many. Pinned conversations' stay."""

    async def count_before(self, moment: datetime) -> int:
        """How many requests `drop_before` would remove."""

    async def count_audio_before(self, moment: datetime) -> int:
        """How many sounds `audio_before` would name."""


class PasswordHasher(Protocol):
    """Turns a password into something that may be kept; slow on purpose, so it is awaited."""

    async def hash(self, password: str) -> str:
        """A salted hash."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether it fits. Takes as long for None (no such user) as for a real hash."""


class Store(Protocol):
    """What keeps something, here or on a server."""

    adapter: str
    """What it is, for people, with its version where it tells one."""

    async def check(self) -> None:
        """Asks it for something real. Raises: NoSpace, ServiceError."""


class Server(Protocol):
    """What a server has to tell `hearth doctor`, whatever else its adapter does."""

    adapter: str
    """What it is, for people, with its version where it tells one."""

    async def facts(self) -> Facts:
        """Asks for something that takes every right the house needs there, and undoes it. Raises: NoSpace, ServiceError."""


class Processes(Protocol):
    """Knows the processes that serve. What a process holds (answers, jobs, versions, runs, duties) is free for the others once it isn't known here any more."""

    async def beat(self, process: Process, now: datetime, *, silent_since: datetime | None, gone: str = "", duties: Sequence[Duty] = ()) -> Sequence[Duty]:
        """Keeps a process as living at that time, forgets those that are gone, and gives it those duties that nobody else has: all that it has from now on.

        silent_since: who hasn't said anything since then is gone; None for nobody.   gone: one that is, by its id.
        """

    async def leave(self, process_id: str) -> None:
        """Forgets a process."""

    async def all(self) -> Sequence[Process]:
        """Those that are known, by role; 200 at most."""


class Sweeps(Protocol):
    """Remembers every sweep of retention, and lets one at a time work: a sweep without an end holds the lease, as long as that lasts."""

    async def begin(self, sweep: Sweep, lease_until: datetime) -> bool:
        """Keeps a sweep that starts. False while another's lease lasts; one whose lease is over is kept as broken off."""

    async def report(self, sweep: Sweep, lease_until: datetime) -> bool:
        """Keeps how far it is, or how it ended. False if it has ended already: another has taken its place."""

    async def last_whole(self) -> Sweep | None:
        """The latest that looked at everything; not one that failed or was broken off."""

    async def all(self, *, limit: int = 50, cursor: str = "") -> Page[Sweep]:
        """Latest first. Raises: BadInput for a cursor that no page gave."""

    async def count_before(self, moment: datetime) -> int:
        """How many ended ones started before that moment."""

    async def drop_before(self, moment: datetime) -> int:
        """Removes those; says how many."""


class BackupStore(Protocol):
    """A folder of backups, each one file with everything of the house that can't be fetched again. Names sort by the time they were made."""

    async def write(self, made_at: datetime, progress: Progress) -> Backup:
        """Makes one while the house runs: the database as of one moment, and the objects. It is there whole or not at all.

        Sessions are left out: an old sign-in is not restored. Raises: NoSpace; NotFound if there is no house yet; AlreadyThere.
        """

    async def all(self) -> Sequence[Backup]:
        """Latest first, those that can't be read too."""

    async def names(self) -> Sequence[str]:
        """Latest first; no file is opened."""

    async def latest_at(self) -> datetime | None:
        """When the latest was made."""

    async def path(self, name: str) -> Path:
        """Raises: NotFound."""

    async def drop(self, name: str) -> bool:
        """Whether it was there."""


class AuditLog(Protocol):
    """Keeps who did what; rows are added and read, never changed."""

    async def write(self, entry: AuditEntry) -> None:
        """Keeps a row."""

    async def entries(
        self, *, actor: str = "", act: Act | None = None, since: datetime | None = None, until: datetime | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[AuditEntry]:
        """The rows, latest first.

        actor: the whole name, case does not count.   since, until: from that moment, and before that one.   Raises: BadInput for a cursor that no page gave.
        """


class Accounts(Protocol):
    """Keeps users, their password hashes and API keys."""

    async def add(self, user: User, password_hash: str | None) -> None:
        """Raises: AlreadyThere if the name is taken (case does not count)."""

    async def add_first(self, user: User, password_hash: str) -> None:
        """Adds the admin of an empty house. Raises: NotAllowed once there is any user."""

    async def get(self, user_id: str) -> User:
        """Raises: NotFound."""

    async def named(self, username: str) -> tuple[User, str | None]:
        """The user of that name (case does not count) and the password hash. Raises: NotFound."""

    async def change(self, user_id: str, changes: Mapping[str, object], password_hash: str | None = None) -> tuple[User, User]:
        """Changes these fields of a user and no other, read and written in one transaction; the password only if one is given: (before, after).

        preferences: whole, or only those that change, as a mapping.
        Raises: NotFound; AlreadyThere for a taken name; IllegalStep if no admin who isn't disabled would be left.
        """

    async def everyone(self, limit: int, cursor: str = "") -> Page[User]:
        """All users by name."""

    async def add_key(self, key: ApiKey, key_hash: str) -> None:
        """Keeps a key by its hash."""

    async def by_key(self, key_hash: str) -> tuple[User, ApiKey]:
        """Whose key that is. Raises: NotFound."""

    async def keys_of(self, user_id: str) -> Sequence[ApiKey]:
        """A user's keys, latest first."""

    async def key_used(self, key_id: str, at: datetime) -> None:
        """Keeps when a key was last used."""

    async def drop_key(self, user_id: str, key_id: str) -> None:
        """Raises: NotFound, also for somebody else's."""

    async def found(self, search: str, limit: int, cursor: str = "") -> Page[User]:
        """Users whose name has that in it (case does not count), by name."""


class Usage(Protocol):
    """Knows what each user has used on each day, which begins at 00:00 UTC. Stores count what they store themselves."""

    async def on_day(self, user_id: str, at: datetime) -> Used:
        """On the day of that moment."""

    async def days(self, user_id: str, until: datetime, count: int) -> Sequence[tuple[datetime, Used]]:
        """The last `count` days up to that of `until`, each with its beginning."""

    async def add(self, user_id: str, at: datetime, *, requests: int = 0, audio_ms: float = 0.0) -> None:
        """Counts what is stored nowhere."""


class Traffic(Protocol):
    """What has been asked and answered, over all users, without a word of it."""

    async def latest_answers(self, since: datetime, limit: int) -> Sequence[ChatMessage]:
        """The latest answers with their figures; their text is left out."""

    async def latest_spoken(self, since: datetime, limit: int) -> Sequence[VoiceTiming]:
        """Where the time of the latest spoken turns went."""

    async def days(self, until: datetime, count: int) -> Sequence[tuple[datetime, Used]]:
        """What all users used on each of the last `count` days up to that of `until`, each with its beginning."""


class Belongings(Protocol):
    """Everything a user has, in every store of the records."""

    async def counts(self, user_id: str) -> Mapping[str, int]:
        """How much of each kind there is."""

    async def erase(self, user_id: str) -> tuple[DeleteReceipt, Sequence[str]]:
        """Removes the user and everything of theirs; the uris are of their objects, which are stale then. Raises: NotFound.

        What there can be very much of goes first, a slice at a time, so that others can write meanwhile; the rest, the account last, in one transaction.
        Where it breaks off the account is still there, and erasing it again goes on.
        """

    async def objects(self, user_id: str, *, limit: int = 50, cursor: str = "") -> Page[tuple[str, str]]:
        """(name with folders, uri) of every original and recording."""

    async def named(self, *, limit: int = 1000, cursor: str = "") -> Page[str]:
        """The uris of all objects that any row of anybody's names, some of them more than once."""

    async def spoken(self, user_id: str, *, limit: int = 200, cursor: str = "") -> Page[SpokenTurn]:
        """Turns by voice, oldest first, without their sound."""

    async def messages(self, user_id: str, conversation_id: str, *, limit: int = 200, cursor: str = "") -> Page[ChatMessage]:
        """Those of every branch, oldest first; none of somebody else's conversation."""


class Sessions(Protocol):
    """Keeps sessions until they expire; an expired one is absent, whether or not it has been swept."""

    async def open(self, session: Session, token_hash: str, events: Sequence[Event]) -> None:
        """Keeps a new session, found again by the hash of its secret token, together with its events. A token that was closed isn't used for another."""

    async def find(self, token_hash: str, now: datetime) -> Session | None:
        """The live session with that token, or None."""

    async def touch(self, token_hash: str, session: Session) -> bool:
        """Keeps `last_activity`. False if the session is gone."""

    async def close(self, token_hash: str) -> None:
        """Forgets a session; nothing happens if it is already gone."""

    async def close_all(self, user_id: str) -> Sequence[str]:
        """Forgets every session of a user; gives the hashes of their tokens."""

    async def of(self, user_id: str, now: datetime, *, limit: int = 50, cursor: str = "") -> Page[Session]:
        """A user's live sessions, latest first."""

    async def close_one(self, user_id: str, session_id: str) -> str:
        """Forgets one; gives the hash of its token. Raises: NotFound, also for somebody else's."""

    async def drop_expired(self, now: datetime) -> int:
        """Removes what has expired and says how many."""

    async def count_expired(self, now: datetime) -> int:
        """How many `drop_expired` would remove."""


class Signals(Protocol):
    """Carries small words between the processes of a house. A signal comes at most once: who doesn't listen at that moment never hears it."""

    def on(self, signal: Signal, heard: Callable[..., object]) -> None:
        """From now on calls `heard` with what each such signal is about, also of those that this process sends. It must not wait and not fail."""

    async def send(self, signal: Signal, *about: str) -> bool:
        """Tells every process, this one first. about: ids, never anybody's words.   False if the others can't be told now."""


class Limits(Protocol):
    """Counts what must not happen too often, and keeps places that only so many may hold, over all processes of a house.

    names: may hold what users write. Where the processes can't share them, each keeps to its own: nothing is let through uncounted.
    """

    async def take(self, name: str, holder: str, most: int, lasts_s: float) -> bool:
        """One of the `most` places of that name, for so long; who holds one keeps it, and for so long again. False where all are held."""

    async def give_back(self, name: str, holder: str) -> None:
        """Frees it; nothing happens if it is free."""

    async def count(self, name: str, lasts_s: float) -> int:
        """Counts one more, and says how many there are; they are forgotten when none comes for so long."""

    async def bar(self, name: str, lasts_s: float) -> None:
        """Bars a name for so long from now."""

    async def barred_s(self, *names: str) -> float:
        """How long the one of them that is barred longest still is; 0 if none is."""

    async def clear(self, *names: str) -> None:
        """Forgets their counts and bars."""


class Conversations(Protocol):
    """Keeps conversations. Everything is reached through its owner: there is no getter without a user."""

    async def accept(self, turn: NewTurn) -> Accepted:
        """Stores question, placeholder answer and events in one transaction, and the conversation if it is new.

        A turn whose answer id is there already, with the same question, is not stored again: its answer comes back as it stands.
        Raises: AlreadyThere if the question's id has another body; NotFound if the conversation is somebody else's; NoSpace.
        """

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keeps the text so far of every open answer and the events until now, in one transaction; final messages are left alone."""

    async def finish(self, answer: ChatMessage, events: Sequence[Event]) -> bool:
        """Makes a generating answer final, with its events. False if it already was: nothing is changed."""

    async def expire_leases(self, now: datetime) -> int:
        """Turns generating answers whose lease is over, or whose process is gone, into interrupted ones, text kept; says how many."""

    async def ask_to_stop(self, user_id: str, answer_id: str) -> None:
        """Says that an answer is to be stopped, for the process that writes it. Nothing happens if it is over."""

    async def going_on(self, answer_ids: Sequence[str]) -> set[str]:
        """Which of these answers are generating, and nobody has asked to stop them."""

    async def get_for(self, user_id: str, conversation_id: str) -> Conversation:
        """Without messages. Raises: NotFound, also for somebody else's."""

    async def list_for(self, user_id: str, *, search: str = "", tag: str = "", limit: int = 50, cursor: str = "") -> Page[Conversation]:
        """Pinned ones first, then latest activity first; without messages.

        search: words that must all occur in the title or a message; `found` then shows where.   tag: only those that carry it.
        Raises: BadInput for a cursor that no page gave.
        """

    async def thread_for(self, user_id: str, conversation_id: str, *, at: str = "", limit: int = 100, before: str = "") -> Thread:
        """The last `limit` messages of the path that goes through the message `at` to the newest one after it; without `at`, to the newest of all.

        before: the messages of the path above that one.   Raises: NotFound.
        """

    async def message_for(self, user_id: str, message_id: str) -> ChatMessage:
        """Raises: NotFound."""

    async def change_for(self, user_id: str, conversation: Conversation) -> None:
        """Keeps title, pin, tags and settings. Raises: NotFound."""

    async def tags_for(self, user_id: str) -> Sequence[str]:
        """Every tag that one of the user's conversations carries, by name."""

    async def judge(self, feedback: Feedback | None, message_id: str, user_id: str) -> None:
        """Replaces the verdict on an answer of the user's; None takes it back. Raises: NotFound."""

    async def feedback_for(self, user_id: str, conversation_id: str) -> Mapping[str, Feedback]:
        """The user's verdicts in a conversation by message id."""

    async def delete_for(self, user_id: str, conversation_id: str) -> DeleteReceipt:
        """Removes a conversation, its messages and their events. Raises: NotFound."""

    async def drop_before(self, moment: datetime, limit: int) -> int:
        """Removes at most `limit` messages created before that moment, and conversations that have none left; says how many messages.

        Those of pinned conversations stay.
        """

    async def count_before(self, moment: datetime) -> int:
        """How many messages `drop_before` would remove."""

    async def pinned(self, moment: datetime, *, limit: int = 50, cursor: str = "") -> Page[Pin]:
        """Everybody's pinned conversations, with how many messages from before that moment each keeps. Raises: BadInput for a cursor that no page gave."""


class Talks(Protocol):
    """Reads everybody's conversations, for the console's rooms alone."""

    async def talks(self, *, search: str = "", user_id: str = "", limit: int = 50, cursor: str = "") -> Page[Talk]:
        """Begun last first. search: words that must all occur in the title or a message.   user_id: of one user only."""

    async def owner(self, conversation_id: str) -> str:
        """Whose it is. Raises: NotFound."""

    async def owner_of_answer(self, message_id: str) -> str:
        """Whose it is. Raises: NotFound."""


class CollectionVersions(Protocol):
    """Keeps the versions of collections' vectors: the one that is searched, those that are being made, and those to go back to."""

    async def versions(self, collection_id: str) -> Sequence[CollectionVersion]:
        """Latest first; [] for an unknown collection."""

    async def begin(self, collection_id: str, embedding_model: str, dimensions: int, at: datetime) -> CollectionVersion:
        """The next version, to be built. Raises: NotFound; IllegalStep while another is being built, or where `MOST_VERSIONS` are kept."""

    async def again(self, collection_id: str, version: int) -> None:
        """A version that has failed, or has gaps, is built on. Raises: NotFound; IllegalStep while another is being built."""

    async def lease(self, now: datetime, lease_until: datetime) -> CollectionVersion | None:
        """Takes the oldest that is being built and nobody works on; whose process is gone doesn't."""

    async def bare(self, collection_id: str, version: int, limit: int, after: int = 0) -> Sequence[tuple[int, FoundChunk]]:
        """(number, searched chunk) of those without a vector of that version, after that number, in order."""

    async def store(self, version: CollectionVersion, vectors: Sequence[tuple[int, Vector]], lease_until: datetime, error: str = "") -> bool:
        """Adds vectors by the number of their chunk, counts again, and keeps why nothing comes where there is a reason.

        False if the version isn't being built any more: stop working on it.
        """

    async def end(self, version: CollectionVersion) -> None:
        """Keeps the version's state and error, and frees it, if it is still being built."""

    async def serve(self, collection_id: str, version: int) -> Collection:
        """From now on this version is searched, and passages that come are embedded with its model: at once for all, in one transaction.

        Raises: NotFound; IllegalStep for one with gaps, which is built on then.
        """

    async def drop(self, collection_id: str, version: int) -> DeleteReceipt:
        """Removes a version and its vectors, also one that is being built. Raises: NotFound; IllegalStep for the one that is searched."""


class CollectionLedger(Protocol):
    """Reads everybody's collections, for the console's room alone."""

    async def holdings(self, *, limit: int = 50, cursor: str = "") -> Page[Holdings]:
        """All collections, made last first, each with what its rows say now."""

    async def holding(self, collection_id: str) -> Holdings:
        """One of them. Raises: NotFound."""

    async def owner_of_document(self, document_id: str) -> str:
        """Whose it is. Raises: NotFound."""

    async def sample(self, collection_id: str, limit: int, version: int | None = None) -> tuple[Sequence[Passage], Vector]:
        """Searched chunks, evenly taken where there are more than the limit, with their vectors: (n, d) float32.

        version: whose vectors; None takes the one that is searched. Chunks without a vector of it are left out.
        """

    async def rows(self, collection_id: str, limit: int, after: str = "") -> Sequence[Row]:
        """Searched chunks after that one, by id."""

    async def known(self, collection_id: str, limit: int, after: str = "") -> Sequence[Known]:
        """Documents after that one, by id."""

    async def bare_documents(self, collection_id: str) -> int:
        """How many ready documents have no searched chunk."""

    async def originals(self, collection_id: str, limit: int) -> Sequence[str]:
        """The uris of ready documents' originals."""

    async def orphans(self, collection_id: str) -> Mapping[str, int]:
        """How many rows belong to nothing any more, by kind."""

    async def drop_orphans(self, collection_id: str) -> DeleteReceipt:
        """Removes them."""


class Shares(Protocol):
    """Keeps links with which others may read a conversation."""

    async def add_share(self, share: Share, secret_hash: str) -> None:
        """Keeps a link by the hash of its secret. Raises: NotFound if the conversation isn't the user's."""

    async def shares_for(self, user_id: str, conversation_id: str) -> Sequence[Share]:
        """The links to a conversation, oldest first."""

    async def shared(self, secret_hash: str) -> Share:
        """The link with that secret. Raises: NotFound, also for one that was revoked."""

    async def revoke_for(self, user_id: str, share_id: str) -> None:
        """Ends a link. Raises: NotFound."""


class Prompts(Protocol):
    """Keeps the texts a user asks again and again."""

    async def save_prompt(self, prompt: SavedPrompt) -> None:
        """Keeps a text under its name; the same name replaces it."""

    async def prompts_for(self, user_id: str, limit: int = 200) -> Sequence[SavedPrompt]:
        """By name."""

    async def drop_prompt_for(self, user_id: str, prompt_id: str) -> None:
        """Raises: NotFound."""


class Documents(Protocol):
    """Keeps collections, documents, chunk rows and ingest jobs. Everything is reached through its owner."""

    async def add_collection(self, collection: Collection) -> None:
        """Raises: AlreadyThere if the owner has one of that name."""

    async def collection_for(self, user_id: str, name: str) -> Collection:
        """Raises: NotFound."""

    async def collections_for(self, user_id: str, *, limit: int = 50, cursor: str = "") -> Page[tuple[Collection, Mapping[str, int]]]:
        """By name, each with its counts: documents, ready, failed, ingesting, chunks, size_bytes."""

    async def delete_collection_for(self, user_id: str, name: str) -> DeleteReceipt:
        """Removes a collection that has no documents left. Raises: NotFound; IllegalStep if it still has some."""

    async def set_rerank_depth_for(self, user_id: str, name: str, depth: int) -> Collection:
        """Changes how many candidates are reranked. Raises: NotFound."""

    async def add_document(self, document: Document, collection: Collection, job: IngestJob) -> tuple[Document, IngestJob]:
        """Stores an upload, described by `document`, with its job, and says which document and job it has become.

        Where a document of that name (if it isn't "") is in the collection: with the same bytes (sha256) as it has or is getting, that one with that job,
        queued again if it had failed; with other bytes its next version, whose forerunner is searched until it is published. Either way other bytes that
        were on their way under this name are cancelled. Where none has that name: the document with the same bytes if there is one, else a new one.
        The upload's object is used exactly if the job that comes back has its uri. Raises: NotFound if the collection has been deleted.
        """

    async def document_for(self, user_id: str, document_id: str) -> Document:
        """With content. Raises: NotFound, also for a tombstone and a cancelled one."""

    async def documents_for(self, user_id: str, collection: str, *, limit: int = 50, cursor: str = "") -> Page[Document]:
        """Newest first, without content. Raises: NotFound for an unknown collection."""

    async def job_for(self, user_id: str, job_id: str) -> IngestJob:
        """Raises: NotFound."""

    async def jobs_for(self, user_id: str, *, collection: str = "", unfinished: bool = False, limit: int = 50, cursor: str = "") -> Page[IngestJob]:
        """Newest first."""

    async def waiting_for(self, user_id: str, job_ids: Sequence[str]) -> Waiting:
        """Where these jobs stand in the queue of everybody (paused users' jobs don't count, but one's own do), and how fast it moves."""

    async def retry_for(self, user_id: str, job_id: str) -> IngestJob:
        """Queues a failed job again, with its attempts forgotten. Raises: NotFound; IllegalStep for one that has not failed."""

    async def cancel_for(self, user_id: str, job_id: str) -> IngestJob:
        """Ends a queued or running job and drops its version; an earlier ready one stays. Once more changes nothing.

        Raises: NotFound; IllegalStep for one that is ready or failed.
        """

    async def pause(self, user_id: str, since: datetime) -> None:
        """No job of that user is leased until `resume`; one that is being worked on goes on."""

    async def resume(self, user_id: str) -> None:
        """Ends a pause, if there is one."""

    async def lease_job(self, now: datetime, lease_until: datetime) -> tuple[IngestJob, Document, Collection] | None:
        """Takes the oldest job that is queued, or whose lease is over, or whose process is gone; None if there is nothing to do.

        The document is the version that the job makes.
        """

    async def report(self, job: IngestJob, lease_until: datetime) -> bool:
        """Keeps stage, percent, chunks and heartbeat.

        False if the job has ended, another process has taken it, or its document been deleted in the meantime: stop working on it.
        """

    async def store_chunks(self, document: Document, chunks: Sequence[Chunk], version: int) -> None:
        """Upserts chunk rows with their vectors and full text, all in one transaction; they are not searched before `publish`.

        version: of the collection whose model made the vectors.

        Raises: NotFound if the document has been deleted or this version of it cancelled.
        """

    async def stored_positions(self, document: Document, version: int) -> Sequence[int]:
        """Which chunks of the document's version are stored with that version's vector of their collection, so that a restarted job goes on where it was."""

    async def publish(self, document: Document, job: IngestJob) -> bool:
        """Makes the version searchable and the job ready, in one transaction; rows of other versions and beyond the last chunk are removed.

        False, and nothing is changed, if another version of the collection is searched by now, for which vectors are still to be stored.
        The original of the version before is stale from then on. Raises: NotFound if the document has been deleted or the job cancelled.
        """

    async def fail(self, job: IngestJob) -> None:
        """Marks the job failed with its error, and the document too if no version of it is ready. A job that has ended stays as it is."""

    async def bury_for(self, user_id: str, document_id: str) -> Document:
        """Writes the tombstone: from now on nothing finds the document. Raises: NotFound."""

    async def buried(self, limit: int) -> Sequence[Document]:
        """Tombstones whose removal is not finished."""

    async def remove(self, document_id: str) -> DeleteReceipt:
        """Removes a buried document's rows: chunks, vectors, full text, jobs and the document itself."""

    async def stale_objects(self, limit: int) -> Sequence[str]:
        """Uris of originals that belong to no version any more."""

    async def count_stale_objects(self) -> int:
        """How many there are."""

    async def forget_objects(self, uris: Sequence[str]) -> None:
        """Says that these are dropped."""

    async def found(self, hits: Sequence[str]) -> Mapping[str, FoundChunk]:
        """Chunks by id with what an answer says about them; ids that are gone or not ready are left out."""

    async def chunks_for(self, user_id: str, document_id: str, *, limit: int = 50, cursor: str = "") -> Page[Chunk]:
        """A ready document's chunks in reading order, without vectors; [] before it is ready.

        cursor: the position of the last chunk before these, as text.   Raises: NotFound for an unknown document; BadInput for a cursor that is no position.
        """

    async def chunk_for(self, user_id: str, chunk_id: str) -> FoundChunk:
        """Raises: NotFound."""


class ChunkIndex(Protocol):
    """Finds chunks by meaning and by words, in the collections named and nowhere else. Only ready documents are found."""

    adapter: str
    """What it is, for people."""

    async def check(self) -> None:
        """Asks for something real. Raises: ServiceError."""

    async def nearest(self, versions: Mapping[str, int], query: Vector, top_k: int) -> list[Hit]:
        """The chunks whose meaning is nearest, best first.

        versions: the collections by id, each with the version that the question was embedded for.
        query: (d,) float32, unit length.   Hit.score: cosine similarity in [-1, 1].   Fewer come back when there are fewer.
        Raises: WrongShape if d is not the collections', or another version is searched by now.
        """

    async def matching(self, collection_ids: Sequence[str], text: str, top_k: int) -> list[Hit]:
        """The chunks that share words with `text`, best first by BM25. Hit.score: positive, higher is better, not comparable between queries.

        Any text is safe: quotes, operators and symbols are words or nothing. A text without a usable word gives [].
        """

    async def size(self, collection_ids: Sequence[str]) -> int:
        """How many chunks can be found there."""

    async def add(self, document: Document) -> None:
        """Takes up the stored chunks of that version of the document, which are found once it is published. Twice is as once. Raises: ServiceError."""

    async def fill(self, collection_id: str, version: int) -> None:
        """Takes up the vectors of a whole version of a collection, before it is served. Twice is as once. Raises: ServiceError."""

    async def drop_document(self, document_id: str, *, but: int | None = None) -> DeleteReceipt:
        """Lets go of a document that is buried. but: the version that stays.

        Where the index can't be reached, the receipt says how much is left; `settle` removes it once the rows are gone.
        """

    async def drop_collection(self, collection_id: str, version: int | None = None) -> DeleteReceipt:
        """Lets go of a collection, or of one version of its vectors. As `drop_document`."""

    async def settle(self) -> Mapping[str, int]:
        """Makes the index what the chunk rows say; says how many were added and removed, {} where nothing had to be. Raises: ServiceError."""


class ObjectStore(Protocol):
    """Keeps bytes under `s3://bucket/key` uris. What `put` returned from is on the disk."""

    adapter: str
    """What it is, for people."""

    async def check(self) -> None:
        """Tries whether something can be put. Raises: NoSpace, ServiceError."""

    async def put(self, key: str, content: bytes | Path) -> str:
        """Stores the bytes (or a file's) under a relative key and gives the uri; the same key is replaced whole, never in part. Raises: NoSpace, BadInput."""

    def uri(self, key: str) -> str:
        """Under which uri `put` stores that key. Raises: BadInput."""

    async def get(self, uri: str) -> bytes:
        """Raises: NotFound."""

    async def local_path(self, uri: str) -> Path:
        """The object as a readable file, fetched first where it is elsewhere. Raises: NotFound."""

    async def lent(self, uri: str, *, name: str) -> str:
        """An address that gives the object for a minute to whoever has it, to be saved under that name; "" where the store has none. Raises: NotFound."""

    async def fetch(self, uri: str, to: Path, demand: Callable[[int], None] | None = None) -> None:
        """Copies its bytes into a file. demand: is told how many there are before they are read, and may raise. Raises: NotFound, NoSpace."""

    async def drop(self, uri: str) -> bool:
        """Removes it; False if it was not there."""

    async def exists(self, uri: str) -> bool:
        """Whether it is there."""

    async def all(self, *, prefix: str = "", limit: int = 1000, cursor: str = "") -> Page[Stored]:
        """Every object once, in an order of the store's own, and what a `put` that broke off has left. What comes or goes meanwhile is in it or not.

        prefix: only those whose keys begin with it, which may end in the middle of a name.
        """


class GoldenSets(Protocol):
    """Keeps questions with the passages that answer them."""

    async def add(self, row: GoldenRow) -> None:
        """Keeps a row. Raises: AlreadyThere for the verdict on an answer that the set has already."""

    async def sets(self, owner_id: str = "") -> Mapping[str, int]:
        """How many rows each set has, by name. owner_id: whose collections they are to be about; "" for everybody's. A set without such rows is left out."""

    async def rows(self, golden_set: str, owner_id: str = "", *, limit: int = 50, cursor: str = "") -> Page[GoldenRow]:
        """Oldest first. owner_id: as in `sets`."""

    async def drop(self, ids: Sequence[str]) -> DeleteReceipt:
        """Removes rows; unknown ids are no error."""


class PipelineEngine(Protocol):
    """Runs pipelines of one language, here or on a cluster."""

    adapter: str
    """What it is, for people."""
    survives: bool
    """Whether a run goes on while Hearth doesn't; it is then taken up again by its `external_id`."""

    async def check(self) -> None:
        """Asks for something real. Raises: ServiceError; SettingsError for software that isn't installed."""

    def validate(self, definition: str) -> PipelineSpec:
        """What a definition says, without running anything of it. May take a second: it is called in a thread.

        Raises: BadInput, with the place in the definition, for whatever this engine can't run or isn't allowed to.
        """

    def run(self, order: Order) -> AsyncIterator[EngineReport]:
        """Runs it, or goes on following one that a cluster has: reports in order, and one RunReport at the end. It never fails: a failure is a report.

        Leaving the iterator ends a run of an engine that doesn't survive, with everything that its steps have started, within a second.
        """

    async def stop(self, order: Order) -> None:
        """Ends a run on a cluster; where leaving `run` does, nothing is left to do. Raises: ServiceError."""


class Workflows(Protocol):
    """Keeps pipelines, runs with their steps and artifacts, experiments and triggers. Whose a run is shows in it; the room knows who may see it."""

    async def add_pipeline(self, pipeline: Pipeline) -> Pipeline:
        """Keeps a definition as the next version of its name, whatever version it says; the same definition as the last one's is that one.

        Raises: IllegalStep if the name belongs to a pipeline of the other engine.
        """

    async def pipeline(self, pipeline_id: str) -> Pipeline:
        """A version by its id, or the latest by its name alone. Raises: NotFound."""

    async def pipelines(self, *, shared_only: bool = False, limit: int = 50, cursor: str = "") -> Page[Listed]:
        """The latest version of each, by name, with how its runs went."""

    async def versions(self, name: str, *, limit: int = 50, cursor: str = "") -> Page[Pipeline]:
        """All versions of a name, latest first. [] for an unknown one."""

    async def share(self, name: str, shared: bool) -> None:
        """Lets others than admins run it, or no more. Raises: NotFound."""

    async def drop_pipeline(self, pipeline_id: str) -> DeleteReceipt:
        """Removes a version that no run refers to. Raises: NotFound; IllegalStep while it has runs."""

    async def add_run(self, run: PipelineRun, events: Sequence[Event]) -> None:
        """Keeps a pending run with the artifacts that it is given. Raises: AlreadyThere for a used id; NotFound for an unknown pipeline or experiment."""

    async def run(self, run_id: str) -> PipelineRun:
        """With its artifacts. Raises: NotFound."""

    async def runs(self, wanted: RunFilter, *, limit: int = 50, cursor: str = "") -> Page[PipelineRun]:
        """In the order that the filter asks for, without their artifacts. Raises: BadInput for a cursor that no page gave."""

    async def metric_names(self, wanted: RunFilter) -> Sequence[str]:
        """The names of the metrics that such runs have, most frequent first; 100 at most."""

    async def next_pending(self) -> PipelineRun | None:
        """The oldest run that nobody has begun."""

    async def ahead_of(self, run_id: str) -> int:
        """How many pending runs come before it."""

    async def hold(self, run: PipelineRun) -> bool:
        """Begins a pending run, or takes up a running one whose process is gone, for this process. False where another was first."""

    async def orphaned(self) -> Sequence[PipelineRun]:
        """Every running run whose process is gone, the oldest first; 1000 at most."""

    async def ask_to_end(self, run_id: str, reason: str) -> None:
        """Says that a running run is to end, for the process that runs it. The first reason counts; of a run that isn't running nothing is kept."""

    async def asked_to_end(self) -> Mapping[str, str]:
        """The running runs that are to end, with the reason."""

    async def keep(
        self,
        run: PipelineRun,
        *,
        steps: Sequence[Step] = (),
        artifacts: Sequence[Artifact] = (),
        events: Sequence[Event] = (),
        results: Sequence[StepResult] = (),
    ) -> bool:
        """Keeps how far a run is, with those of its steps and artifacts that are new or have changed, and the events, in one transaction.

        results: what of its steps others may take over; their files are the steps' artifacts, and they go with the run.

        False, and nothing is kept, if the run has ended or gone meanwhile or another process has taken it up, or if its status can't follow from the stored
        one.
        """

    async def steps(self, run_id: str, *, limit: int = 200, cursor: str = "") -> Page[Step]:
        """In the order in which they began."""

    async def step(self, run_id: str, key: str) -> Step:
        """Raises: NotFound."""

    async def remembered(self, user_id: str, fingerprint: str) -> StepResult | None:
        """The latest result with that fingerprint that a step of that user's runs has made, with its files; of somebody else's runs nothing is ever given."""

    async def drop_run(self, run_id: str) -> tuple[DeleteReceipt, Sequence[str]]:
        """Removes a run that is over, with its steps, artifacts and events: the receipt, and the uris of its artifacts, which are stale from then on.

        Raises: NotFound; IllegalStep for one that isn't over.
        """

    async def add_experiment(self, experiment: Experiment) -> None:
        """Raises: AlreadyThere for a taken name."""

    async def experiment(self, experiment_id: str, *, user_id: str = "") -> Experiment:
        """With its latest 200 runs. user_id: whose alone count, for the metrics and the baseline too; "" for everybody's. Raises: NotFound."""

    async def experiment_named(self, name: str, *, user_id: str = "") -> Experiment:
        """As `experiment`. Raises: NotFound."""

    async def experiments(self, *, user_id: str = "", limit: int = 50, cursor: str = "") -> Page[Experiment]:
        """Latest first; all of them, each as `experiment` gives it."""

    async def set_baseline(self, experiment_id: str, run_id: str) -> None:
        """Which run the others are compared with; "" for none. Raises: NotFound, also for a run of another experiment."""

    async def drop_experiment(self, experiment_id: str) -> DeleteReceipt:
        """Its runs stay, without an experiment. Raises: NotFound."""

    async def add_trigger(self, trigger: Trigger) -> None:
        """Raises: NotFound for an unknown pipeline or experiment."""

    async def trigger(self, trigger_id: str) -> Trigger:
        """Raises: NotFound."""

    async def triggers(self, *, pipeline_name: str = "", user_id: str = "", enabled_only: bool = False, limit: int = 50, cursor: str = "") -> Page[Trigger]:
        """By id, which is by age."""

    async def change_trigger(self, trigger: Trigger) -> None:
        """Keeps enabled, last_at, next_at and problem. One that is gone stays gone."""

    async def drop_trigger(self, trigger_id: str) -> None:
        """Raises: NotFound."""

    async def seen_file(self, trigger_id: str, uri: str, mark: str) -> bool:
        """Says that a file was met in that state; whether it is the first time. mark: what changes when the file does."""

    async def received(self, limit: int = 20) -> Sequence[Event]:
        """PipelineTriggerReceived events of other programs that nobody has acted on, the oldest first."""

    async def acted_on(self, event_id: str, problem: str = "") -> None:
        """Says that such an event made its run, or why not."""


class EventLog(Protocol):
    """The durable stream of what happened."""

    adapter: str
    """What keeps it, for people."""

    async def check(self) -> None:
        """Asks it for something. Raises: ServiceError; SettingsError for a server that can't be used."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Appends events that another program made; an id that is already there changes nothing. The recorder takes them from here. Raises: ServiceError."""

    async def read(self, after_seq: int = 0, *, limit: int = 100, aggregate_id: str = "", user_id: str = "") -> Sequence[RecordedEvent]:
        """The events after that place, in order."""

    async def record(self, limit: int = 100) -> int:
        """Takes published events that have no recorded effect yet and writes their effect and its record in one transaction; says how many were recorded.

        limit: of one transaction. A server that is away is no error: what happens waits for it.

        An effect that can't be written holds up no other; after some attempts its event is set aside as a dead letter.
        """

    async def latest(
        self, *, aggregate_id: str = "", user_id: str = "", kind: EventType | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[RecordedEvent]:
        """Latest first. Raises: BadInput for a cursor that no page gave."""

    async def dead(self, *, limit: int = 50, cursor: str = "") -> Page[DeadLetter]:
        """Those that were set aside, latest first. Raises: BadInput for a cursor that no page gave."""

    async def revive(self, seqs: Sequence[int]) -> int:
        """Lets the recorder try these dead letters again; says how many there were."""


class Pages(Protocol):
    """Fetches from the public internet what somebody else has named, and can't be led anywhere else."""

    async def fetch(self, url: str, target: Path) -> FetchedPage:
        """Writes the page into the file `target`.

        Only http and https, only to public addresses (each redirect is checked like a new address, at most 5), at most 20 MB (also after decompression),
        within 20 s, and only kinds of content that can be documents. Raises: BadInput, Unreadable, TooLong, ServiceTimeout, ServiceUnavailable.
        """


class Parser(Protocol):
    """Reads files, somewhere a hostile one can do no harm."""

    async def parse(self, path: Path, filename: str) -> ParsedDocument:
        """The text of a file, in sections. The bytes decide the type; the name only breaks ties.

        Raises: Unreadable with a sentence for empty, encrypted, broken or unsupported files and for those that take too long; TooLong past a limit.
        """


class PageRenderer(Protocol):
    """Draws pages of PDFs, somewhere a hostile one can do no harm."""

    async def page(self, path: Path, name: str, number: int, *, passage: str, quote: str, width_px: int) -> PagePicture:
        """A page, counted from 1, with the passage marked lightly and the quote in it strongly; "" marks nothing.

        width_px: of the picture; a page of odd proportions is drawn smaller.   PagePicture.marked: whether the quote (without one: the passage) was found.
        Raises: NotFound for a page that isn't there; Unreadable for an encrypted or broken file or page, and for one that takes too long; TooLong past a limit.
        """

    async def sizes(self, path: Path, name: str) -> Sequence[tuple[float, float]]:
        """Width and height of every page in points (1/72 inch). Raises: Unreadable."""


class Work(Protocol):
    """A piece of work that a trace tells of, from `Traces.begin` to its end. Attributes hold names of models, counts and ids: never words, names, secrets."""

    @property
    def cause(self) -> str:
        """Its name as a traceparent, for what is begun on its account; "" where nobody is told of it."""

    @property
    def ms(self) -> float:
        """How long it has gone on, in milliseconds; 0 where nobody is told of it."""

    def stages(self, spent: Iterable[Spent]) -> None:
        """Tells of parts of it that are over."""

    def end(self, attributes: Attributes | None = None, *, failed: bool = False) -> None:
        """It is over. Only the first end counts."""


class Traces(Protocol):
    """Whoever collects where the time went. Never blocks and never raises: a collector that is away costs traces and nothing else."""

    def begin(self, name: str, attributes: Attributes | None = None, *, ago_ms: float = 0.0, served: bool = False) -> Work:
        """A piece of work, as a part of the one that `core.traces.cause` names.

        ago_ms: how long ago it began.   served: it answers somebody outside of this process.
        """
