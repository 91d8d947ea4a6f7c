"""What clients notice of reloads and of servers that are replaced: `python -m benchmarks.lifecycle` measures it.

A steady load, a quarter of what one server can answer, meets a server whose model is published anew about once a
second, and two servers of which one after the other is replaced. Before each of these it meets the same servers at
rest. No request may fail; one to which no byte of an answer had come is sent again, on any connection that is free.
"""

import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Self

from benchmarks.conditions import Conditions
from benchmarks.goals import happened
from benchmarks.openloop import Plan, offering
from benchmarks.operating_results import ENDS, QUIET_ONE, QUIET_TWO, RELOADS, Lifecycle, Passage
from benchmarks.options import options
from benchmarks.pace import again
from benchmarks.phases import Phase, moments
from benchmarks.processes import Server, free_ports
from benchmarks.reloading import Publisher
from benchmarks.results import store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.wire import HOST
from benchmarks.workloads import ONE_ROW
from benchmarks.wrk import capacity_of

SHARE = 0.25
"""Of capacity, that is offered."""
RELOAD_SECONDS, END_SECONDS = 0.8, 3.6
"""From one reload, or one end, to the next, where they take no longer."""
DRAIN_SECONDS = 1
"""In which a server that was told to end still takes requests."""
_TRIES = 10
_CONNECTIONS = 64
# Each look is a scrape, which takes the server a millisecond.
_LOOK_AFTER, _LOOK_SECONDS = 0.5, 0.1


def measure(conditions: Conditions) -> Lifecycle:
    """Every passage in turn, in each repeat."""
    seconds = conditions.seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "models"
        publisher = Publisher(folder)
        one = stack.enter_context(ours(folder))
        pair = stack.enter_context(Pair())
        capacity = capacity_of(one.port, ONE_ROW.request, seconds)
        planned: dict[str, tuple[list[int], Callable[[], int]]] = {
            QUIET_ONE: ([one.port], lambda: 0),
            RELOADS: ([one.port], lambda: again(seconds, RELOAD_SECONDS, lambda: _reload(publisher, one))),
            QUIET_TWO: (pair.ports, lambda: 0),
            ENDS: (pair.ports, lambda: again(seconds, END_SECONDS, pair.replace)),
        }
        passages: dict[str, list[Passage]] = {name: [] for name in planned}
        for repeat in range(conditions.repeats):
            due = moments([Phase(capacity * SHARE, seconds)], repeat)
            for name, (ports, disturb) in planned.items():
                print(name, flush=True)
                # However many ports: two servers together have as many connections as one.
                connections = _CONNECTIONS if len(ports) == 1 else _CONNECTIONS // 2
                passages[name].append(_passage(Plan(ports, [ONE_ROW.request], due, connections, _TRIES), disturb))
    return Lifecycle(conditions, capacity, passages)


class Pair:
    """Two servers, each of which is replaced as a platform does it; to be used in `with`.

    There are three ports: the one on which nobody listens is the next server's.
    """

    def __init__(self) -> None:
        self.ports = free_ports()
        self._held = [socket.socket() for _ in self.ports]
        self._spare = deque(self.ports)
        self._members: deque[tuple[int, ExitStack]] = deque()

    def __enter__(self) -> Self:
        """Start both."""
        with ExitStack() as undone:
            undone.push(self)
            for port, held in zip(self.ports, self._held, strict=True):
                # Else the system may give the spare port to one of the client's connections.
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((HOST, port))
            self._begin()
            self._begin()
            undone.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        while self._members:
            self._end()
        for held in self._held:
            held.close()

    def replace(self) -> None:
        """Start another one, and once it is ready tell the older one to end; return when that has ended."""
        self._begin()
        self._end()

    def _begin(self) -> None:
        port, stack = self._spare.popleft(), ExitStack()
        stack.enter_context(ours(port=port, drain_delay=str(DRAIN_SECONDS)))
        self._members.append((port, stack))

    def _end(self) -> None:
        port, stack = self._members.popleft()
        self._spare.append(port)
        stack.close()


def _reload(publisher: Publisher, server: Server) -> None:
    """Publish the model, and return once the server has loaded it."""
    publisher.publish()
    time.sleep(_LOOK_AFTER)
    while not publisher.is_served(server.port):
        time.sleep(_LOOK_SECONDS)


def _passage(plan: Plan, disturb: Callable[[], int]) -> Passage:
    """A load, while something is done to the servers; `disturb` returns how often."""
    with offering(plan) as answers:
        events = disturb()
        seen = answers.result()
    total = len(plan.due)
    p50, p99, longest = (seen.percentile(percent) for percent in (50, 99, 100))
    return Passage(total, total - seen.counts().get(HTTPStatus.OK, 0), int(seen.again.sum()), events, p50, p99, longest)


def main() -> None:
    """Measure and keep it; ends with a failure where less happened than the goals are about."""
    given = options("Measure what clients notice of reloads and of servers that are replaced.", seconds=20)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)
    if short := [goal for goal in happened(part) if not goal.met]:
        said = ", ".join(f"{goal.what}: {goal.reached:,g} of {goal.bound:,g}" for goal in short)
        sys.exit(f"too little has happened to show anything: {said}")


if __name__ == "__main__":
    main()
