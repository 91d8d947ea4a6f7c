"""Behaviour of service.http.server: what of it needs no process. tests/test_drain.py has the rest."""

import logging
import socket
from pathlib import Path

import pytest

from service.config import Settings
from service.http.app import create_app
from tests.certificates import Certificates
from tests.service.conftest import serving

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n\r\n"
BEGUN = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: 100\r\n\r\n{"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_says_where_it_listens(
    scheme: str, samples: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Once every model is loaded, so that whoever waits for the line is answered."""
    settings, trust = Settings(models=samples), None
    if scheme == "https":
        settings = Settings(models=samples, tls_certificate=certificates.server, tls_key=certificates.server_key)
        trust = certificates.trust()
    with caplog.at_level(logging.INFO), serving(create_app(settings), trust) as client:
        assert client.get("/v2/health/ready").status_code == 200
        said = [message for message in caplog.messages if message.startswith("listening on ")]
        assert said == [f"listening on {scheme}://127.0.0.1:{client.base_url.port}, documentation at /docs"]
        assert any(" is ready: " in message for message in caplog.messages[: caplog.messages.index(said[0])])


def test_what_there_is_no_more_time_for_is_refused(samples: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the end, whoever has not sent its whole request is told so in our form; the log says how it went."""
    app = create_app(Settings(models=samples, drain_seconds=0))
    with caplog.at_level(logging.INFO), serving(app) as client:
        connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
        connection.sendall(LIVE + BEGUN)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    with connection, connection.makefile("rb") as stream:
        answer = stream.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"draining"' in answer
    assert app.state.catalog.draining
    ends = [message for message in caplog.messages if message.startswith(("no longer", "no more time", "ended"))]
    assert ends == [
        "no longer listening; 1 requests in flight may take 0 s more",
        "no more time for 1 connections; 0 requests are refused",
        "ended",
    ]
