"""NATS JetStream behind the outbox: what happens here goes out to three streams, and what other programs publish to them comes in.

The outbox stays the log that everybody reads, so nothing waits for the server. A row has gone out when the server has given it back, not when it says that it
has it: it says so before its disk does. Whatever is sent or received twice has one effect, because every event has an id (docs/adr/0042).
"""

import asyncio
import base64
import logging
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Annotated, Any, Self
from urllib.parse import quote, unquote, urlsplit

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from core.adapters.database_sql import Database
from core.adapters.events_outbox import UNREADABLE, Effect, OutboxEventLog, append, event_of
from core.adapters.tables_sql import outbox, relay, stream_purges
from core.crash import crash
from core.errors import HearthError, ServiceError, ServiceRefused, ServiceUnavailable, SettingsError
from core.events import CHAT_ORDER, VOICE_ORDER, WORKFLOW_ORDER, Event, EventType
from core.ids import is_id, timed_id
from core.records import Facts

log = logging.getLogger(__name__)

STREAMS = {"CHAT": CHAT_ORDER, "VOICE": VOICE_ORDER, "WORKFLOW": WORKFLOW_ORDER}
STREAM_OF = {kind: name for name, kinds in reversed(STREAMS.items()) for kind in kinds}
"""One stream for each type; RAGQueryExecuted is told in CHAT, also by a spoken turn."""
RECORDER = "hearth-recorder"
OURS = "Hearth-Outbox"
"""The header of what comes out of the outbox; it is recorded already."""
ID = "Nats-Msg-Id"
OLDEST = (2, 10)
"""Before that the server leaves out, without a word, what it doesn't know."""
FORM = "It looks like nats://user:password@host:4222 (tls:// where the server demands TLS); several servers of one cluster are parted by commas."

CONNECT_S, ANSWER_S = 3, 5.0
WAIT_S = 0.2
"""How long a stream is asked for more before its round is over."""
RECONNECT_S = 1
DUPLICATES_S = 120
"""Within it the server itself drops what was sent before."""
AGAIN_S = 10.0
"""What the server hasn't given back is sent again this often."""
ACK_WAIT_S = 30
IN_FLIGHT = 256
ROUNDS = 100
PURGES = 100
LATE = timedelta(hours=1)
"""After so long nothing is under way any more that was sent before: what was purged is purged once more, and then it is over."""
SHOWN_BYTES = 2_000
"""How much of an unreadable message is kept."""

BROKEN = (nats.errors.Error, OSError, TimeoutError)
"""What the library raises when the server is away or answers no."""


class _Body(msgspec.Struct, frozen=True):
    """The body of a message. Its subject says the rest: the stream, the user, the aggregate and the type."""

    id: str
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    data: dict[str, Any] = {}


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Body)


def subject(event: Event) -> str:
    """Where an event is published: stream.user.aggregate.type."""
    return ".".join((STREAM_OF[event.type], _token(event.user_id), _token(event.aggregate_id), event.type.value))


def body(event: Event) -> bytes:
    """An event as it is published."""
    return _ENCODER.encode(_Body(event.id, event.at, dict(event.data)))


def _token(text: str) -> str:
    """Text as one part of a subject: no sign in it means anything to the server."""
    return re.sub(r"[.~]", lambda sign: f"%{ord(sign[0]):02X}", quote(text, safe="")) or "-"


def read(message: Msg) -> Event | None:
    """The event of a message that another program published; UNREADABLE is in the data of one that is none. None where not even the subject is one."""
    parts = [unquote(part) for part in message.subject.split(".")]
    if len(parts) != 4 or parts[3] not in STREAM_OF or STREAM_OF[EventType(parts[3])] != parts[0] or not all(len(p) <= 36 for p in parts[1:3]):
        return None
    kind, user_id, aggregate_id = EventType(parts[3]), parts[1], parts[2]
    try:
        found = _DECODER.decode(message.data)
        if not is_id(found.id):
            raise ValueError("its id is no UUID")
        data = msgspec.json.decode(msgspec.json.encode(found.data))  # MessagePack knows kinds of values that the outbox doesn't
        return Event(found.id, kind, user_id, aggregate_id, found.at.astimezone(UTC), data)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        at, shown = message.metadata.timestamp, base64.b64encode(message.data[:SHOWN_BYTES]).decode()
        made = timed_id(at, f"{message.metadata.stream} {message.metadata.sequence.stream}")
        return Event(made, kind, user_id, aggregate_id, at, {UNREADABLE: shown, "reason": str(error)[:200], "size": len(message.data)})


