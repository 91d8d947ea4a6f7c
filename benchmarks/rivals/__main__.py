"""What a prediction costs on other servers, beside ours and an empty application: `python -m benchmarks.rivals`.

Every repeat starts each server in turn, alone, asks it, loads it and ends it, so that all meet the same disturbances.
"""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benchmarks.conditions import Conditions
from benchmarks.light import run
from benchmarks.options import options
from benchmarks.processes import Server
from benchmarks.results import store
from benchmarks.rivals.contenders import RIVALS, ROW, Rival
from benchmarks.rivals.environments import installed
from benchmarks.rivals.model import Answer, Classifier
from benchmarks.servers import empty, ours
from benchmarks.serving_results import Cell, Footprint, Rivals, Run
from benchmarks.tables import figures
from benchmarks.wire import Request, ask
from benchmarks.workloads import ONE_ROW
from benchmarks.wrk import load

CONNECTIONS = (64, 1)
WARM_UP_SECONDS = 1
TOLERANCE = 1e-6


class Comparison:
    """The figures of one run, as they come in."""

    def __init__(self, under: Conditions) -> None:
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
            reply = ask(server.port, request)
        self._measure("ours", ours, request, lambda said: said["predictions"][0])
        self._measure("empty", lambda: empty(reply), request, None)
        for rival in rivals:
            self._measure(rival.name, rival.started, rival.request, rival.read)

    def _measure(
        self,
        name: str,
        start: Callable[[], AbstractContextManager[Server]],
        request: Request,
        read: Callable[[Any], Answer] | None,
    ) -> None:
        print(name, end=" ", flush=True)
        began = time.perf_counter()
        with start() as server:
            body = ask(server.port, request).body
            ready = time.perf_counter() - began
            if read is not None:
                self._check(name, read(json.loads(body)))
            load(server.port, request, max(CONNECTIONS), WARM_UP_SECONDS)
            for connections, runs in self._runs.items():
                runs.setdefault(name, []).append(run(server, request, connections, self._under.seconds))
            resident = server.proportional_bytes()
        footprint = self._footprints.setdefault(name, installed(name))
        footprint.starts.append(ready)
        footprint.resident.append(resident)

    def _check(self, name: str, answer: Answer) -> None:
        """Raise `RuntimeError` unless the answer is right."""
        off = abs(float(answer["probability"]) - float(self._right["probability"]))
        if answer["label"] != self._right["label"] or off > TOLERANCE:
            raise RuntimeError(f"{name} answers {answer}, not {self._right}")


def main() -> None:
    """Measure, print and keep."""
    given = options("Measure other servers and ours.", [rival.name for rival in RIVALS])
    comparison = Comparison(given.conditions)
    for _ in range(given.conditions.repeats):
        comparison.repeat([rival for rival in RIVALS if rival.name in given.only])
        print()
    part = comparison.figures()
    store(given.output, part)
    print(f"\n{figures(part)}")


if __name__ == "__main__":
    main()
