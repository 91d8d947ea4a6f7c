"""Several processes that serve as one: real ones, which are killed while clients are at work."""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.certificates import make_certificates
from tests.server import Server, running
from tests.service.conftest import publish
from tests.test_reload import scaled

PATIENCE = 30
"""Seconds after which a test no longer waits for what has to happen."""
MODEL = "sum_of_three"
BODY = json.dumps({"instances": [[1, 2, 3]]}).encode()
HEAD = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: server\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Three workers."""
    with running("--workers", "3") as server:
        wait_for(lambda: len(processes(server)) == 3, "three workers serve")
        yield server
        assert server.stop() == 0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"


def values(server: Server, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric by the values of their labels, in the order of the labels' names."""
    with server.client() as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def answered(server: Server) -> int:
    """How many predictions the page says were answered."""
    found = values(server, "forwardpass_requests_total")
    return int(sum(count for (model, outcome, _, _), count in found.items() if (model, outcome) == (MODEL, "ok")))


def processes(server: Server) -> set[int]:
    """The workers, where the page tells of all of them, as it does of those that serve; else none."""
    shown = len(values(server, "process_cpu_seconds_total"))
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    found = {int(process) for process in children}
    return found if len(found) == shown else set()


def predict(client: httpx.Client) -> None:
    """A prediction, as it should be answered."""
    reply = client.post(f"/v1/models/{MODEL}:predict", content=BODY)
    assert reply.status_code == 200, reply.text


def test_the_numbers_add_up(server: Server) -> None:
    """Whoever of them is asked, the page and the statistics tell of all, and of each process by itself."""
    before = answered(server)
    for _ in range(20):
        with server.client() as client:
            predict(client)
    assert answered(server) == before + 20
    with server.client() as client:
        (stats,) = client.get(f"/v2/models/{MODEL}/stats").json()["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == before + 20
    assert set(values(server, "process_resident_memory_bytes")) == {("0",), ("1",), ("2",)}


def test_the_server_greets_once(server: Server) -> None:
    """Who else writes says who it is."""
    log = "".join(server.log)
    assert log.count("listening on") == 1
    assert "3 workers" in log
    assert sorted(re.findall(r"INFO serves worker=(.)", log)) == ["1", "2"]


def test_who_watches_the_workers_has_one_thread(server: Server) -> None:
    """Others would not come along when it forks."""
    assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1


def replace(server: Server, killed: int) -> None:
    """Kill a worker, and wait until there is another."""
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: killed not in processes(server) and len(processes(server)) == 3, "another serves in its place")


