"""Behaviour of service.http.traced; what spans say is seen in tests/test_tracing.py."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from service.predict import LARGE
from tests.collector import Collector, attributes, collecting
from tests.service.conftest import serving

LINE = "/v1/models/line:predict"
ROW = b'{"instances": [[1, 2]]}'
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692%05x-01"


@contextmanager
def traced(samples: Path, patch: pytest.MonkeyPatch, lane: str) -> Iterator[tuple[Collector, httpx.Client]]:
    """A collector, and a client of a server that sends to it; once the client has ended it has all."""
    with collecting() as collector:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        settings = Settings.model_validate({"models": samples, "lane": lane, "tracing": "otlp", "execution": "thread"})
        with serving(create_app(settings)) as client:
            yield collector, client


def parents(collector: Collector) -> list[int]:
    """The numbers of the callers' spans."""
    return [int(span.parent_span_id.hex()[-5:], 16) for span in collector.roots()]


@pytest.mark.parametrize("lane", ["on", "off"])
def test_each_request_of_a_connection_has_its_own_parent(
    lane: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the bytes come: each whole, many at once, in parts, and with heads that came before or not."""
    head = "POST %s HTTP/1.1\r\nHost: a\r\ntraceparent: %s\r\nContent-Length: %d\r\n\r\n"
    asks = [(head % (LINE, PARENT % number, len(ROW))).encode() + ROW for number in range(12)]
    with traced(samples, monkeypatch, lane) as (collector, client):
        connection = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=30)
        with connection, connection.makefile("rb") as replies:
            parts = [
                *asks[:4],
                b"".join(asks[4:8]),
                *(asks[8][at : at + 40] for at in range(0, len(asks[8]), 40)),
                *asks[9:],
            ]
            answered = 0
            for part in parts:
                connection.sendall(part)
                for _ in range(part.count(ROW) if part in asks or len(part) > 200 else 0):
                    answered += read(replies) == b'{"predictions":[-2.0]}'
            while answered < len(asks):
                answered += read(replies) == b'{"predictions":[-2.0]}'
    assert sorted(parents(collector)) == list(range(12))


def read(replies: BinaryIO) -> bytes:
    """The body of the next reply."""
    length = 0
    while (line := replies.readline()).strip():
        if line.startswith(b"content-length: "):
            length = int(line.split()[1])
    return replies.read(length)


@pytest.mark.parametrize("lane", ["on", "off"])
def test_a_large_request_and_one_without_a_length_are_told_too(
    lane: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either goes through the application, whatever way the others take."""
    large = json.dumps({"instances": [[1, 2]] * 9}).ljust(LARGE).encode()
    with traced(samples, monkeypatch, lane) as (collector, client):
        for content in (large, iter([ROW[:5], ROW[5:]]), ROW):
            assert client.post(LINE, content=content).is_success
    spans = collector.roots()
    assert [attributes(span)["forwardpass.rows"] for span in spans] == [9, 1, 1]
    assert all(len(collector.parts(span)) == 4 for span in spans)


@pytest.mark.parametrize("lane", ["on", "off"])
def test_a_client_that_goes_is_told_so(lane: str, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no status then."""
    with traced(samples, monkeypatch, lane) as (collector, client):
        head = f"POST {LINE} HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n".encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            connection.sendall(head + ROW)
        # Who came later is answered later.
        assert client.get("/v2/health/live").is_success
    (span,) = collector.roots()
    assert attributes(span)["error.type"] == "cancelled"
    assert "http.response.status_code" not in attributes(span)


@pytest.mark.parametrize("lane", ["on", "off"])
def test_what_the_connection_refuses_is_told_as_it_is_answered(
    lane: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the application, which was waiting for the rest of the body, hears only that its client has gone."""
    with traced(samples, monkeypatch, lane) as (collector, client):
        head = f"POST {LINE} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            connection.sendall(head + b"no length\r\n")
            assert connection.recv(12) == b"HTTP/1.1 400"
    (span,) = collector.roots()
    told = attributes(span)
    assert (told["http.response.status_code"], told["forwardpass.error.code"]) == (400, "malformed_http")


def test_opentelemetrys_own_switch_holds_too(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by either is off."""
    settings = Settings(models=samples, tracing="otlp")
    assert create_app(settings).state.tracing is not None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert create_app(settings).state.tracing is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    assert create_app(Settings(models=samples)).state.tracing is None
