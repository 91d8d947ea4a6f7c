"""What a server's memory grows by between its first 10,000 requests and its first 100,000."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.conditions import Conditions
from benchmarks.servers import ours
from benchmarks.serving_results import Growth, Memory
from benchmarks.wire import connect, receive
from benchmarks.workloads import ONE_ROW

MARKS = (10_000, 100_000)
"""After how many requests the memory is looked at."""
CONNECTIONS = 64


def measure(conditions: Conditions) -> Memory:
    """The growth of a fresh server in each repeat."""
    return Memory(conditions, [_run() for _ in range(conditions.repeats)])


def _run() -> Growth:
    print("memory", flush=True)
    resident, sent = {}, 0
    with ours() as server, ExitStack() as stack:
        request = ONE_ROW.request.written(server.port)
        connections = [stack.enter_context(connect(server.port)) for _ in range(CONNECTIONS)]
        for mark in MARKS:
            while sent < mark:
                some = connections[: mark - sent]
                _exchange(some, request)
                sent += len(some)
            resident[mark] = server.resident_bytes()
    return Growth(resident)


def _exchange(connections: Sequence[socket.socket], request: bytes) -> None:
    """Send a request on each connection, then read the replies; wrk cannot be told how many to send."""
    for connection in connections:
        connection.sendall(request)
    for connection in connections:
        receive(connection)
