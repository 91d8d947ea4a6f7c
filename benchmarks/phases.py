"""Loads that follow one another without a pause, request by request at moments of their own: an open loop.

`offer` runs it as a process of its own, so that nobody else's work delays it, and keeps to microseconds. Latency counts
from the moment at which a request was to leave: where a client is held up, by itself or by a server, what waits behind
is late too and counted so.
"""

import random
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec

from benchmarks.wire import Request, connect

ROOT = Path(__file__).parents[1]
_GRACE = 30.0
"""Seconds after the last request in which replies are waited for."""
_LARGEST = 1 << 16
_DUE_SOON = 2e-5
"""Seconds before its time at which a request may leave: to sleep for less takes longer than that."""


class Phase(msgspec.Struct, frozen=True):
    """A stretch of time in which so many requests leave a second, at random moments."""

    rate: float
    seconds: float


class Plan(msgspec.Struct, frozen=True):
    """What is offered to a server."""

    port: int
    request: bytes
    phases: list[Phase]
    connections: int
    seed: int


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """One request and its reply; times are in seconds."""

    due: float
    """When it was to leave, from the start of its phase on."""
    lag: float
    """How much later it left."""
    latency: float
    """From the moment at which it was to leave to the whole reply."""
    status: int
    retry_after_ms: int
    """After how long a refused request may come again, as the reply says; 0 where it does not."""

    @property
    def waited(self) -> float:
        """Seconds from the moment at which it really left."""
        return self.latency - self.lag


class Offered(msgspec.Struct, frozen=True):
    """What became of the requests of a phase."""

    answers: list[Answer]
    held: int
    """How many had to wait for a connection: none, where there are enough."""
    unanswered: int


def offer(port: int, request: Request, phases: Sequence[Phase], connections: int, seed: int) -> list[Offered]:
    """Offer these phases to a server, one after the other; raises `RuntimeError` where the client itself fails."""
    plan = Plan(port, request.written(port), list(phases), connections, seed)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.phases"],
        cwd=ROOT,
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        timeout=sum(phase.seconds for phase in phases) + 2 * _GRACE,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[Offered])


class Client:
    """A pool of connections, each with one request on its way at most."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._idle: deque[int] = deque()
        self._sent: dict[int, tuple[int, float, float]] = {}
        """What is on its way on a connection: its phase, when it was to leave, when it did."""
        self._partial: dict[int, bytes] = {}
        self._waiting: deque[tuple[int, float]] = deque()
        """What was to leave and had no connection: its phase, and when it was to leave."""
        self._starts: list[float] = []
        self._answers: list[list[Answer]] = [[] for _ in plan.phases]
        self._held = [0] * len(plan.phases)
        self._unanswered = [0] * len(plan.phases)
        for _ in range(plan.connections):
            self._open()

    def run(self) -> list[Offered]:
        """Send all that is planned and gather what comes back."""
        times = self._times(perf_counter() + 0.1)
        place = 0
        until = times[-1][1] + _GRACE
        while place < len(times) or ((self._sent or self._waiting) and perf_counter() < until):
            now = perf_counter()
            while place < len(times) and times[place][1] <= now + _DUE_SOON:
                self._leave(*times[place])
                place += 1
            wait = times[place][1] - perf_counter() if place < len(times) else 0.1
            # On the one file of epoll, since its own time-out counts whole milliseconds.
            if select.select([self._epoll], [], [], max(0.0, wait))[0]:
                for file, _ in self._epoll.poll(0):
                    self._read(file)
        for number in [sent[0] for sent in self._sent.values()] + [waits[0] for waits in self._waiting]:
            self._unanswered[number] += 1
        return [Offered(*found) for found in zip(self._answers, self._held, self._unanswered, strict=True)]

    def _times(self, start: float) -> list[tuple[int, float]]:
        """When which request is to leave: at random, as those of many who know nothing of each other."""
        drawn = random.Random(self._plan.seed)  # noqa: S311  # no secret
        times = []
        for number, phase in enumerate(self._plan.phases):
            self._starts.append(start)
            at, start = start, start + phase.seconds
            while (at := at + drawn.expovariate(phase.rate)) < start:
                times.append((number, at))
        return times

    def _open(self) -> None:
        one = connect(self._plan.port)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)  # noqa: FBT003  # its only argument
        self._sockets[one.fileno()] = one
        self._epoll.register(one, select.EPOLLIN)
        self._idle.append(one.fileno())

    def _leave(self, phase: int, due: float) -> None:
        """Send a request, or let it wait for a connection."""
        if not self._idle:
            self._held[phase] += 1
            self._waiting.append((phase, due))
            return
        # The one that rested longest, so that none rests until the server ends it.
        file = self._idle.popleft()
        now = perf_counter()
        self._sockets[file].send(self._plan.request)
        self._sent[file] = (phase, due, now)

    def _read(self, file: int) -> None:
        """Take what came on a connection; with a whole reply its request is answered."""
        try:
            data = self._sockets[file].recv(_LARGEST)
        except ConnectionError:
            data = b""
        now = perf_counter()
        if not data:
            self._lost(file)
            return
        if file in self._partial:
            data = self._partial.pop(file) + data
        head, _, body = data.partition(b"\r\n\r\n")
        if len(body) < int(_header(head, b"content-length") or _LARGEST):
            self._partial[file] = data
            return
        phase, due, left = self._sent.pop(file)
        start = self._starts[phase]
        _, _, after = body.partition(b'"retry_after_ms":')
        self._answers[phase].append(
            Answer(due - start, left - due, now - due, int(data[9:12]), int(after.rstrip(b"}") or 0))
        )
        self._idle.append(file)
        if self._waiting:
            self._leave(*self._waiting.popleft())

    def _lost(self, file: int) -> None:
        """Put another connection in the place of one that the server has ended."""
        self._epoll.unregister(file)
        self._sockets.pop(file).close()
        self._partial.pop(file, None)
        if file in self._sent:
            self._unanswered[self._sent.pop(file)[0]] += 1
        else:
            self._idle.remove(file)
        self._open()


def _header(head: bytes, name: bytes) -> bytes | None:
    """The value of a header, as our server writes it: in small letters."""
    _, found, rest = head.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0] if found else None


def main() -> None:
    """Offer the plan on standard input, and write what became of it to standard output."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(Client(plan).run()))


if __name__ == "__main__":
    main()
