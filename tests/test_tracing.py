"""What an operator sees of a whole server in its traces."""

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import httpx
import pytest

from service.keys import add_key, make_key
from tests.collector import Collector, attributes, collecting
from tests.server import ROOT, Server, running

MODEL = str(ROOT / "models" / "sum_of_three")
PREDICT = "/v1/models/sum_of_three:predict"
INFER = "/v2/models/sum_of_three/versions/2/infer"
WORDS = "/v1/models/next_word_rnn:predict"
ROW = {"instances": [[1, 2, 3]]}
INPUT = {"name": "addends", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
PHASES = ["decode", "queue", "compute", "encode"]

MALFORMED = [
    "",
    "0",
    PARENT.upper(),
    PARENT.replace("00-", "ff-"),
    PARENT + "-more",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-00",
    PARENT[:-3],
    "x" * 1000,
]


def environment(collector: Collector) -> dict[str, str]:
    """Where a server sends its spans."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


def ask(client: httpx.Client, path: str, content: object, **headers: str) -> int:
    """The status of a reply."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, json=content, headers=named).status_code


def scene(server: Server) -> list[int]:
    """Predictions of all kinds; the statuses of those of which spans are expected."""
    with server.client() as client:
        statuses = [ask(client, PREDICT, ROW, traceparent=PARENT, x_request_id=name) for name in ("a", "b", "c")]
        # A trace that its caller does not sample leaves nothing.
        assert ask(client, PREDICT, ROW, traceparent=PARENT[:-2] + "00") == 200
        statuses += [ask(client, PREDICT, ROW, traceparent=one) for one in MALFORMED]
        statuses += [
            ask(client, INFER, {"inputs": [INPUT]}, traceparent=PARENT, tracestate="one=1,two=2"),
            ask(client, WORDS, {"instances": [{"context": ["the"]}, {"context": ["the", "value"]}]}),
            ask(client, PREDICT, {"instances": [[1, 2]]}, traceparent=PARENT),
            ask(client, INFER, {"inputs": [INPUT], "parameters": {"timeout": 1}}, traceparent=PARENT),
            ask(client, "/v1/models/none:predict", ROW, traceparent=PARENT),
            ask(client, INFER.replace("/2/", "/7/"), {}),
            ask(client, INFER, {}, inference_header_content_length="none"),
            ask(client, PREDICT, {}, content_encoding="unknown"),
        ]
        # No predictions.
        assert client.get("/v2/health/ready").is_success
        assert client.get(PREDICT).status_code == 405
    with server.connect() as leaving:
        leaving.sendall(
            f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\ntraceparent: {PARENT}\r\n\r\n{{".encode()
        )
        # Its head is read before it goes.
        with server.client() as client:
            client.get("/v2/health/live")
    return statuses


def told(collector: Collector) -> list[dict[str, Any]]:
    """What the spans of whole requests say, but for what is another each time."""
    return [
        {
            "name": span.name,
            "status": span.status.code,
            "state": span.trace_state,
            "parent": span.parent_span_id.hex(),
            "phases": [part.name for part in collector.parts(span)],
            **attributes(span),
            "network.peer.port": None,
        }
        for span in collector.roots()
    ]


@pytest.fixture(scope="module", params=["on", "off"])
def traced(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401  # a pair
    """What a collector was told of a scene, by the short way or not, and the statuses that were answered."""
    before = time_ns()
    with (
        collecting() as collector,
        running("--tracing", "otlp", "--lane", request.param, environment=environment(collector)) as server,
    ):
        statuses = scene(server)
        assert server.stop() == 0
    assert all(before < span.start_time_unix_nano <= span.end_time_unix_nano < time_ns() for span in collector.spans)
    return collector, statuses


def test_each_prediction_is_a_span_and_nothing_else_is(traced: tuple[Collector, Sequence[int]]) -> None:
    """Whatever it was answered; the last one's client went away."""
    collector, statuses = traced
    spans = told(collector)
    assert [span.get("http.response.status_code") for span in spans] == [*statuses, None]
    assert set(statuses) == {200, 400, 404, 415, 504}
    assert {span["name"] for span in spans} == {
        "POST /v1/models/{model}:predict",
        "POST /v2/models/{model}/versions/{version}/infer",
    }
    assert len({span.span_id for span in collector.spans}) == len(collector.spans)
    assert (
        collector.resources[0].items() >= {"service.name": "forwardpass", "telemetry.sdk.name": "opentelemetry"}.items()
    )


def test_a_span_says_what_was_asked_and_answered(traced: tuple[Collector, Sequence[int]]) -> None:
    """By the names of OpenTelemetry's conventions, where there are some."""
    spans = told(traced[0])
    assert spans[1] == {
        "name": "POST /v1/models/{model}:predict",
        "status": 0,
        "state": "",
        "parent": SPAN,
        "phases": PHASES,
        "http.request.method": "POST",
        "http.route": "/v1/models/{model}:predict",
        "http.request.header.x-request-id": ["b"],
        "http.response.status_code": 200,
        "url.path": PREDICT,
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "network.peer.port": None,
        "network.protocol.version": "1.1",
        "forwardpass.protocol": "v1",
        "forwardpass.model.name": "sum_of_three",
        "forwardpass.model.version": "2",
        "forwardpass.rows": 1,
    }
    by_status = {span.get("http.response.status_code"): span for span in spans}
    assert by_status[504].items() >= {"status": 2, "error.type": "deadline_exceeded", "forwardpass.rows": 2}.items()
    assert by_status[None].items() >= {"status": 2, "error.type": "cancelled", "phases": []}.items()
    refused = [span for span in spans if span.get("http.response.status_code") in range(400, 500)]
    # What is the caller's own fault is no error here.
    assert [(span["status"], span.get("error.type"), span["forwardpass.error.code"]) for span in refused] == [
        (0, None, code)
        for code in ("shape_mismatch", "unknown_model", "unknown_version", "invalid_binary", "unsupported_encoding")
    ]


def test_a_span_continues_its_callers_trace(traced: tuple[Collector, Sequence[int]]) -> None:
    """As the headers say, where they are without fault; else a trace begins."""
    collector, _ = traced
    spans = collector.roots()
    first, fresh, stated = spans[:3], spans[3 : 3 + len(MALFORMED)], spans[3 + len(MALFORMED)]
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in [*first, stated]} == {(TRACE, SPAN)}
    assert stated.trace_state == "one=1,two=2"
    assert {span.parent_span_id for span in fresh} == {b""}
    assert len({span.trace_id for span in fresh} - {first[0].trace_id}) == len(MALFORMED)
    for whole in spans:
        assert all(part.trace_id == whole.trace_id for part in collector.parts(whole))


def test_the_phases_follow_each_other_within_the_request(traced: tuple[Collector, Sequence[int]]) -> None:
    """Decode, queue, compute and encode, with the times that they took; also of rows that are not computed together."""
    collector, _ = traced
    answered = [span for span in collector.roots() if attributes(span).get("http.response.status_code") == 200]
    assert {attributes(span)["forwardpass.rows"] for span in answered} == {1, 2}
    for whole in answered:
        parts = collector.parts(whole)
        assert [part.name for part in parts] == PHASES
        times = [time for part in parts for time in (part.start_time_unix_nano, part.end_time_unix_nano)]
        # Each is rounded by itself, from seconds to nanoseconds.
        ordered = [whole.start_time_unix_nano, *times, whole.end_time_unix_nano]
        assert all(later - earlier > -1000 for earlier, later in pairwise(ordered))
        assert parts[1].end_time_unix_nano == parts[2].start_time_unix_nano


@pytest.mark.parametrize("lane", ["on", "off"])
def test_a_refusal_for_want_of_a_key_is_told_too(lane: str, tmp_path: Path) -> None:
    """Keys are looked at before anything else is."""
    key, narrow = make_key("shop", ["predict"]), make_key("watch", ["metrics"])
    for one in (key, narrow):
        add_key(tmp_path / "keys.toml", one)
    flags = (MODEL, "--tracing", "otlp", "--lane", lane, "--keys", str(tmp_path / "keys.toml"))
    with collecting() as collector, running(*flags, environment=environment(collector)) as server:
        with server.client() as client:
            assert ask(client, PREDICT, ROW, traceparent=PARENT) == 401
            assert ask(client, PREDICT, ROW, traceparent=PARENT, authorization=f"Bearer {narrow.text}") == 403
            assert ask(client, PREDICT, ROW, traceparent=PARENT, authorization=f"Bearer {key.text}") == 200
        assert server.stop() == 0
    codes = [(span["http.response.status_code"], span.get("forwardpass.error.code")) for span in told(collector)]
    assert codes == [(401, "unauthorized"), (403, "forbidden"), (200, None)]
    assert {span.parent_span_id.hex() for span in collector.roots()} == {SPAN}
    assert key.text not in str(collector.spans)


def test_nothing_waits_for_a_collector_that_is_away() -> None:
    """Answers come as ever, the log says it once, and the server ends."""
    # A port at which nobody listens any more.
    with collecting() as gone:
        pass
    variables = environment(gone) | {
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    }
    with running(MODEL, "--tracing", "otlp", environment=variables) as server:
        with server.client() as client:
            for _ in range(300):
                assert ask(client, PREDICT, ROW) == 200
        began = monotonic()
        assert server.stop() == 0
        assert monotonic() - began < 5
    told = [line for line in server.log if "span" in line.lower()]
    assert 1 <= len(told) <= 5
    assert len(set(told)) == len(told)


def test_each_worker_sends_the_spans_of_its_own_requests() -> None:
    """From a thread that it starts itself; each is another instance of the service."""
    with (
        collecting() as collector,
        running(MODEL, "--tracing", "otlp", "--workers", "2", environment=environment(collector)) as server,
    ):
        # Until either has answered: the system chooses who takes a connection.
        for _ in range(40):
            with server.client() as client:
                assert ask(client, PREDICT, ROW, traceparent=PARENT) == 200
        assert server.stop() == 0
    assert len(collector.roots()) == 40
    assert len({resource["service.instance.id"] for resource in collector.resources}) in (1, 2)


def refusal(command: str, **variables: str) -> str:
    """What a server says that does not start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FORWARDPASS_", "OTEL_"))}
    result = subprocess.run(
        [command, "-m", "service", "serve", "--tracing", "otlp", "--port", "0"],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    return result.stderr


def test_who_asks_for_traces_without_the_extra_is_told_what_to_install() -> None:
    """The environment of the service alone has it not."""
    sentence = refusal(str(ROOT / ".venv" / "bin" / "python"))
    assert "FORWARDPASS_TRACING" in sentence
    assert "pip install 'forwardpass[cpu,otel]'" in sentence


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-3", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ("OTEL_PROPAGATORS", "unknown", "Propagator unknown not found"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "max_queue_size must be a positive integer"),
    ],
)
def test_a_variable_of_opentelemetry_that_cannot_be_followed_is_refused(variable: str, value: str, told: str) -> None:
    """In a sentence, whichever part of OpenTelemetry it is for."""
    sentence = refusal(sys.executable, **{variable: value})
    assert sentence.startswith("forwardpass: one of OpenTelemetry's variables, OTEL_*, cannot be used: ")
    assert told in sentence
    assert sentence.count("\n") == 1
