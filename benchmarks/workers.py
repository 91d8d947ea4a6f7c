"""What is lost where one of four workers is killed under load: `python -m benchmarks.workers` measures it.

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

from benchmarks.conditions import Conditions
from benchmarks.openloop import Plan, offered, offering
from benchmarks.operating_results import KillRun, Workers
from benchmarks.options import options
from benchmarks.pace import again
from benchmarks.phases import Phase, moments
from benchmarks.processes import Server
from benchmarks.results import store
from benchmarks.servers import ours
from benchmarks.stats import samples
from benchmarks.tables import tables
from benchmarks.wire import Request, connect, receive
from benchmarks.workloads import CLASSIFIER, predict, rows
from benchmarks.wrk import capacity_of

WORKERS = 4
SHARE = 0.5
"""Of capacity, that is asked."""
KILL_SECONDS = 4.0
"""From one kill to the next."""
_ROWS = 64
"""Of a request: so many that the client has less to do than the workers."""
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
        capacity = capacity_of(server.port, request, conditions.seconds)
        steady = [Phase(capacity * SHARE, conditions.seconds)]
        plans = [Plan([server.port], [request], moments(steady, repeat)) for repeat in range(conditions.repeats)]
        runs = [_run(server, plan, conditions.seconds) for plan in plans]
    return Workers(conditions, WORKERS, capacity, runs)


def _run(server: Server, plan: Plan, seconds: int) -> KillRun:
    print("quiet, then killed", flush=True)
    quiet = offered(plan)
    before, kills = _counted(server), list[Kill]()
    with offering(plan) as answers:
        again(seconds, KILL_SECONDS, lambda: kills.append(_kill(server)))
        seen = answers.result()
    # What a worker has answered it has counted, before the client has it.
    counted = _counted(server) - before
    answered = seen.counts().get(HTTPStatus.OK, 0)
    return KillRun(
        requests=len(plan.due),
        answered=answered,
        lost=len(plan.due) - answered,
        counted=counted,
        connections=[kill.connections for kill in kills],
        ready=[kill.seconds for kill in kills],
        p99=seen.percentile(99),
        quiet_p99=quiet.percentile(99),
    )


def _counted(server: Server) -> int:
    """How many requests for the model have ended, by the page of whoever answers."""
    return int(sum(one.value for one in samples(server.port, "forwardpass_requests_total", model=CLASSIFIER)))


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
        # Who was waiting at a worker's door when that was killed is turned away.
        with suppress(ConnectionError):
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


def main() -> None:
    """Measure and keep it."""
    given = options("Measure what is lost where a worker is killed.", seconds=20)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
