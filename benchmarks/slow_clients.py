"""What ordinary clients notice of slow, idle and vanishing ones: `python -m benchmarks.slow_clients` measures it.

A steady load, half of what the server can answer, meets it alone and beside all of them, in turn.
"""

from collections import Counter
from contextlib import nullcontext
from http import HTTPStatus

import numpy as np

from benchmarks.conditions import Conditions
from benchmarks.crowd import crowded
from benchmarks.openloop import Plan, offered
from benchmarks.operating_results import Slow, SteadyRun
from benchmarks.options import options
from benchmarks.phases import Phase, moments
from benchmarks.processes import Server
from benchmarks.results import store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.workloads import ONE_ROW
from benchmarks.wrk import capacity_of

SHARE = 0.5
"""Of what the server can answer, that is asked."""
CONNECTIONS = 256
"""More than ever have a request on its way."""


def measure(conditions: Conditions) -> Slow:
    """A run without the others and one with them, in each repeat."""
    quiet: list[SteadyRun] = []
    crowd: list[SteadyRun] = []
    with ours() as server:
        rate = SHARE * capacity_of(server.port, ONE_ROW.request, conditions.seconds)
        for repeat in range(conditions.repeats):
            for runs, others in ((quiet, False), (crowd, True)):
                print(f"a steady load, {'beside slow clients' if others else 'alone'}", flush=True)
                runs.append(_run(server, rate, conditions.seconds, repeat, others=others))
    return Slow(conditions, rate, quiet, crowd)


def _run(server: Server, rate: float, seconds: int, seed: int, *, others: bool) -> SteadyRun:
    """One run; raises `RuntimeError` where an ordinary client is not answered."""
    nobody: Counter[str] = Counter()
    with crowded(server.port) if others else nullcontext(nobody) as crowd:
        before = server.cpu_seconds()
        seen = offered(Plan([server.port], [ONE_ROW.request], moments([Phase(rate, seconds)], seed), CONNECTIONS))
        cpu = server.cpu_seconds() - before
    if set(seen.counts()) != {HTTPStatus.OK}:
        raise RuntimeError(f"an ordinary client was not answered: {seen.counts()}")
    lag = float(np.percentile(seen.lag, 99)) * 1e3
    return SteadyRun(seen.percentile(50), seen.percentile(99), lag, cpu / seconds, dict(crowd))


def main() -> None:
    """Measure and keep it."""
    given = options("Measure what ordinary clients notice of slow, idle and vanishing ones.", seconds=20)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
