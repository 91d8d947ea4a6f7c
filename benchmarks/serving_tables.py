"""Tables of what predictions cost over HTTP."""

from collections.abc import Callable
from statistics import median

from benchmarks.goals import ratio
from benchmarks.markdown import MEGABYTE, number, table
from benchmarks.serving_results import Cell, Heavy, HeavyCell, Light, Memory, Metrics, Rivals, Run


def light_table(light: Light) -> str:
    """Each server's figures, and how they compare with the empty application's."""
    rows = []
    for cell in light.cells:
        title = [cell.workload, str(cell.connections)]
        for server in cell.runs:
            rows.append([*title, server, *_compared(cell, server, "empty")])
            title = ["", ""]
    return table(["request", "connections", "server", *_RUN], rows)


_RUN: dict[str, Callable[[Run], float]] = {
    "requests/s": lambda run: run.requests_a_second,
    "p50, µs": lambda run: run.p50,
    "p99, µs": lambda run: run.p99,
    "CPU a request, µs": lambda run: run.cpu,
}


def _compared(cell: Cell, server: str, other: str) -> list[str]:
    """The figures of a server's runs, each with its ratio to another's in brackets."""
    return [
        f"{number(median(map(figure, cell.runs[server])))} ({ratio(cell, server, other, figure):.2f})"
        for figure in _RUN.values()
    ]


def heavy_table(heavy: Heavy) -> str:
    """Rows a second beside bare onnxruntime's, and latency."""
    head = ["batch of 16", "threads", "rows/s", "of bare onnxruntime", "computing", "p50, ms", "p99, ms"]
    return table([*head, "largest batch", "runs bare in, ms"], map(_heavy_row, heavy.cells))


def _heavy_row(cell: HeavyCell) -> list[str]:
    runs = cell.runs
    return [
        f"{cell.batch_of_16_ms:.1f} ms",
        str(cell.threads),
        number(median(run.rows_a_second for run in runs)),
        f"{median(run.rows_a_second / run.bare_rows_a_second for run in runs):.1%}",
        f"{median(run.busy for run in runs):.0%} of the time",
        f"{median(run.p50_ms for run in runs):.1f}",
        f"{median(run.p99_ms for run in runs):.1f}",
        f"{median(max(run.batches) for run in runs):.0f} rows",
        f"{median(run.largest_ms for run in runs):.1f}",
    ]


def metrics_table(metrics: Metrics) -> str:
    """What counting takes of a request, and how long a scrape takes."""
    rows = [
        [
            str(connections),
            f"{median(run.batch for run in runs):.0f}",
            f"{median(run.over_http for run in runs):.1f}",
            f"{median(run.counted for run in runs):.1f}",
            f"{median(run.uncounted for run in runs):.1f}",
            f"{median((run.counted - run.uncounted) / run.over_http for run in runs):.1%}",
        ]
        for connections, runs in metrics.counting.items()
    ]
    head = [
        "connections",
        "requests in a batch",
        "over HTTP, µs",
        "in one process, µs",
        "without counting, µs",
        "share",
    ]
    page = metrics.page
    times = f"{median(page.milliseconds):.1f} ms, at worst {max(page.milliseconds):.1f} ms"
    return f"{table(head, rows)}\n\nA scrape of {page.samples} samples takes {times}."


def memory_table(memory: Memory) -> str:
    """What a server's memory grew by."""
    marks = sorted(memory.runs[0].resident)
    middle = [f"{median(run.resident[mark] for run in memory.runs) / MEGABYTE:.1f} MB" for mark in marks]
    growth = [(run.resident[marks[-1]] - run.resident[marks[0]]) / MEGABYTE for run in memory.runs]
    head = [*(f"after {mark:,} requests" for mark in marks), "growth", "largest growth"]
    return table(head, [[*middle, f"{median(growth):.2f} MB", f"{max(growth):.2f} MB"]])


def rivals_table(rivals: Rivals) -> str:
    """Each server's figures, and how they compare with ours."""
    head = ["server", "connections", *_RUN, "first answer after, s", "memory, MB", "environment, MB"]
    rows = []
    for server, footprint in rivals.footprints.items():
        title = f"{server} {footprint.versions.get(server, '')}".strip()
        taken = [
            f"{median(footprint.starts):.1f}",
            f"{median(footprint.resident) / MEGABYTE:,.0f}",
            f"{footprint.environment / MEGABYTE:,.0f}",
        ]
        for cell in rivals.cells:
            rows.append([title, str(cell.connections), *_compared(cell, server, "ours"), *taken])
            title, taken = "", [""] * len(taken)
    return table(head, rows)
