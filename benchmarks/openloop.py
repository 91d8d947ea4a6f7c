"""An open-loop client: requests leave when they are due, whatever became of those before.

A latency counts from the moment at which its request was due, so that whatever holds requests back is in it, the client
itself too. Where all are due at once, as many are on their way as there are connections. One thread does it all and
keeps to microseconds; `offered` gives it a process of its own, so that nobody else's work delays it.
"""

import gc
import multiprocessing
import select
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from time import perf_counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.wire import Request, connect

NOTHING, BROKEN = 0, 1
"""In place of a status: no byte of an answer came, or the connection ended within one."""
_PAUSE = 0.1
"""Seconds until a port is tried again that refused a connection, or said that it ends one."""
_DUE_SOON = 2e-5
"""Seconds before its time at which a request may leave: to sleep for less takes longer than that."""
_LONGEST_SLEEP = 0.1
_LARGEST = 1 << 16
_ROOM = 1 << 18
"""Bytes that the system takes of a request at once."""
_LENGTH = b"\r\ncontent-length: "
_AFTER = b'"retry_after_ms":'
_TOO_LATE = b"there was no answer"
"""What a request is told that was accepted, and not answered by its deadline."""


class Plan(NamedTuple):
    """What to send, whereto and when."""

    ports: Sequence[int]
    """Those on which nobody listens are tried again and again."""
    requests: Sequence[Request]
    """They are sent in turn."""
    due: npt.NDArray[np.float64]
    """Seconds after the beginning, in order; at least one."""
    connections: int = 64
    """To each port; a request waits while each has another one on its way."""
    tries: int = 1
    """How often a request is sent at most, while no byte of an answer has come to it."""
    patience: float = 30
    """Seconds after the last was due in which answers may come."""


class Seen(NamedTuple):
    """What came back, request by request; times are in seconds."""

    due: npt.NDArray[np.float64]
    lag: npt.NDArray[np.float64]
    """How much later than it was due it left."""
    latency: npt.NDArray[np.float64]
    """From when it was due until the answer was whole, or the request was given up."""
    status: npt.NDArray[np.int16]
    """That of the answer, or `NOTHING` or `BROKEN`."""
    retry_after_ms: npt.NDArray[np.int64]
    """After how long one that was refused may come again, as the answer says; 0 where it does not."""
    late: npt.NDArray[np.bool_]
    """Whether it was accepted and then told that its deadline could not be met."""
    held: npt.NDArray[np.bool_]
    """Whether it had to wait for a connection."""
    again: npt.NDArray[np.int16]
    """How often it was sent again."""

    @property
    def waited(self) -> npt.NDArray[np.float64]:
        """From when it really left."""
        return self.latency - self.lag

    def counts(self) -> dict[int, int]:
        """How many requests ended with each status."""
        return dict(Counter(self.status.tolist()))

    def percentile(self, percent: float) -> float:
        """Of the latencies of those that were answered with success, in milliseconds."""
        return float(np.percentile(self.latency[self.status == HTTPStatus.OK], percent)) * 1e3

    def within(self, start: float, seconds: float) -> "Seen":
        """Those that were due in a stretch of time, seen from its start."""
        chosen = (start <= self.due) & (self.due < start + seconds)
        cut = Seen._make(column[chosen] for column in self)
        return cut._replace(due=cut.due - start)


@contextmanager
def offering(plan: Plan) -> Iterator["Future[Seen]"]:
    """The plan carried out by a process of its own, from before the block on; the end of the block waits for it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        # Once it answers, it has started and imported what it needs.
        pool.submit(gc.disable).result()
        yield pool.submit(offer, plan)


def offered(plan: Plan) -> Seen:
    """The plan carried out by a process of its own, to its end."""
    with offering(plan) as answers:
        return answers.result()


def offer(plan: Plan) -> Seen:
    """Carry it out in this process; raises `RuntimeError` where nobody listens at the beginning."""
    client = _Client(plan)
    try:
        return client.run()
    finally:
        client.close()


class _Connection:
    """One connection, with at most one request on its way; `index` says which."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = connect(port)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        self.socket.setblocking(False)  # noqa: FBT003  # its only argument
        self.index: int | None = None
        self.come = b""
        self.ending = False
        """Whether its last answer said that it ends."""


