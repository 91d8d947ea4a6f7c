"""What a server's memory grows by over a million requests of random sizes, and over 200 reloads.

`python -m benchmarks.soak` measures it.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.conditions import conditions
from benchmarks.goals import goals
from benchmarks.mixture import mixture
from benchmarks.openloop import Plan, offered
from benchmarks.operating_results import Mark, Soak
from benchmarks.processes import Server
from benchmarks.reloading import Publisher
from benchmarks.results import FOLDER, store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.wire import connect, receive
from benchmarks.workloads import ONE_ROW

MARKS = 10
"""How often memory is looked at; the warm-up before it is as long as the way from one mark to the next."""
_REQUESTS = 1000
"""Different ones, sent again and again."""
_CONNECTIONS = 64
_PATIENCE = 3600
_ASKED = 50
"""Requests for each reload, between which it happens."""


def requests(total: int) -> list[Mark]:
    """The memory of a server that answers so many requests, each with the status that is due to it."""
    mixed = mixture(_REQUESTS)
    due = np.array([expected.status for expected in mixed])
    part = total // MARKS
    marks = []
    with ours() as server:
        asked = [one.request for one in mixed]
        plan = Plan([server.port], asked, np.zeros(part), _CONNECTIONS, patience=_PATIENCE)
        for turn in range(MARKS + 1):
            seen = offered(plan)
            wrong = np.flatnonzero(seen.status != np.resize(due, part))
            if wrong.size:
                first = int(wrong[0])
                path, status = mixed[first % _REQUESTS].request.path, seen.status[first]
                raise RuntimeError(f"{wrong.size} answers were not those that are due: {status} from {path}")
            marks.append(_mark(server, turn * part))
    return marks


def reloads(total: int) -> list[Mark]:
    """The memory of a server whose model is published and loaded so many times, and answers meanwhile."""
    part = total // MARKS
    marks = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "models"
        publisher = Publisher(folder)
        server = stack.enter_context(ours(folder))
        connection = stack.enter_context(connect(server.port))
        request = ONE_ROW.request.written(server.port)
        for turn in range(MARKS + 1):
            for _ in range(part):
                publisher.publish()
                while not publisher.is_served(server.port):
                    for _ in range(_ASKED):
                        connection.sendall(request)
                        receive(connection)
            marks.append(_mark(server, turn * part))
    return marks


def _mark(server: Server, done: int) -> Mark:
    mark = Mark(done, server.resident_bytes(), server.anonymous_bytes())
    print(f"{done:,} after the warm-up: {mark.resident / 1e6:.1f} MB, anonymous {mark.anonymous / 1e6:.1f}", flush=True)
    return mark


def main() -> None:
    """Measure, print and keep it; ends with a failure where memory grows by more than it may."""
    parser = argparse.ArgumentParser(description="Measure what a server's memory grows by in the long run.")
    parser.add_argument("--requests", type=int, default=1_000_000, help="after the warm-up (default: %(default)s)")
    parser.add_argument("--reloads", type=int, default=200, help="after the warm-up (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="with new servers each (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder in which the figures are kept")
    given = parser.parse_args()
    began = time.monotonic()
    asked = [requests(given.requests) for _ in range(given.repeats)]
    reloaded = [reloads(given.reloads) for _ in range(given.repeats)]
    seconds = round((time.monotonic() - began) / given.repeats)
    part = Soak(conditions(given.repeats, seconds), asked, reloaded)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)
    if missed := [goal for goal in goals(part) if not goal.met]:
        sys.exit("; ".join(f"{goal.what}: {goal.reached:,g}, at most {goal.bound:,g}" for goal in missed))


if __name__ == "__main__":
    main()
