"""Clients that nobody likes, on one server at a time: slow ones, idle ones, and some that vanish.

`crowded` runs them as a process of their own, from the moment on at which all of them are connected.
"""

import asyncio
import itertools
import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvloop

from benchmarks.processes import ROOT
from benchmarks.wire import HOST
from benchmarks.workloads import ONE_ROW

SLOW, IDLE = 200, 1000
PAUSE = 1.0
"""Seconds between two bytes of a slow client."""
VANISHING_A_SECOND = 50
_NO_GOODBYE = struct.pack("ii", 1, 0)
"""A connection that lingers for no time at all is reset, and not ended."""
_TOO_SLOW = b"HTTP/1.1 408"


@contextmanager
def crowded(port: int) -> Iterator[Counter[str]]:
    """The crowd, until the end of the block; then what it did, and how often.

    Raises `RuntimeError` where one of them meets what it should not.
    """
    done: Counter[str] = Counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the crowd did not come")
        yield done
        said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the crowd ended with {process.returncode}")
    done.update(json.loads(said))


class Crowd:
    """All of them, and what they did so far."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._request = ONE_ROW.request.written(port)
        self._head = len(self._request) - len(ONE_ROW.request.body)
        self._there = 0
        self._complete = asyncio.Event()
        self.done = Counter({"bytes sent slowly": 0, "slow clients refused": 0, "clients vanished": 0})

    async def run(self) -> None:
        """Come, say so, and stay until standard input ends."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._slow(number)) for number in range(SLOW)]
            tasks += [group.create_task(self._idle()) for _ in range(IDLE)]
            tasks.append(group.create_task(self._vanish()))
            await self._complete.wait()
            print("all are there", flush=True)
            await loop.run_in_executor(None, sys.stdin.read)
            for task in tasks:
                task.cancel()

    def _come(self) -> None:
        self._there += 1
        if self._there >= SLOW + IDLE:
            self._complete.set()

    async def _slow(self, number: int) -> None:
        """Send a byte a second, every second client of a body; come again once that was too slow."""
        # Not all at the same moment.
        await asyncio.sleep(PAUSE * number / SLOW)
        while True:
            reader, writer = await asyncio.open_connection(HOST, self._port)
            self._come()
            place = self._head if number % 2 else 1
            writer.write(self._request[:place])
            answer = asyncio.ensure_future(reader.read())
            with suppress(ConnectionError):
                while not answer.done():
                    await asyncio.wait((answer,), timeout=PAUSE)
                    writer.write(self._request[place : place + 1])
                    place += 1
                    self.done["bytes sent slowly"] += 1
            if not (await answer).startswith(_TOO_SLOW):
                raise RuntimeError(f"a slow client was answered {await answer!r}")
            self.done["slow clients refused"] += 1
            writer.close()

    async def _idle(self) -> None:
        """Ask once, then wait for the server to end the connection; then again."""
        while True:
            reader, writer = await asyncio.open_connection(HOST, self._port)
            writer.write(self._request)
            await reader.readuntil(b"\r\n\r\n")
            self._come()
            await reader.read()
            writer.close()

    async def _vanish(self) -> None:
        """Connect, send some of a request, or all of it, and be gone; by a reset every second time."""
        lengths = (self._head // 2, self._head + 10, len(self._request))
        await self._complete.wait()
        for length, resets in itertools.cycle(itertools.product(lengths, (False, True))):
            _, writer = await asyncio.open_connection(HOST, self._port)
            writer.write(self._request[:length])
            if resets:
                own: socket.socket = writer.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_GOODBYE)
            writer.close()
            self.done["clients vanished"] += 1
            await asyncio.sleep(1 / VANISHING_A_SECOND)


async def _main(port: int) -> None:
    crowd = Crowd(port)
    await crowd.run()
    print(json.dumps(crowd.done))


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))
