"""Traces to a collector that takes OTLP over HTTP, by OpenTelemetry's own library. An extra, because few houses have a collector.

The library's global provider stays unset: whatever looks for it (FastAPI does) would tell of every request's path, in which names of people's stand.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Self

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.errors import SettingsError
from core.settings import is_http, shown
from core.traces import Attributes, Spent, cause

log = logging.getLogger(__name__)

WAITING = 2048
"""Spans that wait for the collector; when it stays away the oldest are dropped."""
AT_ONCE = 512
SENT_EVERY_MS = 1000
SEND_TIMEOUT_S = 3.0
CLOSE_S = 1.0
"""What waits when the house closes has so long to be sent."""
_HEADER = "traceparent"
_wire = TraceContextTextMapPropagator()


class OtlpTraces:
    """The Traces port over one collector. `async with` opens it; leaving sends what waits, and takes a moment at most."""

    def __init__(self, url: str, *, service: str, begins: bool = True) -> None:
        """service: what this process is called.   begins: False tells only of what another process began.   Raises: SettingsError."""
        if not is_http(url):
            raise SettingsError(f"HEARTH_TRACES_URL is {shown(url)[:120]!r}, which is no collector's address.", hint="Write it like http://host:4318.")
        self._url = f"{url.rstrip('/')}/v1/traces"
        sampler = ParentBased(ALWAYS_ON if begins else ALWAYS_OFF)
        self._provider = TracerProvider(sampler, Resource({"service.name": f"hearth-{service}"}), shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("hearth")

    async def __aenter__(self) -> Self:
        """Starts the thread that sends."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would log an error with every batch; _Exporter says it once
        self._exporter = _Exporter(self._url, timeout=SEND_TIMEOUT_S, session=_session())
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter, WAITING, SENT_EVERY_MS, AT_ONCE))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Sends what waits; what would last longer is given up."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True, name="traces ending")  # a daemon: the process need not wait for it either
        ending.start()
        await asyncio.to_thread(ending.join, CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def begin(self, name: str, attributes: Attributes | None = None, *, ago_ms: float = 0.0, served: bool = False) -> "_Work":
        """As the port says."""
        began_ns = time.time_ns() - int(ago_ms * 1e6)
        parent = _wire.extract({_HEADER: cause.get()}, Context())
        kind = SpanKind.SERVER if served else SpanKind.INTERNAL
        return _Work(self._tracer, self._tracer.start_span(name, parent, kind, attributes, start_time=began_ns), began_ns)


class _Work:
    """The Work port over one span."""

    def __init__(self, tracer: Tracer, span: Span, began_ns: int) -> None:
        self._tracer, self._span, self._began_ns = tracer, span, began_ns
        self._context = set_span_in_context(span, Context())
        carrier: dict[str, str] = {}
        _wire.inject(carrier, self._context)
        self.cause = carrier.get(_HEADER, "")

    @property
    def ms(self) -> float:
        """As the port says."""
        return (time.time_ns() - self._began_ns) / 1e6

    def stages(self, spent: Iterable[Spent]) -> None:
        """As the port says."""
        for stage, begin_ms, length_ms in spent:
            start_ns = self._began_ns + int(begin_ms * 1e6)
            self._tracer.start_span(stage, self._context, start_time=start_ns).end(start_ns + int(length_ms * 1e6))

    def end(self, attributes: Attributes | None = None, *, failed: bool = False) -> None:
        """As the port says."""
        if self._span.is_recording():
            self._span.set_attributes(attributes or {})
            if failed:
                self._span.set_status(Status(StatusCode.ERROR))
            self._span.end()


class _Exporter(OTLPSpanExporter):
    """Says once that the collector takes nothing, and once that it does again."""

    _takes = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the library says."""
        result = super().export(spans)
        takes = result is SpanExportResult.SUCCESS
        if takes is not self._takes:
            self._takes = takes
            log.warning("traces reach their collector again" if takes else "the collector of traces can't be reached or refuses them; they are dropped")
        return result


def _session() -> requests.Session:
    """Connections to the address in the setting and nowhere else: no proxy and no credentials out of the environment."""
    session = requests.Session()
    session.trust_env, session.max_redirects = False, 0
    return session
