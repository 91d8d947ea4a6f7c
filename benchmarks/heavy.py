"""Models that cost much to compute, over HTTP, beside bare onnxruntime called in a loop with the same batches."""

import http.client
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.networks import BATCH, INPUTS, Bare, costing
from benchmarks.results import Conditions, Heavy, HeavyCell, HeavyRun
from benchmarks.servers import Server, ours
from benchmarks.wire import HOST
from benchmarks.workloads import predict
from benchmarks.wrk import load

CONNECTIONS = 64
THREADS = (1, 2)
# The narrow ones so that none needs many hundreds of layers, the wide one so that the file stays small enough.
WIDTHS = {1: 256, 5: 512, 20: 1024}
"""The networks, by the milliseconds that a batch of 16 shall take: how wide their layers are."""


def measure(conditions: Conditions) -> Heavy:
    """Each model on one thread and on two; the load and the bare loop take turns."""
    with tempfile.TemporaryDirectory() as folder:
        graphs = {_name(milliseconds): costing(milliseconds, width) for milliseconds, width in WIDTHS.items()}
        for name, graph in graphs.items():
            (Path(folder) / f"{name}.onnx").write_bytes(graph)
        cells = []
        for threads in THREADS:
            with ours(Path(folder), threads=str(threads)) as server:
                cells += [_cell(server, name, graph, threads, conditions) for name, graph in graphs.items()]
    return Heavy(conditions, CONNECTIONS, cells)


def _name(milliseconds: int) -> str:
    return f"{milliseconds}ms"


class _Counts(NamedTuple):
    """The batches that a model has computed so far: how many of each size, and how long they all took."""

    batches: dict[int, int]
    seconds: float


def _counts(server: Server, model: str) -> _Counts:
    connection = http.client.HTTPConnection(HOST, server.port)
    connection.request("GET", f"/v2/models/{model}/stats")
    said: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    stats = said["model_stats"][0]
    batches = {one["batch_size"]: one["compute_infer"]["count"] for one in stats["batch_stats"]}
    return _Counts(batches, stats["inference_stats"]["compute_infer"]["ns"] / 1e9)


def _cell(server: Server, model: str, graph: bytes, threads: int, conditions: Conditions) -> HeavyCell:
    print(f"batches of {model}, {threads} threads", flush=True)
    alone = Bare(graph, 1).milliseconds(BATCH)
    bare = Bare(graph, threads)
    runs = [_run(server, model, bare, conditions.seconds) for _ in range(conditions.repeats)]
    return HeavyCell(model, threads, alone, runs)


def _run(server: Server, model: str, bare: Bare, seconds: int) -> HeavyRun:
    request = predict(model, [[round(place / INPUTS, 4) for place in range(INPUTS)]])
    before = _counts(server, model)
    seen = load(server.port, request, CONNECTIONS, seconds)
    after = _counts(server, model)
    batches = {rows: count - before.batches.get(rows, 0) for rows, count in after.batches.items()}
    batches = {rows: count for rows, count in batches.items() if count}
    return HeavyRun(
        rows_a_second=seen.requests_a_second,
        bare_rows_a_second=bare.rows_a_second(batches, seconds),
        p50_ms=seen.p50 / 1e3,
        p99_ms=seen.p99 / 1e3,
        busy=(after.seconds - before.seconds) / seconds,
        batches=batches,
        largest_ms=bare.milliseconds(max(batches)),
    )
