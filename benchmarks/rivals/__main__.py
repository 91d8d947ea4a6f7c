"""What a prediction costs on other servers, beside ours and an empty application: `python -m benchmarks.rivals`.

Every repeat starts each server in turn, alone, asks it, loads it and ends it, so that all meet the same disturbances.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import results, wire
from benchmarks.results import FOLDER, Cell, Run, conditions
from benchmarks.rivals.contenders import RIVALS, ROW, Rival
from benchmarks.rivals.figures import Footprint, Rivals, installed, store, table
from benchmarks.rivals.model import Answer, Classifier
from benchmarks.rivals.processes import ask, cpu_seconds, resident_bytes, started
from benchmarks.servers import Server, empty, ours
from benchmarks.workloads import ONE_ROW
from benchmarks.wrk import load

CONNECTIONS = (64, 1)
WARM_UP_SECONDS = 1
TOLERANCE = 1e-6


class Comparison:
    """The figures of one run, as they come in."""

    def __init__(self, under: results.Conditions) -> None:
        self._under = under
        self._right = Classifier().answers([ROW])[0]
        self._runs: dict[int, dict[str, list[Run]]] = {connections: {} for connections in CONNECTIONS}
        self._footprints: dict[str, Footprint] = {}

    def figures(self) -> Rivals:
        """All of them."""
        cells = [Cell(ONE_ROW.title, connections, runs) for connections, runs in self._runs.items()]
        return Rivals(self._under, cells, self._footprints)

    def repeat(self, rivals: list[Rival]) -> None:
        """Measure each server once more."""
        request = ONE_ROW.request
        with ours() as server:
            reply = wire.ask(server.port, request)
        self._measure("ours", ours, request, lambda said: said["predictions"][0])
        self._measure("empty", lambda: empty(reply), request, None)
        for rival in rivals:
            start = partial(started, rival.environment, rival.command, rival.variables, rival.request)
            self._measure(rival.name, start, rival.request, rival.read)

    def _measure(
        self,
        name: str,
        start: Callable[[], AbstractContextManager[Server]],
        request: wire.Request,
        read: Callable[[Any], Answer] | None,
    ) -> None:
        print(name, end=" ", flush=True)
        began = time.perf_counter()
        with start() as server:
            body = ask(server.port, request)
            ready = time.perf_counter() - began
            if read is not None:
                self._check(name, read(json.loads(body)))
            load(server.port, request, max(CONNECTIONS), WARM_UP_SECONDS)
            for connections, runs in self._runs.items():
                runs.setdefault(name, []).append(_run(server, request, connections, self._under.seconds))
            resident = resident_bytes(server.pid)
        footprint = self._footprints.setdefault(name, installed(name))
        footprint.starts.append(round(ready, 3))
        footprint.resident.append(resident)

    def _check(self, name: str, answer: Answer) -> None:
        """Raise `RuntimeError` unless the answer is right."""
        off = abs(float(answer["probability"]) - float(self._right["probability"]))
        if answer["label"] != self._right["label"] or off > TOLERANCE:
            raise RuntimeError(f"{name} answers {answer}, not {self._right}")


def _run(server: Server, request: wire.Request, connections: int, seconds: int) -> Run:
    """One run of wrk, and what it cost all of the server's processes."""
    before = cpu_seconds(server.pid)
    seen = load(server.port, request, connections, seconds)
    cpu = (cpu_seconds(server.pid) - before) / seen.requests * 1e6
    return Run(round(seen.requests_a_second, 1), seen.p50, seen.p99, round(cpu, 2))


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description="Measure other servers and ours.")
    parser.add_argument("--only", choices=[rival.name for rival in RIVALS], nargs="+", help="the rivals to measure")
    parser.add_argument("--seconds", type=int, default=3, help="how long each run takes (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="how often all is measured (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder in which the figures are kept")
    options = parser.parse_args()
    comparison = Comparison(conditions(options.repeats, options.seconds))
    for _ in range(options.repeats):
        comparison.repeat([rival for rival in RIVALS if options.only is None or rival.name in options.only])
        print()
    figures = comparison.figures()
    store(options.output, figures)
    print(f"\n{table(figures)}")


if __name__ == "__main__":
    main()
