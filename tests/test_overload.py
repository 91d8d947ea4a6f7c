"""More than a server can do, and clients that are slow or vanish: a process whose model is held up by long requests."""

import json
import math
import re
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.server import Server, running

MODEL = "next_word_lstm"
PATIENCE = 30
"""Seconds that nothing of this takes."""
LIMIT = 0.5
"""Seconds that a head may take to come, and a body."""
QUEUE = 48
"""Most rows that wait."""
LONGEST = 4096
LONG = 12
"""Requests that hold the model up, a tenth of a second each: one after the other, since no two are of one length."""
_NO_GOODBYE = struct.pack("ii", 1, 0)
"""A connection that lingers for no time at all is reset, and not ended."""


@pytest.fixture(scope="module", params=["on", "off"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server whose predictions take the short way or not."""
    flags = ["--models", f"models/{MODEL}", "--execution", "thread", "--max-queue", str(QUEUE)]
    flags += ["--lane", request.param, "--head-seconds", str(LIMIT), "--body-seconds", str(LIMIT)]
    with running(*flags) as server:
        yield server


def asked(path: str, body: Any) -> bytes:  # noqa: ANN401  # whatever JSON may hold
    """A request as its bytes."""
    content = json.dumps(body).encode()
    return b"POST %b HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(content), content)


def words(count: int) -> bytes:
    """A context of so many words; the fewer, the shorter it takes."""
    return asked(f"/v1/models/{MODEL}:predict", {"instances": [{"context": ["a"] * count}]})


def hurried(microseconds: int) -> bytes:
    """A context of a word that is of no use later."""
    given = {"name": "context", "datatype": "INT64", "shape": [1, 1], "data": [1]}
    return asked(f"/v2/models/{MODEL}/infer", {"inputs": [given], "parameters": {"timeout": microseconds}})


def reply(connection: socket.socket) -> httpx.Response:
    """The next reply of a connection."""
    with connection.makefile("rb") as stream:
        status, *lines = [line.decode().strip() for line in iter(stream.readline, b"\r\n")]
        headers = dict(line.split(": ", 1) for line in lines)
        content = stream.read(int(headers["content-length"]))
    return httpx.Response(int(status.split()[1]), headers=headers, content=content)


class Numbers:
    """What the page of metrics says, beyond what it said at first."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._before = self._page()

    def outcomes(self) -> dict[str, int]:
        """How many requests ended, by outcome."""
        found: Counter[str] = Counter()
        for name, value in self._page().items():
            if name.startswith("forwardpass_requests_total"):
                found[re.findall(r'outcome="(\w+)"', name)[0]] += int(value - self._before.get(name, 0))
        return {outcome: count for outcome, count in found.items() if count}

    def computed(self) -> int:
        """How many rows were in batches."""
        return int(self._more("forwardpass_batch_rows_sum"))

    def waiting(self) -> int:
        """Rows that wait."""
        return int(self._more("forwardpass_queue_rows"))

    def in_flight(self) -> int:
        """Requests on their way."""
        return int(self._more("forwardpass_requests_in_flight"))

    def begun(self) -> int:
        """Requests on their way, and those that ended."""
        # What has ended is looked at first: one that ends meanwhile is not counted twice, but the next time.
        return sum(self.outcomes().values()) + self.in_flight()

    def _more(self, family: str) -> float:
        page = self._page()
        return sum(value - self._before.get(name, 0) for name, value in page.items() if name.startswith(f"{family}{{"))

    def _page(self) -> dict[str, float]:
        lines = self._client.get("/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@contextmanager
def held_up(server: Server) -> Iterator[tuple[Numbers, list[socket.socket], Callable[[bytes], socket.socket]]]:
    """The numbers of a server whose model has work for a second, the clients that wait for it, and how to add one."""
    with server.client() as client, ExitStack() as opened:

        def send(request: bytes) -> socket.socket:
            connection = opened.enter_context(server.connect(PATIENCE))
            connection.sendall(request)
            return connection

        numbers = Numbers(client)
        before = [send(words(LONGEST - number)) for number in range(LONG)]
        wait_for(lambda: numbers.begun() == LONG, "that all of them are there")
        yield numbers, before, send


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"


def vanish(connection: socket.socket, *, by_reset: bool) -> None:
    """Be gone, with or without a goodbye."""
    if by_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_GOODBYE)
    connection.close()


def test_no_row_is_computed_whose_client_was_gone_before_its_batch_left(server: Server) -> None:
    """Whether it ended its connection or reset it; who did so within a request leaves no count at all."""
    request = words(1)
    with held_up(server) as (numbers, before, send):
        stays, *goes = [send(request) for _ in range(21)]
        wait_for(lambda: numbers.begun() == LONG + 21, "that all are there")
        halves = [send(request[:length]) for length in (1, len(request) // 2, len(request) - 1) for _ in range(2)]
        for number, connection in enumerate(goes + halves):
            vanish(connection, by_reset=number % 2 == 1)
        wait_for(lambda: numbers.outcomes().get("cancelled") == len(goes), "that they are let go")
        assert [reply(connection).status_code for connection in (*before, stays)] == [200] * (LONG + 1)
        assert numbers.outcomes() == {"ok": LONG + 1, "cancelled": len(goes)}
        assert (numbers.computed(), numbers.waiting(), numbers.in_flight()) == (LONG + 1, 0, 0)


def test_what_finds_no_room_or_no_time_is_told_so_and_the_rest_is_answered(server: Server) -> None:
    """A refusal says when to come again; the numbers are what clients were told, and nothing else is computed."""
    with held_up(server) as (numbers, before, send):
        late = [reply(send(hurried(1000))) for _ in range(5)]
        assert [(one.status_code, one.json()["code"]) for one in late] == [(504, "deadline_exceeded")] * 5
        replies = [reply(one) for one in [*before, *(send(words(1)) for _ in range(3 * QUEUE))]]
        refused = [one for one in replies if one.status_code != httpx.codes.OK]
        for one in refused:
            said = one.json()
            assert (one.status_code, said["code"]) == (503, "queue_full")
            assert 0 < said["retry_after_ms"] < PATIENCE * 1000
            assert int(one.headers["retry-after"]) == max(1, math.ceil(said["retry_after_ms"] / 1000))
        answered = len(replies) - len(refused)
        assert QUEUE <= answered < len(replies)
        assert numbers.outcomes() == {"ok": answered, "refused": len(refused), "expired": 5}
        assert (numbers.computed(), numbers.waiting(), numbers.in_flight()) == (answered, 0, 0)
        assert reply(send(words(1))).status_code == httpx.codes.OK


def test_every_client_that_goes_on_too_slowly_is_told_so(server: Server) -> None:
    """However often it sends a byte; the others are answered meanwhile, and nothing of it reaches the model."""
    request = words(1000).replace(b"Host: server", b"Host: server\r\nX-Filler: " + b"x" * 1000)
    body = request.index(b"\r\n\r\n") + 4
    with server.client() as client, ExitStack() as opened:
        numbers, asks = Numbers(client), 0
        slow = {opened.enter_context(server.connect(PATIENCE)): 1 if number % 2 else body for number in range(40)}
        for connection, place in slow.items():
            connection.sendall(request[:place])
        waiting = set(slow)
        end = time.monotonic() + PATIENCE
        while waiting:
            assert time.monotonic() < end
            waiting -= set(select.select(waiting, [], [], LIMIT / 20)[0])
            for connection in waiting:
                connection.sendall(request[slow[connection] : slow[connection] + 1])
                slow[connection] += 1
            assert client.post(f"/v1/models/{MODEL}:predict", json={"instances": [{"context": ["a"]}]}).is_success
            asks += 1
        assert all(place < len(request) for place in slow.values())
        told = [reply(connection) for connection in slow]
        assert [(one.status_code, one.json()["code"]) for one in told] == [(408, "too_slow")] * len(slow)
        assert numbers.outcomes() == {"ok": asks}