class _Client:
    """All requests of a plan, and the connections on which they go."""

    def __init__(self, plan: Plan) -> None:
        total = len(plan.due)
        self._plan = plan
        self._written = {port: [request.written(port) for request in plan.requests] for port in plan.ports}
        self._due: list[float] = plan.due.tolist()
        self._lag, self._latency = [0.0] * total, [0.0] * total
        self._status, self._retry_after_ms, self._again = [NOTHING] * total, [0] * total, [0] * total
        self._late, self._held = [False] * total, [False] * total
        self._next = 0
        self._unsettled = set(range(total))
        self._waiting: deque[int] = deque()
        self._free: deque[_Connection] = deque()
        self._open: dict[int, _Connection] = {}
        self._missing = Counter(dict.fromkeys(plan.ports, plan.connections))
        self._dial_at: dict[int, float] = {}
        """The ports that are to be tried again, and when."""
        self._epoll = select.epoll()
        self._began = perf_counter()

    def run(self) -> Seen:
        """Connect, send everything when it is due, and wait until all is settled or patience ends."""
        for port in self._plan.ports:
            self._dial(port)
        if not self._open:
            raise RuntimeError("nobody listens")
        self._began = perf_counter()
        until = self._due[-1] + self._plan.patience
        while self._unsettled and self._now() < until:
            self._send_due()
            for port in [port for port, at in self._dial_at.items() if at <= self._now()]:
                self._dial(port)
            # On the one file of epoll, since its own time-out counts whole milliseconds.
            if select.select([self._epoll], [], [], self._rest())[0]:
                for file, _ in self._epoll.poll(0):
                    self._read(self._open[file])
        for index in list(self._unsettled):
            self._settle(index, NOTHING)
        return Seen(
            self._plan.due,
            np.array(self._lag),
            np.array(self._latency),
            np.array(self._status, np.int16),
            np.array(self._retry_after_ms),
            np.array(self._late),
            np.array(self._held),
            np.array(self._again, np.int16),
        )

    def close(self) -> None:
        """Let go of all connections."""
        for connection in self._open.values():
            connection.socket.close()
        self._epoll.close()

    def _now(self) -> float:
        return perf_counter() - self._began

    def _rest(self) -> float:
        """Seconds until there is something to do, if nothing comes."""
        times = [*self._dial_at.values(), *self._due[self._next : self._next + 1]]
        return max(0.0, min(_LONGEST_SLEEP, *(at - self._now() for at in times))) if times else _LONGEST_SLEEP

    def _send_due(self) -> None:
        """Send what is due by now, each on the connection that rested longest: none is to rest until it is ended."""
        now = self._now() + _DUE_SOON
        while self._next < len(self._due) and self._due[self._next] <= now:
            self._send(self._next)
            self._next += 1

    def _send(self, index: int) -> None:
        """Send it on a connection that is free; without one, as soon as there is one."""
        if self._free:
            self._use(self._free.popleft(), index)
        else:
            self._held[index] = True
            self._waiting.append(index)

    def _use(self, connection: _Connection, index: int) -> None:
        connection.index = index
        if not self._again[index]:
            self._lag[index] = self._now() - self._due[index]
        written = self._written[connection.port]
        request = written[index % len(written)]
        # One that has ended meanwhile says so to who reads from it.
        with suppress(ConnectionError):
            if connection.socket.send(request) < len(request):
                raise RuntimeError("a request is larger than what the system takes at once")

    def _rests(self, connection: _Connection) -> None:
        """A connection is there to be used."""
        connection.index = None
        if self._waiting:
            self._use(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def _read(self, connection: _Connection) -> None:
        """Take what came on a connection; with a whole answer its request is settled."""
        try:
            data = connection.socket.recv(_LARGEST)
        except ConnectionError:
            data = b""
        if not data:
            self._lost(connection)
            return
        come = connection.come = connection.come + data
        end = come.find(b"\r\n\r\n")
        if end < 0:
            return
        start = come.find(_LENGTH, 0, end) + len(_LENGTH)
        if len(come) < end + 4 + int(come[start : come.find(b"\r\n", start)]):
            return
        connection.come = b""
        connection.ending = come.find(b"\r\nconnection: close", 0, end) >= 0
        if connection.index is None:
            return
        status = int(come[9:12])
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._retry_after_ms[connection.index] = int(come.partition(_AFTER)[2].rstrip(b"}") or 0)
        self._late[connection.index] = status == HTTPStatus.GATEWAY_TIMEOUT and _TOO_LATE in come
        self._settle(connection.index, status)
        if connection.ending:
            connection.index = None
        else:
            self._rests(connection)

    def _settle(self, index: int, status: int) -> None:
        self._latency[index] = self._now() - self._due[index]
        self._status[index] = status
        self._unsettled.discard(index)

    def _lost(self, connection: _Connection) -> None:
        """A connection has ended: send its request again where that may be, and put another one in its place."""
        self._epoll.unregister(connection.socket)
        del self._open[connection.socket.fileno()]
        connection.socket.close()
        with suppress(ValueError):
            self._free.remove(connection)
        self._missing[connection.port] += 1
        if connection.ending:
            # Who says so is about to go.
            self._dial_at.setdefault(connection.port, self._now() + _PAUSE)
        elif connection.port not in self._dial_at:
            self._dial(connection.port)
        index = connection.index
        if index is None:
            return
        if connection.come or self._again[index] + 1 >= self._plan.tries:
            self._settle(index, BROKEN if connection.come else NOTHING)
        else:
            self._again[index] += 1
            self._send(index)

    def _dial(self, port: int) -> None:
        """Open what is missing of the connections to a port; where it refuses one, all of them later."""
        self._dial_at.pop(port, None)
        while self._missing[port]:
            try:
                connection = _Connection(port)
            except OSError:
                self._dial_at[port] = self._now() + _PAUSE
                return
            self._missing[port] -= 1
            self._open[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket, select.EPOLLIN)
            self._rests(connection)
