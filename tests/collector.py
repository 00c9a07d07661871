"""A collector of traces on a loopback port, as OpenTelemetry's takes them, and what tests look for in it."""

import time
from dataclasses import dataclass

from echo_house import Served
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route


@dataclass
class Told:
    """One span. Times are seconds since the epoch."""

    service: str
    trace: str
    id: str
    parent: str
    name: str
    begin: float
    end: float
    attributes: dict
    failed: bool


class Collector(Served):
    """Keeps the bytes of every request. `status`: what it answers with."""

    def __init__(self, status=200):
        self.received, self.status = [], status

        async def take(request):
            assert request.headers["content-type"] == "application/x-protobuf"
            self.received.append(await request.body())
            return Response(status_code=self.status)

        super().__init__(Starlette(routes=[Route("/v1/traces", take, methods=["POST"])]))

    def spans(self):
        return [
            Told(
                next(a.value.string_value for a in group.resource.attributes if a.key == "service.name"),
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                span.name,
                span.start_time_unix_nano / 1e9,
                span.end_time_unix_nano / 1e9,
                {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes},
                span.status.code == 2,
            )
            for body in self.received
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def trace_with(self, *names, timeout_s=8):
        """All spans of the one trace that holds spans of these names, as soon as they and its root are there; processes send theirs apart."""
        begun = time.monotonic()
        while True:
            spans = self.spans()
            traces = {span.trace for span in spans if span.name == names[0]}
            whole = [span for span in spans if span.trace in traces]
            if {span.name for span in whole} >= set(names) and any(not span.parent for span in whole):
                assert len(traces) == 1
                return whole
            assert time.monotonic() - begun < timeout_s, sorted((s.service, s.name) for s in spans)
            time.sleep(0.02)


def family(spans):
    """(service, name, the name of what it is a part of) of each span."""
    names = {span.id: span.name for span in spans}
    return {(span.service.removeprefix("hearth-"), span.name, names.get(span.parent, "")) for span in spans}
