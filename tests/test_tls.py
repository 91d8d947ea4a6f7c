"""TLS against a real server: who is served, who is not, and what it costs the others."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.certificates import PASSWORD, Certificates, make_certificates
from tests.server import ROOT, Server, running

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n\r\n"
LARGE_REPLY = {"instances": [[0.5] * 20] * 8192}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority, a server on this machine and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", params=["on", "off"])
def server(certificates: Certificates, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The committed models by TLS; predictions take the short way or not, and handshakes have half a second."""
    flags = ["--lane", request.param, "--head-seconds", "0.5"]
    with running(*flags, certificates=certificates) as server:
        yield server


def check_served(server: Server) -> None:
    """Others are answered, and nothing was logged."""
    server.log.clear()
    with server.client() as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.post("/v1/models/sum_of_three:predict", json={"instances": [[1, 2, 3]]}).status_code == 200
    assert server.log == []


def test_it_says_so(server: Server) -> None:
    """The address in the log is one to click on, and it is that of the scheme."""
    assert server.url.startswith("https://")
    check_served(server)


def test_plain_http_ends_without_an_answer(server: Server) -> None:
    """Nobody is told in plain what is said by TLS; the log is silent."""
    with socket.create_connection(server.endpoint, timeout=60) as connection:
        connection.sendall(LIVE)
        assert connection.recv(100) == b""
    check_served(server)


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_stalls_is_ended(start: bytes, server: Server) -> None:
    """After as long as a head may take; the others never notice."""
    with socket.create_connection(server.endpoint, timeout=20) as connection:
        connection.sendall(start)
        check_served(server)
        assert connection.recv(100) == b""
    check_served(server)


def test_what_goes_away_within_a_handshake_leaves_no_trace(server: Server) -> None:
    """Nor does one who does not trust the server."""
    for start in (b"", b"\x16\x03\x01"):
        with socket.create_connection(server.endpoint, timeout=60) as connection:
            connection.sendall(start)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.url}/v2/health/live")
    check_served(server)


def test_an_old_version_is_not_spoken(server: Server, certificates: Certificates) -> None:
    """Whoever knows no newer one than 1.1 is turned away."""
    old = certificates.trust()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(server.endpoint, timeout=60) as connection, pytest.raises(ssl.SSLError):
        old.wrap_socket(connection, server_hostname=server.endpoint[0])
    check_served(server)


@pytest.mark.parametrize("end", ["", "Connection: close\r\n"])
def test_a_reply_waits_for_a_slow_reader(end: str, server: Server) -> None:
    """It comes whole to who reads it late and bit by bit, also where the connection ends with it."""
    body = json.dumps(LARGE_REPLY).encode()
    head = f"POST /v1/models/binary_classifier:predict HTTP/1.1\r\nHost: s\r\n{end}Content-Length: {len(body)}\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + body)
        # Another one is answered only after it has been read.
        check_served(server)
        with connection.makefile("rb", 4096) as stream:
            status, *lines = [line.decode().lower() for line in iter(stream.readline, b"\r\n")]
            length = dict(line.strip().split(": ", 1) for line in lines)["content-length"]
            assert status.startswith("http/1.1 200")
            assert len(json.loads(stream.read(int(length)))["predictions"]) == 8192
            if end:
                assert stream.read() == b""


@pytest.mark.parametrize("last", [LIVE[:-2] + b"Connection: close\r\n\r\n", b"HELLO\r\n\r\n"], ids=["wish", "refusal"])
def test_a_client_that_does_not_answer_the_end_of_tls_is_let_go(last: bytes, server: Server) -> None:
    """Soon, once it has received everything: it holds no connection for the time that a body may take."""
    with socket.create_connection(server.endpoint, timeout=20) as connection, connection.dup() as below:
        assert server.trust is not None
        with server.trust.wrap_socket(connection, server_hostname=server.endpoint[0]) as wrapped:
            wrapped.sendall(last)
            while wrapped.recv(1000):
                pass
            # The end of TLS was that; this is the connection's.
            below.settimeout(20)
            assert below.recv(1) == b""


def test_a_client_must_show_a_certificate_where_that_is_asked_for(certificates: Certificates) -> None:
    """One of the named issuers; the others get no answer, and say nothing to the log."""
    password = {"FORWARDPASS_TLS_KEY_PASSWORD": PASSWORD}
    locked = certificates._replace(server_key=certificates.locked_key)
    authority = ["--tls-client-ca", str(certificates.authority), "--log-level", "debug"]
    with running(*authority, environment=password, certificates=locked) as server:
        assert PASSWORD not in "".join(server.log)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)), server.client() as client:
            client.get("/v2/health/live")
        server.trust = certificates.trust(with_client=True)
        check_served(server)


@pytest.mark.parametrize("state", ["silent", "idle", "shaking hands"])
def test_the_end_waits_for_no_client_that_has_its_answers(state: str, certificates: Certificates) -> None:
    """A connection that nobody uses, or whose client says nothing, is let go at once; the exit status is 0."""
    with running(certificates=certificates) as server, ExitStack() as stack:
        raw = stack.enter_context(socket.create_connection(server.endpoint))
        connection = stack.enter_context(raw if state == "shaking hands" else server.connect())
        if state == "idle":
            connection.sendall(LIVE)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        check_served(server)
        server.process.send_signal(signal.SIGTERM)
        # A fraction of what a client has to answer the end of TLS, were it waited for.
        assert server.process.wait(timeout=15) == 0
        # It was told the end of TLS, not cut off, which would be an error.
        while connection.recv(1000):
            pass


def test_what_has_begun_is_answered_before_the_end(certificates: Certificates) -> None:
    """A request whose body still comes when the signal does is answered."""
    body = json.dumps({"instances": [[1, 2, 3]]}).encode()
    with running(certificates=certificates) as server, server.client() as client:

        def halves() -> Iterator[bytes]:
            yield body[:5]
            os.kill(server.process.pid, signal.SIGTERM)
            yield body[5:]

        reply = client.post("/v1/models/sum_of_three:predict", content=halves())
        assert reply.status_code == httpx.codes.OK
        assert server.process.wait(timeout=15) == 0


def test_settings_that_cannot_be_are_told_before_anything_is_loaded(certificates: Certificates, tmp_path: Path) -> None:
    """In one line, with the status of a wrong call."""
    flags = ["--port", "0", "--tls-certificate", str(certificates.server), "--tls-key", str(tmp_path / "gone")]
    result = subprocess.run(
        [sys.executable, "-m", "service", "serve", *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("forwardpass: tls_key (variable FORWARDPASS_TLS_KEY, flag --tls-key) is ")
    assert len(result.stderr.splitlines()) == 1
