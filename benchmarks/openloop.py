"""An open-loop client: requests leave when they are due, whether or not those before them were answered.

A latency counts from the moment at which its request was due, so that whatever holds requests back is in it. Where all
are due at once, as many are on their way as there are connections.
"""

import asyncio
import gc
import math
import multiprocessing
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from time import perf_counter
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import uvloop

from benchmarks.wire import HOST, Request

NOTHING, BROKEN = 0, 1
"""In place of a status: no byte of an answer came, or the connection ended within one."""
_UNSETTLED = -1
_PAUSE = 0.05
"""Seconds until a port that refused a connection is tried again."""
_LENGTH = b"\r\ncontent-length: "


class Plan(NamedTuple):
    """What to send, whereto and when."""

    ports: Sequence[int]
    requests: Sequence[Request]
    """They are sent in turn."""
    total: int
    rate: float = math.inf
    """Requests that are due in a second, at even distances."""
    connections: int = 64
    """To each port; a request waits while each has another one on its way."""
    tries: int = 1
    """How often a request is sent at most, while no byte of an answer has come to it."""
    patience: float = 30
    """Seconds after the last was due in which answers may come."""


class Seen(NamedTuple):
    """What came back, request by request."""

    began: float
    """On the clock `perf_counter`, which all processes of a machine share."""
    due: npt.NDArray[np.float64]
    """Seconds after the beginning."""
    latency: npt.NDArray[np.float64]
    """Seconds from then until the answer was whole, or the request was given up."""
    status: npt.NDArray[np.int16]
    """That of the answer, or `NOTHING` or `BROKEN`."""
    retried: int
    """How often a request was sent again."""

    def counts(self) -> dict[int, int]:
        """How many requests ended with each status."""
        return dict(Counter(self.status.tolist()))

    def percentile(self, percent: float, status: int = HTTPStatus.OK) -> float:
        """Of the latencies of the answers that have this status, in seconds."""
        return float(np.percentile(self.latency[self.status == status], percent))


@contextmanager
def offering(plan: Plan) -> Iterator["Future[Seen]"]:
    """The plan carried out by a process of its own, from before the block on; the end of the block waits for it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        # Once it answers, it has started and imported what it needs.
        pool.submit(gc.disable).result()
        yield pool.submit(offer, plan)


def offer(plan: Plan) -> Seen:
    """Carry it out in this process; raises `OSError` where nobody listens at the beginning."""
    return uvloop.run(_offer(plan))


async def _offer(plan: Plan) -> Seen:
    client = _Client(plan)
    try:
        return await client.run()
    finally:
        await client.close()


class _Client:
    """All requests of a plan, and the connections on which they go."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._written = {port: [request.written(port) for request in plan.requests] for port in plan.ports}
        self._latency = array("d", bytes(8 * plan.total))
        self._status = array("h", [_UNSETTLED]) * plan.total
        self._again: Counter[int] = Counter()
        """By request, how often it was sent again."""
        self._waiting: deque[int] = deque()
        self._free: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._dials = {port: asyncio.Lock() for port in plan.ports}
        self._dialling: set[asyncio.Task[None]] = set()
        self._due = self._settled = 0
        self._began = 0.0
        self._over = asyncio.Event()

    async def run(self) -> Seen:
        """Connect, send everything when it is due, and wait until all is settled or patience ends."""
        plan = self._plan
        await asyncio.gather(*(self._connect(port) for port in plan.ports for _ in range(plan.connections)))
        self._began = perf_counter()
        self._send_due()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), plan.total / plan.rate + plan.patience)
        due = np.arange(plan.total) / plan.rate
        for index in np.flatnonzero(np.array(self._status) == _UNSETTLED).tolist():
            self._settle(index, NOTHING)
        return Seen(self._began, due, np.array(self._latency), np.array(self._status), self._again.total())

    async def close(self) -> None:
        """Let go of all connections."""
        self._over.set()
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        for connection in list(self._open):
            connection.transport.abort()

    def opened(self, connection: "_Connection") -> None:
        """A connection is there to be used."""
        self._open.add(connection)
        self._use(connection)

    def answered(self, connection: "_Connection", index: int, status: int) -> None:
        """An answer has come, and with it its connection is free."""
        self._settle(index, status)
        self._use(connection)

    def lost(self, connection: "_Connection", *, answering: bool) -> None:
        """A connection has ended, perhaps within an answer; another one is opened in its place."""
        self._open.discard(connection)
        with suppress(ValueError):
            self._free.remove(connection)
        if self._over.is_set():
            return
        index = connection.index
        if index is not None:
            if answering or self._again[index] + 1 >= self._plan.tries:
                self._settle(index, BROKEN if answering else NOTHING)
            else:
                self._again[index] += 1
                self._send(index)
        task = asyncio.get_running_loop().create_task(self._dial(connection.port))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    def _send_due(self) -> None:
        """Send what is due by now, and come back for the next."""
        plan = self._plan
        passed = perf_counter() - self._began
        while self._due < plan.total and self._due / plan.rate <= passed:
            self._send(self._due)
            self._due += 1
        if self._due < plan.total:
            # The loop's clock has whole milliseconds, so that some are due each time.
            asyncio.get_running_loop().call_later(self._due / plan.rate - passed, self._send_due)

    def _send(self, index: int) -> None:
        """Send it on a connection that is free, the longest unused first; without one, as soon as there is one."""
        self._waiting.append(index)
        if self._free:
            self._use(self._free.popleft())

    def _use(self, connection: "_Connection") -> None:
        if connection.ending:
            connection.index = None
        elif self._waiting:
            index = connection.index = self._waiting.popleft()
            written = self._written[connection.port]
            connection.transport.write(written[index % len(written)])
        else:
            connection.index = None
            self._free.append(connection)

    def _settle(self, index: int, status: int) -> None:
        self._latency[index] = perf_counter() - self._began - index / self._plan.rate
        self._status[index] = status
        self._settled += 1
        if self._settled == self._plan.total:
            self._over.set()

    async def _connect(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: _Connection(self, port), HOST, port)

    async def _dial(self, port: int) -> None:
        """Connect as soon as somebody listens; one after the other, for who is refused need not be asked by all."""
        async with self._dials[port]:
            while True:
                try:
                    return await self._connect(port)
                except OSError:
                    await asyncio.sleep(_PAUSE)


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on its way; `index` says which."""

    transport: asyncio.Transport
    index: int | None = None
    ending = False
    """Whether its last answer said that it ends."""

    def __init__(self, client: _Client, port: int) -> None:
        self._client = client
        self.port = port
        self._come = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what it is written to."""
        self.transport = cast("asyncio.Transport", transport)
        self._client.opened(self)

    def data_received(self, data: bytes) -> None:
        """Hand over an answer that is whole."""
        self._come = come = self._come + data if self._come else data
        end = come.find(b"\r\n\r\n")
        if end < 0:
            return
        start = come.find(_LENGTH, 0, end) + len(_LENGTH)
        if len(come) < end + 4 + int(come[start : come.find(b"\r\n", start)]):
            return
        self._come = b""
        self.ending = come.find(b"\r\nconnection: close", 0, end) >= 0
        if self.index is not None:
            self._client.answered(self, self.index, int(come[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, and whether a part of an answer had come."""
        del exc
        self._client.lost(self, answering=bool(self._come))
