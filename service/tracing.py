"""OpenTelemetry: one span for each prediction and one for each of its phases, sent to a collector by OTLP over HTTP.

The spans are made of what is known once a request is over. Where they are sent, which are, and what is said of the
process are OpenTelemetry's own settings, the variables `OTEL_*`.
"""

import asyncio
import logging
import os
import re
from collections.abc import Iterable
from threading import Thread
from time import monotonic, perf_counter, time_ns
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import client_attributes as client
from opentelemetry.semconv.attributes import error_attributes as failure
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.semconv.attributes import network_attributes as network
from opentelemetry.semconv.attributes import url_attributes as url
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AttributeValue

from service.errors import SettingsError
from service.predict import Timeline

FLUSH_SECONDS = 2.0
"""What the end of the server waits for a collector to take the last spans."""

_QUIET_SECONDS = 600.0
"""After which the same trouble with a collector is told again."""
_LOUD = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.trace.span",
)
"""OpenTelemetry's loggers that write a line for each batch, for each span that is dropped or for what clients send."""
_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_UNSAMPLED = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_END = b"\r\n\r\n"
_FAILED = 500

Carrier = dict[str, list[str]]
"""The headers that say of which trace a request is a part, as they came."""
Attributes = dict[str, AttributeValue]


class Asked(NamedTuple):
    """What is known of a prediction when its head is there."""

    route: str
    path: str
    scheme: str
    http_version: str
    client: tuple[str, int] | None
    protocol: str
    model: str
    version: str | None
    """As the path names it."""
    request_id: bytes | None


class Begun(NamedTuple):
    """A span that will be made."""

    asked: Asked
    since: float
    """On the clock `perf_counter`."""
    parent: SpanContext | None
    whole: SpanContext
    attributes: Attributes
    """What is said of it from the start."""


class Tracing:
    """Makes spans, and sends them on a thread of its own from `start` to `close`.

    Raises `SettingsError` where spans shall be sent otherwise, and `ValueError` for other variables of OpenTelemetry
    that cannot be followed; importing this module raises it too.
    """

    def __init__(self, name: str, version: str) -> None:
        for variable in _PROTOCOLS:
            if (protocol := os.environ.get(variable)) not in (None, "", _PROTOCOL):
                raise SettingsError(f"{variable} is {protocol!r}: spans are sent as {_PROTOCOL} only")
        self._propagator = get_global_textmap()
        self._provider = TracerProvider(resource=_resource(name, version), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        # One that sends has a thread, which must not be there yet; this one only sees whether its variables are right.
        BatchSpanProcessor(InMemorySpanExporter()).shutdown()  # type: ignore[no-untyped-call]  # it says no types
        self.is_on = not isinstance(self._provider.get_tracer(name), trace.NoOpTracer)
        """Whether OpenTelemetry itself is not switched off."""
        self._scope = InstrumentationScope(name, version, Schemas.V1_44_0.value)
        self._processor: BatchSpanProcessor | None = None
        self._fields = frozenset(name.lower() for name in self._propagator.fields) - {"baggage"}
        self._line = _line_of(self._fields)
        is_plain = self._fields == {"traceparent", "tracestate"}
        self._follows_flag = is_plain and isinstance(self._provider.sampler, ParentBased)
        """Whether what a caller does not sample is not sampled here either, as the flag alone says."""
        self._quiet = _Rarely()

    def start(self) -> None:
        """Begin to send; on the event loop's thread, of the process that serves."""
        for name in _LOUD:
            logging.getLogger(name).addFilter(self._quiet)
        self._processor = BatchSpanProcessor(self._exporter)

    async def close(self) -> None:
        """Send what there is, as long as the collector takes it, and end."""
        processor = self._processor
        if processor is None:
            return
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def flush() -> None:
            processor.shutdown()  # type: ignore[no-untyped-call]  # it says no types
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        # No thread that the interpreter would wait for.
        Thread(target=flush, daemon=True).start()
        try:
            await asyncio.wait_for(ended.wait(), FLUSH_SECONDS)
        except TimeoutError:
            logging.getLogger(__name__).warning("the collector did not take the last spans within %g s", FLUSH_SECONDS)
            # What the thread still has to say of them is said as rarely as before.
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the same
        else:
            for name in _LOUD:
                logging.getLogger(name).removeFilter(self._quiet)

    def carrier(self, headers: Iterable[tuple[bytes, bytes]]) -> Carrier:
        """What parsed headers, of names in small letters, say of a trace."""
        carrier: Carrier = {}
        for raw, value in headers:
            name = raw.decode("latin-1")
            if name in self._fields:
                carrier.setdefault(name, []).append(value.decode("latin-1"))
        return carrier

    def carrier_in(self, data: bytes) -> Carrier:
        """The same of the head at the start of `data`."""
        if self._line is None:
            return {}
        found = self._line.findall(data, 0, data.find(_END) + 2)
        if not found:
            return {}
        return self.carrier((name.lower(), value.strip()) for name, value in found)

    def begin(self, carrier: Carrier, asked: Asked) -> Begun | None:
        """The span of a prediction that begins now; None where it is not sampled: then nothing more need be known."""
        if self._processor is None or (self._follows_flag and carrier and _is_left_out(carrier)):
            return None
        known: Attributes = {
            http.HTTP_REQUEST_METHOD: "POST",
            http.HTTP_ROUTE: asked.route,
            url.URL_PATH: asked.path,
            url.URL_SCHEME: asked.scheme,
        }
        context = self._propagator.extract(carrier) if carrier else Context()
        parent = trace.get_current_span(context).get_span_context()
        ids = self._provider.id_generator
        trace_id = parent.trace_id if parent.is_valid else ids.generate_trace_id()
        name = f"POST {asked.route}"
        sampling = self._provider.sampler.should_sample(context, trace_id, name, SpanKind.SERVER, known)
        if sampling.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        is_random = parent.trace_flags.random_trace_id if parent.is_valid else ids.is_trace_id_random()
        flags = TraceFlags(TraceFlags.SAMPLED | (TraceFlags.RANDOM_TRACE_ID if is_random else 0))
        whole = _context(trace_id, ids.generate_span_id(), flags, sampling.trace_state)
        return Begun(
            asked, perf_counter(), parent if parent.is_valid else None, whole, {**known, **sampling.attributes}
        )

    def tell(self, begun: Begun, status: int | None, code: str | None, timeline: Timeline | None) -> None:
        """Make the spans of a prediction that is over, now.

        `status` is None where nothing was answered, since the client had gone; `code` is that of the error, if any.
        """
        ended, processor = perf_counter(), self._processor
        if processor is None:
            return
        # When the clock stood at nought.
        zero = time_ns() - round(perf_counter() * 1e9)
        resource, whole, new_id = self._provider.resource, begun.whole, self._provider.id_generator.generate_span_id
        for phase, since, until in () if timeline is None else timeline.phases:
            processor.on_end(
                ReadableSpan(
                    phase,
                    _context(whole.trace_id, new_id(), whole.trace_flags, whole.trace_state),
                    whole,
                    resource,
                    start_time=zero + round(since * 1e9),
                    end_time=zero + round(until * 1e9),
                    instrumentation_scope=self._scope,
                )
            )
        processor.on_end(
            ReadableSpan(
                f"POST {begun.asked.route}",
                whole,
                begun.parent,
                resource,
                {**begun.attributes, **_attributes(begun.asked, status, code, timeline)},
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR if status is None or status >= _FAILED else StatusCode.UNSET),
                start_time=zero + round(begun.since * 1e9),
                end_time=zero + round(ended * 1e9),
                instrumentation_scope=self._scope,
            )
        )