class NatsEventLog(OutboxEventLog):
    """The outbox, and the streams of a NATS server with JetStream, 2.10 or newer, that belong to one house. `record` does all the work of both ways."""

    def __init__(self, url: str, database: Database, effects: Mapping[EventType, Effect], *, message_days: int) -> None:
        """url: as FORM says.   message_days: how long the streams keep what is kept of messages; runs of pipelines are kept for good. Raises: SettingsError."""
        super().__init__(database, effects)
        try:
            parts = [urlsplit(part) for part in url.split(",")]
            if any(part.scheme != parts[0].scheme or not part.hostname or part.path.strip("/") for part in parts):
                raise ValueError(url)
            self._servers = [f"{p.scheme}://{p.hostname if ':' not in (p.hostname or '') else f'[{p.hostname}]'}:{p.port or 4222}" for p in parts]
        except ValueError as error:
            raise SettingsError("HEARTH_EVENTS_URL is no address of a NATS server.", hint=FORM) from error
        self._tls, self._name, self._word = parts[0].scheme == "tls", unquote(parts[0].username or ""), unquote(parts[0].password or "")
        self.adapter = "NATS at " + ", ".join(server.partition("//")[2] for server in self._servers)
        self._ages = {name: timedelta(days=message_days).total_seconds() for name in ("CHAT", "VOICE")} | {"WORKFLOW": 0.0}
        self._connecting: asyncio.Task[None] | None = None
        self._begin_anew()
        self._prepared, self._trouble, self._told = False, "", ""
        self._sent, self._again_at = 0, 0.0

    def _begin_anew(self) -> None:
        self._client = Client()
        self._js: JetStreamContext = self._client.jetstream(timeout=ANSWER_S)
        self._pulls: dict[str, JetStreamContext.PullSubscription] = {}

    async def __aenter__(self) -> Self:
        """Connects. Opens also while the server is away: what happens waits in the outbox. Raises: SettingsError for a server that can't be used."""
        self._connecting = asyncio.create_task(self._connect(), name="the connection to NATS")
        await asyncio.wait({self._connecting}, timeout=CONNECT_S)
        try:
            await self._ready()
        except SettingsError:
            await self.__aexit__(None, None, None)
            raise
        except ServiceError as error:
            self._tell(str(error))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the connection; what has not gone out goes out the next time."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        await self._client.close()

    async def check(self) -> None:
        """As the port says."""
        await self._ready()
        try:
            await asyncio.gather(*(self._js.consumer_info(name, RECORDER) for name in STREAMS))
        except BROKEN as error:
            self._prepared = False
            raise _away(error) from error

    async def facts(self) -> Facts:
        """As the port Server says: the streams and their recorders are there as they must be."""
        await self.check()
        version = self._client.connected_server_version
        return Facts(f"{version.major}.{version.minor}.{version.patch}", ".".join(map(str, OLDEST)))

    async def publish(self, events: Sequence[Event]) -> None:
        """As the port says. Raises: ServiceError while the server is away."""
        await self._ready()
        try:
            await self._send(events, {})
        except BROKEN as error:
            raise _away(error) from error

    async def record(self, limit: int = 100) -> int:
        """As the port says, in transactions of `limit`; sends what is open, and has the server forget what was deleted. A server that is away is no error."""
        count = await super().record(limit)  # what somebody revived
        try:
            await self._ready()
            done = await asyncio.gather(self._relay(), *(self._receive(name, limit) for name in STREAMS), return_exceptions=True)
            for result in done:
                if isinstance(result, BaseException):
                    raise result
            self._tell("")
            return count + sum(done[1:])  # type: ignore[arg-type]
        except (*BROKEN, ServiceUnavailable, ServiceRefused, SettingsError) as error:
            if isinstance(error, HearthError) and getattr(error, "service", "events") != "events":
                raise  # the records' trouble
            self._prepared = False  # streams may be gone, or others
            self._tell(str(error) or type(error).__name__)
            return count

    def _tell(self, trouble: str) -> None:
        """Says once that something is wrong, and once that it is over."""
        if trouble and not self._told:
            log.warning("Events wait in the outbox: %s", trouble)
        elif self._told and not trouble:
            log.warning("Events go out again.")
        self._told = trouble

    async def _connect(self, after_s: float = 0) -> None:
        """Tries until it succeeds; from then on the library does."""
        await asyncio.sleep(after_s)

        async def failed(error: Exception) -> None:
            self._trouble = str(error) or type(error).__name__

        async def again() -> None:
            self._prepared = False  # another server, or another version of it

        await self._client.connect(
            self._servers,
            name="hearth",
            connect_timeout=CONNECT_S,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_S,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=failed,
            reconnected_cb=again,
            **self._credentials(),
        )

    def _credentials(self) -> dict[str, Any]:
        """What the server is told of who this is; over tls:// only once it demands TLS, or whoever sits between would be told too."""

        def told(word: str) -> str:
            if self._tls and not self._client._server_info.get("tls_required"):
                raise nats.errors.SecureConnRequiredError
            return word

        if not self._name:
            return {}
        return {"user": lambda: told(self._name), "password": lambda: told(self._word)} if self._word else {"token": lambda: told(self._name)}

    async def _ready(self) -> None:
        """Has a connection, and the streams as they must be. Raises: ServiceUnavailable; ServiceRefused; SettingsError."""
        if not self._client.is_connected:
            if self._client.is_closed and self._connecting is not None and self._connecting.done():  # the library gives up what a server refuses
                self._begin_anew()
                self._connecting = asyncio.create_task(self._connect(RECONNECT_S), name="the connection to NATS")
            raise _away(self._trouble)
        if self._prepared:
            return
        version = self._client.connected_server_version
        if (version.major, version.minor) < OLDEST:
            raise SettingsError(
                f"HEARTH_EVENTS_URL leads to NATS {version.major}.{version.minor}.{version.patch}, which is too old: it ignores what it doesn't know.",
                hint="Use NATS 2.10 or newer, or leave it empty.",
            )
        if self._tls and not self._client._server_info.get("tls_required"):
            raise SettingsError("HEARTH_EVENTS_URL asks for TLS, which that NATS server doesn't speak.", hint="Use nats://, or give the server a certificate.")
        try:
            for name in STREAMS:
                await self._prepare(name)
        except BROKEN as error:
            raise _away(error) from error
        await self._database.write(_begin)
        self._sent, self._prepared = 0, True

    async def _prepare(self, name: str) -> None:
        """Makes a stream and its consumer, or sets those that are there. Raises: SettingsError if the server made something else of it."""
        kinds = [f"{name}.*.*.{kind.value}" for kind in STREAMS[name] if STREAM_OF[kind] == name]
        asked: dict[str, Any] = {"subjects": kinds, "max_age": self._ages[name], "duplicate_window": float(DUPLICATES_S)}
        kept: dict[str, Any] = {"retention": RetentionPolicy.LIMITS, "storage": StorageType.FILE}
        try:
            made = (await self._js.add_stream(StreamConfig(name=name, **asked, **kept))).config
        except BadRequestError:  # it is there and otherwise, or may not be made
            made = (await self._js.stream_info(name)).config
            made = (await self._js.update_stream(made, **asked)).config
        _demand(name, made, asked | kept)
        wanted: dict[str, Any] = {"ack_policy": AckPolicy.EXPLICIT, "ack_wait": float(ACK_WAIT_S), "max_deliver": -1, "max_ack_pending": 10_000}
        consumer = await self._js.add_consumer(name, ConsumerConfig(durable_name=RECORDER, **wanted))
        _demand(name, consumer.config, wanted)
        if name not in self._pulls:
            self._pulls[name] = await self._js.pull_subscribe_bind(RECORDER, stream=name)

    async def _send(self, events: Sequence[Event], headers: Mapping[str, str]) -> None:
        """Publishes events in their order; the server has them all when this returns. Raises: BROKEN."""
        answers = [
            await self._js.publish_async(subject(e), body(e), wait_stall=ANSWER_S, stream=STREAM_OF[e.type], headers={ID: e.id, **headers}) for e in events
        ]
        if not answers:
            return
        done, late = await asyncio.wait(answers, timeout=ANSWER_S)
        for answer in late:
            answer.cancel()
        for answer in done:
            answer.result()
        if late:
            raise nats.errors.TimeoutError

    async def _relay(self) -> None:
        """Sends what is open in the outbox, in its order; then has the streams forget what was deleted, in this order, so that nothing is sent afterwards."""
        if time.monotonic() >= self._again_at:
            self._sent, self._again_at = 0, time.monotonic() + AGAIN_S
        for _ in range(ROUNDS):
            rows = await self._database.read(self._open)
            largest = self._client.max_payload - SHOWN_BYTES
            if too_large := [row.seq for row in rows if len(body(event_of(row))) > largest]:
                log.warning("%d events are larger than NATS takes, and stay here.", len(too_large))
                await self._database.write(lambda c, seqs=too_large: _close(c, outbox.c.seq.in_(seqs)))  # type: ignore[misc]
            await self._send([event_of(row) for row in rows if row.seq not in too_large], {OURS: "1"})
            crash("after_puback")
            self._sent = rows[-1].seq if rows else self._sent
            if len(rows) < IN_FLIGHT:
                break
        await self._purge()

    def _open(self, connection: Connection) -> Sequence[Row[Any]]:
        """The next rows that have not been sent, or not given back in time."""
        done = select(func.coalesce(func.max(relay.c.seq), 0)).scalar_subquery()
        query = select(outbox).where(outbox.c.seq > done, outbox.c.seq > self._sent, outbox.c.streamed_at.is_(None)).order_by(outbox.c.seq).limit(IN_FLIGHT)
        return connection.execute(query).all()

    async def _purge(self) -> None:
        """Has the streams forget what was deleted here: at once, and again when nothing can be under way any more."""
        now = datetime.now(UTC)
        due = select(stream_purges).where(or_(stream_purges.c.purged_at.is_(None), stream_purges.c.purged_at < now - LATE)).order_by(stream_purges.c.n)
        rows = await self._database.read(lambda c: c.execute(due.limit(PURGES)).all())
        for row in rows:
            of = f"{_token(row.user_id) if row.user_id else '*'}.{_token(row.aggregate_id) if row.aggregate_id else '*'}.*"
            for name in STREAMS:
                await self._js.purge_stream(name, subject=f"{name}.{of}")

        def work(connection: Connection) -> None:
            connection.execute(delete(stream_purges).where(stream_purges.c.n.in_([r.n for r in rows if r.purged_at])))
            connection.execute(update(stream_purges).where(stream_purges.c.n.in_([r.n for r in rows if not r.purged_at])).values(purged_at=now))

        if rows:
            await self._database.write(work)

    async def _receive(self, name: str, limit: int) -> int:
        """Records what a stream has for us: effect and record in one transaction, then the acknowledgement. Says how many events of others were recorded."""
        count = 0
        for _ in range(ROUNDS):
            try:
                messages = await self._pulls[name].fetch(limit, timeout=WAIT_S)
            except (nats.errors.TimeoutError, TimeoutError):
                break
            if not messages:  # what the server said to the round before has ended this one
                continue
            crash("after_consume")
            ours = [m.headers[ID] for m in messages if m.headers and OURS in m.headers and ID in m.headers]
            theirs = [read(m) for m in messages if not (m.headers and OURS in m.headers)]
            if lost := theirs.count(None):
                log.warning("%d messages in the stream %s are no events of this house, and are left there.", lost, name)
            try:
                count += await self._database.write(lambda c, own=ours, others=theirs: self._take(c, own, [e for e in others if e]))  # type: ignore[misc]
            except HearthError:
                await asyncio.gather(*(m.nak() for m in messages))
                raise
            crash("after_effect_commit")
            for message in messages[:-1]:
                await message.ack()
            await messages[-1].ack_sync(timeout=ANSWER_S)  # one connection is one order: once this is there the others are
            crash("after_ack")
            if len(messages) < limit:
                break
        return count

    def _take(self, connection: Connection, ours: Sequence[str], theirs: Sequence[Event]) -> int:
        """What came, in one transaction: ours has gone out, and of others' each new one is written down and has its effect. Says how many of those."""
        if ours:
            _close(connection, outbox.c.event_id.in_(ours))
        new = {event.id: event for event in _not_forgotten(connection, theirs)}
        for known in connection.execute(select(outbox.c.event_id).where(outbox.c.event_id.in_(new))).scalars():
            del new[known]
        if not new:
            return 0
        append(connection, list(new.values()), recorded=False)
        here = outbox.c.event_id.in_(new)
        connection.execute(update(outbox).where(here).values(streamed_at=datetime.now(UTC)))
        return self._recorded(connection, connection.execute(select(outbox).where(here).order_by(outbox.c.seq)).all())


