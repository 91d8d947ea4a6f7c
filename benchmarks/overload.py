"""More requests than a model can compute: `python -m benchmarks.overload` measures, prints and keeps what comes of it.

Requests leave at times of their own, at five and at ten times the rate that the server can answer, once with a
deadline each and once without, where only the queue's room bounds how many wait.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread

import numpy as np

from benchmarks.networks import INPUTS, costing
from benchmarks.options import options
from benchmarks.phases import Answer, Offered, Phase, offer
from benchmarks.processes import Server
from benchmarks.results import Conditions, Overload, OverloadRun, Stretch, store
from benchmarks.servers import ours
from benchmarks.tables import tables
from benchmarks.wire import Request, ask, posted
from benchmarks.workloads import predict
from benchmarks.wrk import load

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
_SATURATING = 64
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
            capacity = load(server.port, requests["room"], _SATURATING, conditions.seconds).requests_a_second
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
    phases = [Phase(capacity * factor, seconds) for factor in LOADS]
    count, nanoseconds = _unanswered(server)
    before = server.resident_bytes()
    with _largest(server) as seen:
        offered = offer(server.port, request, phases, CONNECTIONS, seed)
    more, took = (now - then for now, then in zip(_unanswered(server), (count, nanoseconds), strict=True))
    normal = _milliseconds([answer.latency for answer in offered[0].answers], 99) / 1e3
    stretches = [
        stretch(factor, seconds, one, normal if place and factor == CALM else None)
        for place, (factor, one) in enumerate(zip(LOADS, offered, strict=True))
    ]
    return OverloadRun(stretches, took / more / 1e6 if more else 0.0, before, max(seen), server.resident_bytes())


def _unanswered(server: Server) -> tuple[int, int]:
    """How many requests had no answer, and the nanoseconds that they all took, by the server's own count."""
    (stats,) = json.loads(ask(server.port, Request(f"/v2/models/{_MODEL}/stats")).body)["model_stats"]
    failed = stats["inference_stats"]["fail"]
    return failed["count"], failed["ns"]


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


def stretch(factor: float, seconds: int, offered: Offered, normal: float | None) -> Stretch:
    """The figures of a phase; raises `RuntimeError` where a request has neither an answer nor a refusal."""
    answered = [one for one in offered.answers if one.status == HTTPStatus.OK]
    # One that was accepted and came to nothing was told so when its time was over, and not before.
    late = [one for one in offered.answers if one.status == HTTPStatus.GATEWAY_TIMEOUT and one.waited >= DEADLINE]
    refused = [
        one
        for one in offered.answers
        if one.status == HTTPStatus.SERVICE_UNAVAILABLE
        or (one.status == HTTPStatus.GATEWAY_TIMEOUT and one.waited < DEADLINE)
    ]
    if offered.unanswered or len(answered) + len(late) + len(refused) < len(offered.answers):
        raise RuntimeError(f"{offered.unanswered} requests were lost, or a reply is none of those expected")
    accepted = [one.latency for one in answered + late]
    waits = [one.waited for one in refused]
    return Stretch(
        load=factor,
        offered_a_second=len(offered.answers) / seconds,
        # Those that came within the phase, whenever they were asked for.
        answered_a_second=sum(one.due + one.latency <= seconds for one in answered) / seconds,
        p50_ms=_milliseconds(accepted, 50),
        p99_ms=_milliseconds(accepted, 99),
        late=len(late),
        refused=len(refused),
        refusal_p50_ms=_milliseconds(waits, 50),
        refusal_p99_ms=_milliseconds(waits, 99),
        retry_after_ms=float(np.median([one.retry_after_ms for one in refused])) if refused else 0.0,
        lag_p99_ms=_milliseconds([one.lag for one in offered.answers], 99),
        held=offered.held,
        back_after_seconds=None if normal is None else _back_after(answered, normal),
    )


def _milliseconds(seconds: Sequence[float], percentile: float) -> float:
    """A percentile; 0 of none."""
    return float(np.percentile(seconds, percentile)) * 1e3 if seconds else 0.0


def _back_after(answers: list[Answer], normal: float) -> float:
    """The end of the last window of which the median latency was above the normal one, in seconds."""
    windows: dict[int, list[float]] = {}
    for one in answers:
        windows.setdefault(int(one.due / _WINDOW), []).append(one.latency)
    above = [place for place, latencies in windows.items() if float(np.median(latencies)) > normal]
    return (max(above) + 1) * _WINDOW if above else 0.0


def main() -> None:
    """Measure and keep it."""
    given = options("Measure what comes of more requests than can be computed.", seconds=5)
    part = measure(given.conditions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
