"""A small collector of OpenTelemetry's traces, for tests of the whole system."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What came; `url` is where it listens."""

    url: str
    spans: list[Any] = field(default_factory=list)
    """As the protocol has them, in the order of their coming."""
    resources: list[dict[str, str]] = field(default_factory=list)
    """What was said of the process, once for each batch."""

    def roots(self) -> list[Any]:
        """The spans of whole requests, in the order of their beginnings."""
        return sorted(
            (span for span in self.spans if span.kind == span.SPAN_KIND_SERVER),
            key=lambda span: span.start_time_unix_nano,
        )

    def parts(self, whole: Any) -> list[Any]:  # noqa: ANN401  # a span
        """The spans within another, in the order of their beginnings."""
        return sorted(
            (span for span in self.spans if span.parent_span_id == whole.span_id),
            key=lambda span: span.start_time_unix_nano,
        )


def attributes(owner: Any) -> dict[str, Any]:  # noqa: ANN401  # a span or a resource
    """What is said of it."""
    return {one.key: _plain(one.value) for one in owner.attributes}


def _plain(value: Any) -> Any:  # noqa: ANN401  # of the protocol, and its content
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    return [_plain(one) for one in content.values] if kind == "array_value" else content


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                collector.resources.append(attributes(resource.resource))
                collector.spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the library's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield collector
        server.shutdown()
        thread.join()