def _begin(connection: Connection) -> None:
    """From here on the outbox goes out; what happened before there was a server stays here."""
    if connection.execute(select(relay)).first() is None:
        connection.execute(insert(relay).from_select(["seq"], select(func.coalesce(func.max(outbox.c.seq), 0))))


def _close(connection: Connection, which: Any) -> None:
    """These have gone out; everything before the first that hasn't is done with."""
    connection.execute(update(outbox).where(which).values(streamed_at=datetime.now(UTC)))
    still = select(func.min(outbox.c.seq)).where(outbox.c.seq > relay.c.seq, outbox.c.streamed_at.is_(None)).scalar_subquery()
    last = select(func.max(outbox.c.seq)).scalar_subquery()
    connection.execute(update(relay).values(seq=func.coalesce(still - 1, last, relay.c.seq)))


def _not_forgotten(connection: Connection, events: Sequence[Event]) -> Sequence[Event]:
    """Without what happened to something before it was deleted."""
    p = stream_purges.c
    where = or_(p.user_id.in_({e.user_id for e in events}), p.aggregate_id.in_({e.aggregate_id for e in events} - {""}))
    gone = {(row.user_id, row.aggregate_id): row.at for row in connection.execute(select(stream_purges).where(where))} if events else {}
    return [e for e in events if (e.user_id, "") not in gone and not (("", e.aggregate_id) in gone and e.at <= gone["", e.aggregate_id])]


def _demand(stream: str, made: Any, asked: Mapping[str, Any]) -> None:
    """Raises: SettingsError where the server has made something else of what was asked."""
    other = [name for name, value in asked.items() if (getattr(made, name) or 0) != (value or 0)]
    if other:
        raise SettingsError(
            f"HEARTH_EVENTS_URL leads to a NATS server whose stream {stream} is otherwise: {', '.join(other)}.",
            hint="Give Hearth streams of its own, or a newer server.",
        )


def _away(why: Exception | str) -> ServiceError:
    """What went wrong, as an error of ours."""
    reason = str(why) or type(why).__name__ if why else "no answer yet"
    return ServiceUnavailable(f"NATS does not do its part: {reason}.", service="events", hint="Is it running, with JetStream? What happens waits meanwhile.")
