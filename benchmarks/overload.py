"""More requests than a model can compute: `python -m benchmarks.overload` measures, prints and keeps what comes of it.

Requests leave at times of their own, at five and at ten times the rate that the server can answer, once with a
deadline each and once without, where only the queue's room bounds how many wait.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread

import numpy as np
import numpy.typing as npt

from benchmarks.conditions import Conditions
from benchmarks.networks import INPUTS, costing
from benchmarks.openloop import Plan, Seen, offered
from benchmarks.operating_results import Overload, OverloadRun, Stretch
from benchmarks.options import options
from benchmarks.phases import Phase, moments
from benchmarks.processes import Server
from benchmarks.results import store
from benchmarks.servers import ours
from benchmarks.stats import unanswered
from benchmarks.tables import tables
from benchmarks.wire import Request, posted
from benchmarks.workloads import predict
from benchmarks.wrk import capacity_of

CALM, PEAK, HASTE = 0.5, 1.1, (5.0, 10.0)
LOADS = (CALM, PEAK, HASTE[0], CALM, HASTE[1], CALM)
"""What is offered, one after the other, as multiples of what can be computed."""
DEADLINE = 0.25
QUEUE = 200
"""Rows that may wait: they take half a second, so that the deadline bounds them where there is one."""
ROWS = 4
MILLISECONDS = 10
"""What a batch of as many rows takes; no larger one is made. So it is about 400 rows a second."""
CONNECTIONS = 512
"""More than ever have a request on its way: no request waits for one."""
_MODEL = "heavy"
_WIDTH = 512
_LOOKS_A_SECOND = 4
_WINDOW = 0.1
"""Seconds of which the median latency tells whether it is as it was."""


def measure(conditions: Conditions) -> Overload:
    """Walk through all loads, with deadlines and without, in turn."""
    row = [[round(place / INPUTS, 4) for place in range(INPUTS)]]
    requests = {"deadline": _with_deadline(row), "room": predict(_MODEL, row)}
    runs: dict[str, list[OverloadRun]] = {name: [] for name in requests}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{_MODEL}.onnx").write_bytes(costing(MILLISECONDS, _WIDTH, ROWS))
        with ours(Path(folder), max_batch=str(ROWS), max_queue=str(QUEUE)) as server:
            capacity = capacity_of(server.port, requests["room"], conditions.seconds)
            for repeat in range(conditions.repeats):
                for name, request in requests.items():
                    print(f"overload, bounded by {name}", flush=True)
                    runs[name].append(_run(server, request, capacity, conditions.seconds, repeat))
    return Overload(conditions, capacity, DEADLINE * 1e3, QUEUE, runs)


def _with_deadline(row: list[list[float]]) -> Request:
    """A request of version 2, which may say how long it waits."""
    given = {"name": "row", "shape": [1, INPUTS], "datatype": "FP32", "data": row}
    return posted(f"/v2/models/{_MODEL}/infer", {"inputs": [given], "parameters": {"timeout": int(DEADLINE * 1e6)}})


def _run(server: Server, request: Request, capacity: float, seconds: int, seed: int) -> OverloadRun:
    due = moments([Phase(capacity * factor, seconds) for factor in LOADS], seed)
    count, seconds_taken = unanswered(server.port, _MODEL)
    before = server.resident_bytes()
    with _largest(server) as seen:
        answers = offered(Plan([server.port], [request], due, CONNECTIONS))
    now_count, now_taken = unanswered(server.port, _MODEL)
    refusal_ms = (now_taken - seconds_taken) / (now_count - count) * 1e3 if now_count > count else 0.0
    parts = [answers.within(place * seconds, seconds) for place in range(len(LOADS))]
    normal = parts[0].percentile(99) / 1e3
    stretches = [
        stretch(factor, seconds, part, normal if place and factor == CALM else None)
        for place, (factor, part) in enumerate(zip(LOADS, parts, strict=True))
    ]
    return OverloadRun(stretches, refusal_ms, before, max(seen), server.resident_bytes())


@contextmanager
def _largest(server: Server) -> Iterator[list[int]]:
    """The server's memory in bytes, looked at again and again until the end."""
    seen, over = [server.resident_bytes()], Event()

    def look() -> None:
        while not over.wait(1 / _LOOKS_A_SECOND):
            seen.append(server.resident_bytes())

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def stretch(factor: float, seconds: float, seen: Seen, normal: float | None) -> Stretch:
    """The figures of a phase; raises `RuntimeError` where a request has neither an answer nor a refusal."""
    answered = seen.status == HTTPStatus.OK
    refused = np.isin(seen.status, (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)) & ~seen.late
    if not (answered | seen.late | refused).all():
        raise RuntimeError(f"a request was lost, or its reply is none of those expected: {seen.counts()}")
    accepted, refusals = seen.latency[answered | seen.late], seen.waited[refused]
    return Stretch(
        load=factor,
        offered_a_second=len(seen.due) / seconds,
        # Those that came within the phase, whenever they were asked for.
        answered_a_second=int((seen.due + seen.latency <= seconds)[answered].sum()) / seconds,
        p50_ms=_milliseconds(accepted, 50),
        p99_ms=_milliseconds(accepted, 99),
        late=int(seen.late.sum()),
        refused=int(refused.sum()),
        refusal_p50_ms=_milliseconds(refusals, 50),
        refusal_p99_ms=_milliseconds(refusals, 99),
        retry_after_ms=float(np.median(seen.retry_after_ms[refused])) if refused.any() else 0.0,
        lag_p99_ms=_milliseconds(seen.lag, 99),
        held=int(seen.held.sum()),
        back_after_seconds=None if normal is None else _back_after(seen.due[answered], seen.latency[answered], normal),
    )


def _milliseconds(seconds: npt.NDArray[np.float64], percentile: float) -> float:
    """A percentile; 0 of none."""
    return float(np.percentile(seconds, percentile)) * 1e3 if seconds.size else 0.0


def _back_after(due: npt.NDArray[np.float64], latency: npt.NDArray[np.float64], normal: float) -> float:
    """The end of the last window of which the median latency was above the normal one, in seconds."""
    windows = (due / _WINDOW).astype(int)
    above = [window for window in np.unique(windows) if np.median(latency[windows == window]) > normal]
    return (int(max(above)) + 1) * _WINDOW if above else 0.0


def main() -> None:
    """Measure and keep it."""
    given = options("Measure what comes of more requests than can be computed.", seconds=5)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
