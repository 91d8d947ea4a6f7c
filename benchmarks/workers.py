"""What is lost where one of four workers is killed under load: `make bench-workers`.

Half of what all can do together is asked; then again, while from time to time a worker is killed with SIGKILL.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.openloop import BROKEN, NOTHING, Plan, Seen, offering
from benchmarks.options import options
from benchmarks.pace import again
from benchmarks.processes import Server
from benchmarks.results import Conditions, KillRun, Workers, store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.wire import Request, ask, connect, receive
from benchmarks.workloads import CLASSIFIER, predict, rows
from benchmarks.wrk import load

WORKERS = 4
SHARE = 0.5
"""Of capacity, that is asked."""
KILL_SECONDS = 4.0
"""From one kill to the next."""
_ROWS = 64
"""Of a request: so many that the client has less to do than the workers."""
_CONNECTIONS = 64
_PATIENCE = 20
_ESTABLISHED = "01"


class Kill(NamedTuple):
    """The end of a worker."""

    connections: int
    """How many it had: each has one request on its way at most."""
    seconds: float
    """From then until the process in its place had answered."""


def measure(conditions: Conditions) -> Workers:
    """Both loads in each repeat."""
    request = predict(CLASSIFIER, rows(_ROWS))
    with ours(workers=str(WORKERS)) as server:
        _wait_for(server, lambda answering: len(answering) == WORKERS)
        capacity = load(server.port, request, _CONNECTIONS, conditions.seconds).requests_a_second
        rate = capacity * SHARE
        plan = Plan([server.port], [request], int(rate * conditions.seconds), rate, _CONNECTIONS)
        runs = [_run(server, plan, conditions.seconds) for _ in range(conditions.repeats)]
    return Workers(conditions, WORKERS, capacity, runs)


def _run(server: Server, plan: Plan, seconds: int) -> KillRun:
    print("quiet, then killed", flush=True)
    with offering(plan) as answers:
        quiet = answers.result()
    before, kills = _counted(server), list[Kill]()
    with offering(plan) as answers:
        again(seconds, KILL_SECONDS, lambda _: kills.append(_kill(server)))
        seen = answers.result()
    # What a worker has answered it has counted, before the client has it.
    counted = _counted(server) - before
    ends = seen.counts()
    return KillRun(
        requests=plan.total,
        answered=ends[HTTPStatus.OK],
        lost=ends.get(NOTHING, 0) + ends.get(BROKEN, 0),
        counted=counted,
        connections=[kill.connections for kill in kills],
        ready=[kill.seconds for kill in kills],
        p99=_p99(seen),
        quiet_p99=_p99(quiet),
    )


def _p99(seen: Seen) -> float:
    return seen.percentile(99) * 1e3


def _counted(server: Server) -> int:
    """How many requests for the model have ended, by the page of whoever answers."""
    families = text_string_to_metric_families(ask(server.port, Request("/metrics")).body.decode())
    return sum(
        int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "forwardpass_requests_total" and sample.labels["model"] == CLASSIFIER
    )


def _kill(server: Server) -> Kill:
    """Kill the worker that has the most connections, and wait until there is another one that answers."""
    before = _workers(server)
    open_now = set(_sockets(server.port).values())
    held = {pid: len(_held(pid) & open_now) for pid in before}
    victim = max(held, key=lambda pid: held[pid])
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    _wait_for(server, lambda answering: not answering <= before)
    return Kill(held[victim], time.monotonic() - began)


def _wait_for(server: Server, enough: Callable[[set[int]], bool]) -> None:
    """Ask until enough of the workers have answered; raises `RuntimeError` where that takes too long."""
    answering: set[int] = set()
    until = time.monotonic() + _PATIENCE
    while not enough(answering):
        if time.monotonic() > until:
            raise RuntimeError(f"after {_PATIENCE} s there have answered but {answering} of {_workers(server)}")
        answering.add(_answering(server))


def _answering(server: Server) -> int:
    """The process that takes the next connection, and answers on it."""
    with connect(server.port) as connection:
        connection.sendall(Request("/v2/health/live").written(server.port))
        receive(connection)
        own = _sockets(server.port)[connection.getsockname()[1]]
        return next(pid for pid in _workers(server) if own in _held(pid))


def _workers(server: Server) -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()}


def _sockets(port: int) -> dict[int, str]:
    """The connections to a port of this machine, as its system numbers them, by their clients' ports."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    open_now = [line for line in lines if _port(line[1]) == port and line[3] == _ESTABLISHED]
    return {_port(line[2]): f"socket:[{line[9]}]" for line in open_now}


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


def _held(pid: int) -> set[str]:
    """What a process has open, as the system calls it; nothing where it is gone."""
    held = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                held.add(str(path.readlink()))
    return held


if __name__ == "__main__":
    given = options("Measure what is lost where a worker is killed.", seconds=20)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}")
