"""Behaviour of service.tracing; what a collector is told by a whole server is seen in tests/test_tracing.py."""

import asyncio
from collections.abc import Iterator
from time import perf_counter

import pytest

from service.errors import SettingsError
from service.predict import Timeline
from service.tracing import Asked, Carrier, Tracing
from tests.collector import Collector, attributes, collecting

Patch = pytest.MonkeyPatch

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = PARENT[:-2] + "00"


@pytest.fixture
def collector(monkeypatch: Patch) -> Iterator[Collector]:
    """Where OpenTelemetry's variables send spans."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


def tell(carrier: Carrier, ended: tuple[int | None, str | None] = (200, None)) -> None:
    """Tell of a prediction with these headers that ended so."""

    async def scene() -> None:
        tracing = Tracing("forwardpass", "1.2.3")
        tracing.start()
        begun = tracing.begin(carrier, Asked("/r", "/p", "http", "1.1", None, "v1", "line", None, None))
        if begun is not None:
            now, before = perf_counter(), begun._replace(since=begun.since - 1)
            tracing.tell(before, *ended, Timeline(7, 3, (("decode", now - 0.5, now - 0.25),)))
        await tracing.close()

    asyncio.run(scene())


def test_a_span_lasts_as_long_as_its_request(collector: Collector) -> None:
    """And each of its phases as long as it did."""
    tell({})
    (whole,) = collector.roots()
    (part,) = collector.parts(whole)
    assert 1.0 <= (whole.end_time_unix_nano - whole.start_time_unix_nano) / 1e9 < 1.5
    assert (part.name, part.end_time_unix_nano - part.start_time_unix_nano) == (
        "decode",
        pytest.approx(0.25e9, rel=1e-5),
    )


@pytest.mark.parametrize(
    ("sampler", "sampled"),
    [
        ("", [True, True, False]),
        ("always_on", [True, True, True]),
        ("always_off", [False, False, False]),
        ("parentbased_always_off", [False, True, False]),
    ],
)
def test_the_sampler_is_opentelemetrys(
    sampler: str, sampled: list[bool], collector: Collector, monkeypatch: Patch
) -> None:
    """What its variable says, of a trace that begins here, of a sampled one and of one that is not."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler or "parentbased_always_on")
    kinds: list[Carrier] = [{}, {"traceparent": [PARENT]}, {"traceparent": [UNSAMPLED]}]
    for carrier, is_told in zip(kinds, sampled, strict=True):
        collector.spans.clear()
        tell(carrier)
        assert len(collector.spans) == 2 * is_told


def test_the_process_has_the_name_that_the_variables_give_it(collector: Collector, monkeypatch: Patch) -> None:
    """Else ours; the version is ours unless they say another."""
    tell({})
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=9,deployment.environment.name=test")
    tell({})
    ours, theirs = collector.resources
    assert ours.items() >= {"service.name": "forwardpass", "service.version": "1.2.3"}.items()
    assert (
        theirs.items()
        >= {
            "service.name": "shop",
            "service.version": "9",
            "deployment.environment.name": "test",
        }.items()
    )


@pytest.mark.parametrize(
    ("ended", "status", "kind"),
    [
        ((200, None), 0, None),
        ((404, "unknown_model"), 0, None),
        ((503, "queue_full"), 2, "queue_full"),
        ((500, None), 2, "500"),
        ((None, None), 2, "cancelled"),
    ],
)
def test_only_what_is_not_the_callers_fault_is_an_error(
    ended: tuple[int | None, str | None], status: int, kind: str | None, collector: Collector
) -> None:
    """As the conventions have it for servers."""
    tell({}, ended=ended)
    (whole,) = collector.roots()
    assert (whole.status.code, attributes(whole).get("error.type")) == (status, kind)


@pytest.mark.parametrize(
    ("lines", "carrier"),
    [
        (b"", {}),
        (b"traceparent: one\r\n", {"traceparent": ["one"]}),
        (b"TraceParent:one \t\r\nTRACESTATE:  a=b , c=d\r\n", {"traceparent": ["one"], "tracestate": ["a=b , c=d"]}),
        (b"tracestate: a=b\r\ntracestate: c=d\r\n", {"tracestate": ["a=b", "c=d"]}),
        (b"traceparents: one\r\nx-traceparent: two\r\nbaggage: three\r\n", {}),
    ],
)
def test_the_headers_of_a_trace_are_found_in_a_head(lines: bytes, carrier: Carrier) -> None:
    """As bytes, where it is not parsed, and among parsed ones; what stands in the body is none."""
    tracing = Tracing("forwardpass", "1")
    head = b"POST / HTTP/1.1\r\n%bHost: a\r\n\r\n" % lines
    assert tracing.carrier_in(head + b"\r\ntraceparent: two\r\n\r\n") == carrier
    parsed = [line.split(b":", 1) for line in lines.splitlines()]
    assert tracing.carrier((name.lower(), value.strip()) for name, value in parsed) == carrier


def test_what_would_be_sent_otherwise_is_refused(monkeypatch: Patch) -> None:
    """With the variable that says so."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'grpc'"):
        Tracing("forwardpass", "1")


def test_it_may_be_off_by_the_variables(monkeypatch: Patch) -> None:
    """Then whoever made it leaves it."""
    assert Tracing("forwardpass", "1").is_on
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not Tracing("forwardpass", "1").is_on
