"""Models that cost much to compute, over HTTP, beside bare onnxruntime called in a loop with the same batches."""

import tempfile
from pathlib import Path

from benchmarks.conditions import Conditions
from benchmarks.networks import BATCH, INPUTS, Bare, costing
from benchmarks.processes import Server
from benchmarks.servers import ours
from benchmarks.serving_results import Heavy, HeavyCell, HeavyRun
from benchmarks.stats import computed
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


def _cell(server: Server, model: str, graph: bytes, threads: int, conditions: Conditions) -> HeavyCell:
    print(f"batches of {model}, {threads} threads", flush=True)
    alone = Bare(graph, 1).milliseconds(BATCH)
    bare = Bare(graph, threads)
    runs = [_run(server, model, bare, conditions.seconds) for _ in range(conditions.repeats)]
    return HeavyCell(model, threads, alone, runs)


def _run(server: Server, model: str, bare: Bare, seconds: int) -> HeavyRun:
    request = predict(model, [[round(place / INPUTS, 4) for place in range(INPUTS)]])
    before = computed(server.port, model)
    seen = load(server.port, request, CONNECTIONS, seconds)
    batches, computing = computed(server.port, model).since(before)
    return HeavyRun(
        rows_a_second=seen.requests_a_second,
        bare_rows_a_second=bare.rows_a_second(batches, seconds),
        p50_ms=seen.p50 / 1e3,
        p99_ms=seen.p99 / 1e3,
        busy=computing / seconds,
        batches=batches,
        largest_ms=bare.milliseconds(max(batches)),
    )
