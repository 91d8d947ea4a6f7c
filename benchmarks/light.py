"""Predictions that cost little to compute, over HTTP: our two ways beside an empty application and the usual endpoint.

Every repeat measures each server in turn, so that all meet the same disturbances.
"""

from contextlib import ExitStack

from benchmarks.conditions import Conditions
from benchmarks.processes import Server
from benchmarks.servers import empty, ours, usual
from benchmarks.serving_results import Cell, Light, Run
from benchmarks.wire import Request, ask
from benchmarks.workloads import ONE_ROW, OTHERS, Workload
from benchmarks.wrk import load

CONNECTIONS = (1, 16, 64, 256)
MANY = 64
ROOM = "65536"
"""Rows that may wait: by default half of the 64 requests of 256 rows would be refused."""


def measure(conditions: Conditions) -> Light:
    """One row at each number of connections, everything else at 64."""
    with ExitStack() as stack:
        servers = {
            "lane": stack.enter_context(ours(max_queue=ROOM)),
            "route": stack.enter_context(ours(max_queue=ROOM, lane="off")),
            "usual": stack.enter_context(usual()),
        }
        cells = [_cell(servers, ONE_ROW, connections, conditions) for connections in CONNECTIONS]
        cells += [_cell(servers, workload, MANY, conditions) for workload in OTHERS]
    return Light(conditions, cells)


def run(server: Server, request: Request, connections: int, seconds: int) -> Run:
    """One run of wrk, and what it cost the server."""
    before = server.cpu_seconds()
    seen = load(server.port, request, connections, seconds)
    cpu = (server.cpu_seconds() - before) / seen.requests * 1e6
    return Run(seen.requests_a_second, seen.p50, seen.p99, cpu)


def _cell(servers: dict[str, Server], workload: Workload, connections: int, conditions: Conditions) -> Cell:
    print(f"{workload.title}, {connections} connections", flush=True)
    request = workload.request
    reply = ask(servers["lane"].port, request)
    with empty(reply) as constant:
        if ask(constant.port, request).undated() != reply.undated():
            raise RuntimeError(f"the empty application does not answer {workload.title} as ours does")
        taking_part = {"empty": constant, **servers}
        if not workload.usual:
            del taking_part["usual"]
        runs: dict[str, list[Run]] = {name: [] for name in taking_part}
        for _ in range(conditions.repeats):
            for name, server in taking_part.items():
                try:
                    runs[name].append(run(server, request, connections, conditions.seconds))
                except RuntimeError as error:
                    error.add_note(f"the server is {name}")
                    raise
    return Cell(workload.title, connections, runs)