class _Rarely(logging.Filter):
    """Lets each sentence through once, and again when it is still said much later."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        now = monotonic()
        if now < self._said.get(record.msg, now):
            return False
        self._said[record.msg] = now + _QUIET_SECONDS
        return True


def _resource(name: str, version: str) -> Resource:
    """What the variables say of the process; ours is its name where they give it none."""
    said = Resource.create()
    if str(said.attributes[SERVICE_NAME]).startswith("unknown_service"):
        said = said.merge(Resource({SERVICE_NAME: name}))
    return Resource({SERVICE_VERSION: version}).merge(said)


def _line_of(fields: Iterable[str]) -> re.Pattern[bytes] | None:
    """A line of a head with one of these fields; None where there are none."""
    names = "|".join(re.escape(name) for name in fields)
    return re.compile(rb"\r\n((?i:%b)):([^\r\n]*)(?=\r\n(?![ \t]))" % names.encode()) if names else None


def _context(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState | None) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state)


def _is_left_out(carrier: Carrier) -> bool:
    """Whether the caller says, in one header without fault, that its trace is not sampled."""
    given = carrier.get("traceparent", ())
    return len(given) == 1 and _UNSAMPLED.fullmatch(given[0]) is not None


def _attributes(asked: Asked, status: int | None, code: str | None, timeline: Timeline | None) -> Attributes:
    """What is said of a prediction beside what its head says, by the conventions where these have a name for it."""
    known: Attributes = {
        network.NETWORK_PROTOCOL_VERSION: asked.http_version,
        "forwardpass.protocol": asked.protocol,
        "forwardpass.model.name": asked.model,
    }
    version = asked.version if timeline is None else str(timeline.version)
    if version is not None:
        known["forwardpass.model.version"] = version
    if timeline is not None and timeline.rows is not None:
        known["forwardpass.rows"] = timeline.rows
    if asked.client is not None:
        known[client.CLIENT_ADDRESS] = known[network.NETWORK_PEER_ADDRESS] = asked.client[0]
        known[network.NETWORK_PEER_PORT] = asked.client[1]
    if asked.request_id is not None:
        known[f"{http.HTTP_REQUEST_HEADER_TEMPLATE}.x-request-id"] = [asked.request_id.decode()]
    if status is not None:
        known[http.HTTP_RESPONSE_STATUS_CODE] = status
    if code is not None:
        known["forwardpass.error.code"] = code
    if status is None:
        known[failure.ERROR_TYPE] = "cancelled"
    elif status >= _FAILED:
        known[failure.ERROR_TYPE] = code or str(status)
    return known