class Tally:
    """What a client with one connection after the other has seen."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self.answered = 0
        self.lost = 0
        """Requests without an answer."""
        self.broken: list[str] = []
        """Answers that are none."""
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            with self._server.client() as client:
                try:
                    while not self._over.is_set():
                        reply = client.post(f"/v1/models/{MODEL}:predict", content=BODY)
                        if reply.status_code != httpx.codes.OK or b"predictions" not in reply.content:
                            self.broken.append(reply.text)
                        self.answered += 1
                except httpx.TransportError:
                    self.lost += 1


def have_answered(tallies: Sequence[Tally], goal: int) -> bool:
    """Whether their clients together have had so many answers."""
    return sum(tally.answered for tally in tallies) >= goal


def test_a_killed_worker_costs_what_it_had_begun(server: Server) -> None:
    """At most a request of each client; all other answers are counted, those of the killed too, and it is replaced."""
    before, restarts = answered(server), values(server, "forwardpass_worker_restarts_total")[()]
    with Tally(server) as first, Tally(server) as second:
        tallies = (first, second)
        for _ in range(4):
            goal = sum(tally.answered for tally in tallies) + 50
            wait_for(partial(have_answered, tallies, goal), "they are answered")
            replace(server, min(processes(server)))
    lost = sum(tally.lost for tally in tallies)
    assert values(server, "forwardpass_worker_restarts_total")[()] == restarts + 4
    assert [tally.broken for tally in tallies] == [[], []]
    assert lost <= 4 * len(tallies)
    # One may be counted whose answer was lost.
    assert 0 <= answered(server) - before - sum(tally.answered for tally in tallies) <= lost
    assert all(count == 0 for count in values(server, "forwardpass_requests_in_flight").values())


@pytest.mark.parametrize("way", ["supervisor", "group"])
def test_the_end_is_in_order(way: str) -> None:
    """What has begun is answered, whoever gets the signal: a group's members get it from their supervisor again."""
    with running("--workers", "2", "--drain-delay", "0.3", group=True) as server:
        wait_for(lambda: len(processes(server)) == 2, "both serve")
        connections = [server.connect() for _ in range(6)]
        for connection in connections:
            connection.sendall(HEAD + BODY[:5])
        if way == "group":
            os.killpg(server.process.pid, signal.SIGTERM)
        else:
            server.process.terminate()
        wait_for(lambda: "draining" in "".join(server.log), "it has heard of the end")
        for connection in connections:
            connection.sendall(BODY[5:])
            reply = connection.makefile("rb").read()
            assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"connection: close" in reply.lower()
            connection.close()
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_a_worker_that_ends_alone_keeps_nobody_waiting(server: Server) -> None:
    """What comes to its socket, while it finishes what it has begun, is answered; then there is another."""
    held = [server.connect() for _ in range(12)]
    for connection in held:
        connection.sendall(HEAD + BODY[:5])
    ended = min(processes(server))
    os.kill(ended, signal.SIGTERM)
    wait_for(lambda: "SIGTERM: draining" in "".join(server.log), "it has heard of its end")
    # Past the moment at which it would listen no more.
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        with server.client(timeout=5) as client:
            predict(client)
    for connection in held:
        connection.sendall(BODY[5:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.close()
    wait_for(lambda: ended not in processes(server) and len(processes(server)) == 3, "another serves in its place")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_at_the_end_no_connection_is_reset(workers: str) -> None:
    """Who comes just before is answered, and who comes just after finds nobody."""
    with running("--workers", workers) as server:
        ends = []

        def ask() -> None:
            try:
                while True:
                    with server.connect() as connection:
                        connection.sendall(HEAD + BODY)
                        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
            except OSError as error:
                ends.append(type(error))

        clients = [threading.Thread(target=ask) for _ in range(16)]
        for client in clients:
            client.start()
        wait_for(lambda: answered(server) > 200, "they are answered")
        assert server.stop() == 0
        for client in clients:
            client.join()
        assert ends == [ConnectionRefusedError] * 16


def test_a_second_signal_hurries_all() -> None:
    """Nobody waits for the end of the delay then."""
    with running("--workers", "2", "--drain-delay", "60", group=True) as server:
        wait_for(lambda: len(processes(server)) == 2, "both serve")
        os.killpg(server.process.pid, signal.SIGINT)
        wait_for(lambda: "".join(server.log).count("draining") == 2, "both have heard of the end")
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(PATIENCE) == 130


def test_workers_end_with_their_supervisor() -> None:
    """However that ended, and in order; then the port is free."""
    with running("--workers", "2") as server:
        wait_for(lambda: len(processes(server)) == 2, "both serve")
        server.process.kill()
        # The log ends when the last of them does.
        server.close()
        assert "".join(server.log).count("INFO ended") == 2
        socket.create_server(server.endpoint).close()


def test_workers_take_up_new_versions(tmp_path: Path) -> None:
    """Each by itself, and no request fails meanwhile; the page counts a load of each."""
    scaled(tmp_path, 1, 1.0)
    with running("--workers", "2", "--models", str(tmp_path)) as server:
        wait_for(lambda: len(processes(server)) == 2, "both serve")
        scaled(tmp_path, 2, 2.0)
        wait_for(
            lambda: values(server, "forwardpass_model_loads_total").get(("line", "ok", "2")) == 2, "both have loaded it"
        )
        for _ in range(10):
            with server.client() as client:
                assert client.get("/v2/models/line").json()["versions"] == ["2"]


def test_workers_speak_tls(tmp_path: Path) -> None:
    """With the certificate that was read before they began."""
    with running("--workers", "2", certificates=make_certificates(tmp_path)) as server:
        for _ in range(5):
            with server.client() as client:
                predict(client)
        assert server.stop() == 0


def test_a_damaged_model_is_left_out_by_all(tmp_path: Path) -> None:
    """They serve the others, as one would."""
    publish(tmp_path, "line")
    (publish(tmp_path, "vote") / "model.onnx").write_bytes(b"nothing")
    with running("--workers", "2", "--models", str(tmp_path)) as server:
        wait_for(lambda: len(processes(server)) == 2, "both serve")
        assert values(server, "forwardpass_model_loads_total") == {("line", "ok", "1"): 2, ("vote", "failed", "1"): 2}
        assert server.stop() == 0
