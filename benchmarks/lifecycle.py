"""What clients notice of reloads and of servers that are exchanged: `make bench-lifecycle`.

A steady load, a quarter of what one server can do, meets a server whose model is published anew about once a second,
and two servers of which one after the other is told to end and replaced. Before each of these it meets the same servers
at rest. No request may fail; one to which no byte of an answer had come is sent again, on any connection that is free.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Self

from benchmarks.openloop import Plan, offering
from benchmarks.options import options
from benchmarks.pace import again
from benchmarks.processes import Server, free_ports
from benchmarks.reloading import Publisher
from benchmarks.results import ENDS, QUIET_ONE, QUIET_TWO, RELOADS, Conditions, Lifecycle, Passage, store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.workloads import ONE_ROW
from benchmarks.wrk import load

SHARE = 0.25
"""Of capacity, that is offered."""
RELOAD_SECONDS, END_SECONDS = 0.9, 4.5
"""From one reload, or one end, to the next, where they take no longer."""
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
        capacity = load(one.port, ONE_ROW.request, _CONNECTIONS, seconds).requests_a_second
        planned: dict[str, tuple[list[int], Callable[[], int]]] = {
            QUIET_ONE: ([one.port], lambda: 0),
            RELOADS: ([one.port], lambda: again(seconds, RELOAD_SECONDS, lambda _: _reload(publisher, one))),
            QUIET_TWO: (pair.ports, lambda: 0),
            ENDS: (pair.ports, lambda: again(seconds, END_SECONDS, pair.exchange)),
        }
        passages: dict[str, list[Passage]] = {name: [] for name in planned}
        for _ in range(conditions.repeats):
            for name, (ports, disturb) in planned.items():
                print(name, flush=True)
                passages[name].append(_passage(ports, capacity * SHARE, seconds, disturb))
    return Lifecycle(conditions, capacity, passages)


class Pair:
    """Two servers on ports of their own, each of which is replaced on its own port; to be used in `with`."""

    def __init__(self) -> None:
        self.ports = free_ports()[:2]
        self._members: list[ExitStack] = []

    def __enter__(self) -> Self:
        """Start both."""
        self._members = [self._begun(port) for port in self.ports]
        return self

    def __exit__(self, *_: object) -> None:
        """End both."""
        for member in self._members:
            member.close()

    def exchange(self, turn: int) -> None:
        """Tell one to end with SIGTERM, every other turn the same, and return once another is ready on its port."""
        place = turn % len(self.ports)
        self._members[place].close()
        self._members[place] = self._begun(self.ports[place])

    @staticmethod
    def _begun(port: int) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(ours(port=port))
        return stack


def _reload(publisher: Publisher, server: Server) -> None:
    """Publish the model, and return once the server has loaded it."""
    publisher.publish()
    time.sleep(_LOOK_AFTER)
    while not publisher.is_served(server.port):
        time.sleep(_LOOK_SECONDS)


def _passage(ports: list[int], rate: float, seconds: int, disturb: Callable[[], int]) -> Passage:
    """The load of so many seconds, while something is done to the servers; `disturb` returns how often."""
    plan = Plan(ports, [ONE_ROW.request], int(rate * seconds), rate, _CONNECTIONS // len(ports), _TRIES)
    with offering(plan) as answers:
        events = disturb()
        seen = answers.result()
    p50, p99, longest = (seen.percentile(percent) * 1e3 for percent in (50, 99, 100))
    failed = plan.total - seen.counts()[HTTPStatus.OK]
    return Passage(plan.total, failed, seen.retried, events, p50, p99, longest)


if __name__ == "__main__":
    given = options("Measure what clients notice of reloads and of ends.", [], seconds=20)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}")
