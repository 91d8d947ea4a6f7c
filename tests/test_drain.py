"""The orderly end of a server: processes that are told to stop while clients are at work."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.certificates import Certificates, make_certificates
from tests.fleet import Fleet
from tests.server import ROOT, Server, free_port, running
from tests.service.conftest import endless, tabled

BODY = json.dumps({"instances": [[1, 2, 3]]}).encode()
PREDICT = b"POST /v1/models/sum_of_three:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n" % len(BODY)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n\r\n"
SOON = 20
"""Seconds that nothing of this takes, unless it waits for what it should not wait for."""

WAYS = pytest.mark.parametrize("way", ["lane", "application", "TLS"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority, a server on this machine and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(way: str, certificates: Certificates) -> Callable[..., Any]:
    """Start a server whose predictions go this way."""
    lane = ["--lane", "off" if way == "application" else "on"]
    return lambda *flags: running(*lane, *flags, certificates=certificates if way == "TLS" else None)


@contextmanager
def connected(server: Server, sent: bytes = b"") -> Iterator[socket.socket]:
    """A connection of its own, over which this is sent."""
    with server.connect(SOON) as connection:
        connection.sendall(sent)
        yield connection


def reply(connection: socket.socket) -> httpx.Response:
    """The next reply of a connection."""
    stream = connection.makefile("rb")
    status, *lines = [line.decode().strip() for line in iter(stream.readline, b"\r\n")]
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(status.split()[1]), headers=headers, content=stream.read(int(headers["content-length"])))


def ask(server: Server, request: bytes) -> httpx.Response:
    """A request over a connection of its own."""
    with connected(server, request) as connection:
        return reply(connection)


def stop(server: Server, number: int = signal.SIGTERM) -> None:
    """Send a signal, and wait until it is not ready: what comes then comes later than the signal."""
    server.process.send_signal(number)
    while ask(server, LIVE.replace(b"live", b"ready")).status_code == httpx.codes.OK:
        pass


def check_refuses_connections(server: Server) -> None:
    """Nobody listens, now or soon."""
    for _ in range(20_000):
        try:
            socket.create_connection(server.endpoint, timeout=SOON).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            # It came while the listener closed.
            continue
    raise AssertionError("somebody listens still")


def check_last(answer: httpx.Response, connection: socket.socket) -> None:
    """A prediction, behind which its connection ends, as it says."""
    assert answer.json()["predictions"]
    assert answer.headers.get_list("connection") == ["close"]
    assert connection.recv(1) == b""


@WAYS
def test_for_the_delay_it_serves_and_says_that_it_is_not_ready(start: Callable[..., Any]) -> None:
    """It lives, every reply is the last of its connection, and what had begun before is answered."""
    with start("--drain-delay", "60") as server, connected(server, LIVE) as idle:
        assert "connection" not in reply(idle).headers
        with connected(server, PREDICT + BODY[:5]) as begun:
            stop(server)
            states = {}
            for path in ("health/live", "health/ready", "models/sum_of_three/ready", "models/sum_of_three"):
                answer = ask(server, LIVE.replace(b"health/live", path.encode()))
                assert answer.headers.get_list("connection") == ["close"]
                states[path] = answer.status_code
            assert [*states.values()] == [200, 503, 503, 200]
            assert b"\nforwardpass_ready 0.0\n" in ask(server, LIVE.replace(b"/v2/health/live", b"/metrics")).content
            assert not ask(server, LIVE.replace(b"/v2/health/live", b"/v1/models/sum_of_three")).json()["ready"]
            with connected(server, PREDICT + BODY) as connection:
                check_last(reply(connection), connection)
            begun.sendall(BODY[5:])
            check_last(reply(begun), begun)
        # A connection that was idle when it began is served once more.
        idle.sendall(PREDICT + BODY)
        check_last(reply(idle), idle)
        # The second signal ends the delay.
        assert server.stop() == 0


@WAYS
def test_after_the_delay_it_takes_nothing_more_and_answers_what_has_begun(start: Callable[..., Any]) -> None:
    """Idle connections are closed, a head or a body of which a part had come may come whole, and the status is 0."""
    with ExitStack() as stack:
        server = stack.enter_context(start("--drain-delay", "0.2"))
        idle = stack.enter_context(connected(server, LIVE))
        assert reply(idle).status_code == httpx.codes.OK
        silent = stack.enter_context(connected(server))
        body = stack.enter_context(connected(server, PREDICT + BODY[:5]))
        head = stack.enter_context(connected(server, PREDICT[:20]))
        # Another request on another connection is answered only after these were read.
        assert ask(server, LIVE).status_code == httpx.codes.OK
        server.process.send_signal(signal.SIGTERM)
        check_refuses_connections(server)
        for connection in (idle, silent):
            assert connection.recv(1) == b""
        body.sendall(BODY[5:])
        check_last(reply(body), body)
        head.sendall(PREDICT[20:] + BODY)
        check_last(reply(head), head)
        assert server.process.wait(timeout=SOON) == 0
        server.close()
        log = "".join(server.log)
        assert "SIGTERM: draining, with 1 requests in flight" in log
        assert "no longer listening; 1 requests in flight" in log
        assert log.rstrip().endswith("ended")


@WAYS
def test_a_second_signal_hurries(start: Callable[..., Any]) -> None:
    """What is in flight is refused, instead of waited for."""
    with start("--drain-delay", "600", "--drain-seconds", "600") as server:
        with connected(server, PREDICT + BODY[:5]) as begun:
            stop(server)
            server.process.send_signal(signal.SIGTERM)
            refused = reply(begun)
            assert (refused.status_code, refused.json()["code"]) == (503, "draining")
            assert refused.headers.get_list("connection") == ["close"]
        assert server.process.wait(timeout=SOON) == 0
        check_refuses_connections(server)


@WAYS
def test_a_second_signal_hurries_after_the_delay_too(start: Callable[..., Any]) -> None:
    """The time for requests in flight is over at once, also for one of which not even the head has come."""
    with ExitStack() as stack:
        server = stack.enter_context(start("--drain-seconds", "600"))
        begun = [stack.enter_context(connected(server, part)) for part in (PREDICT + BODY[:5], PREDICT[:20])]
        assert ask(server, LIVE).status_code == httpx.codes.OK
        server.process.send_signal(signal.SIGTERM)
        check_refuses_connections(server)
        server.process.send_signal(signal.SIGTERM)
        assert [reply(one).json()["code"] for one in begun] == ["draining"] * 2
        assert server.process.wait(timeout=SOON) == 0


def test_a_load_that_somebody_asked_for_is_refused_when_the_time_is_over(tmp_path: Path) -> None:
    """It does not hold the end, though nothing stops onnxruntime."""
    tabled(tmp_path, 1.0)
    with running(str(tmp_path), "--model-control", "explicit", "--drain-seconds", "0") as server:
        endless(tmp_path / "endless.onnx")
        with connected(server, b"POST /v2/repository/models/endless/load HTTP/1.1\r\nHost: a\r\n\r\n") as loading:
            assert ask(server, LIVE).status_code == httpx.codes.OK
            server.process.send_signal(signal.SIGTERM)
            refused = reply(loading)
            assert (refused.status_code, refused.json()["code"]) == (503, "draining")
        assert server.process.wait(timeout=SOON) == 0


def test_a_signal_while_models_load_ends_it_at_once(tmp_path: Path) -> None:
    """With success, whatever onnxruntime is at."""
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    endless(tmp_path / "endless.onnx")
    command = [sys.executable, "-m", "service", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            # What comes first in the alphabet has failed, so the other one is at work.
            assert process.stderr is not None
            assert any("broken version 1 is not served" in line for line in process.stderr)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=SOON) == 0
        finally:
            process.kill()


def test_the_first_signal_decides_the_status() -> None:
    """Interrupted at a terminal it is 130, whatever hurries it then."""
    with running("--drain-delay", "600") as server:
        stop(server, signal.SIGINT)
        assert server.stop() == 128 + signal.SIGINT


@WAYS
def test_a_client_that_does_not_read_holds_the_end_for_the_seconds_of_a_request(start: Callable[..., Any]) -> None:
    """It is cut off then, not before, and without a traceback."""
    with start("--drain-seconds", "1") as server, connected(server) as deaf:
        # More than the systems hold between them.
        deaf.sendall(LIVE.replace(b"/v2/health/live", b"/openapi.json") * 400)
        assert deaf.recv(1) == b"H"
        assert server.stop() == 0
        server.close()
        assert "no more time for 1 connections" in "".join(server.log)
        assert "Traceback" not in "".join(server.log)


@WAYS
def test_a_client_that_was_refused_and_stays_does_not_hold_the_end(start: Callable[..., Any]) -> None:
    """What it may still be sending is read for a moment, not for the time that it would have had for a head."""
    with start("--head-seconds", "600", "--drain-seconds", "600") as server, connected(server, b"HELLO\r\n") as refused:
        assert reply(refused).status_code == httpx.codes.BAD_REQUEST
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=SOON) == 0


def test_requests_in_a_row_are_all_answered() -> None:
    """Those that came before the signal; only the last of them says that the connection ends."""
    slow = LIVE.replace(b"/v2/health/live", b"/openapi.json")
    with running("--drain-delay", "600") as server, connected(server) as connection:
        connection.sendall((slow + PREDICT + BODY) * 50)
        received = connection.recv(1000)
        server.process.send_signal(signal.SIGTERM)
        received += connection.makefile("rb").read()
        assert received.count(b"HTTP/1.1 200 OK") == 100
        assert received.count(b"connection: close") == 1
        assert received.rpartition(b"HTTP/1.1 200 OK")[2].count(b"connection: close") == 1
        assert server.stop() == 0


def test_servers_that_are_exchanged_in_turn_fail_no_request() -> None:
    """Behind clients that try again only what no byte of an answer had come to."""
    ports = [free_port(), free_port()]
    fleet = Fleet([("127.0.0.1", port) for port in ports])

    def begin(port: int) -> tuple[ExitStack, Server]:
        stack = ExitStack()
        # One of them warns its clients, the other lets them meet closed connections.
        delay = "0.3" if port == ports[0] else "0"
        return stack, stack.enter_context(running("--port", str(port), "--drain-delay", delay))

    members = [begin(port) for port in ports]
    clients = [threading.Thread(target=fleet.client, args=(index,)) for index in range(6)]
    try:
        for client in clients:
            client.start()
        for turn in range(6):
            stack, server = members[turn % 2]
            assert server.stop() == 0
            stack.close()
            members[turn % 2] = begin(ports[turn % 2])
    finally:
        fleet.stopped.set()
        for client in clients:
            client.join()
        for stack, _ in members:
            stack.close()
    assert fleet.failures == []
    assert fleet.answered > 1000
