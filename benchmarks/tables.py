"""Tables of what was measured, in Markdown."""

from collections.abc import Callable, Iterable
from statistics import median

from benchmarks.goals import MEGABYTE, goals, ratio
from benchmarks.results import Cell, Conditions, Heavy, HeavyCell, Light, Memory, Metrics, Part, Rivals, Run


def tables(part: Part) -> str:
    """All that there is to show of a part: its figures, then its goals."""
    return f"{figures(part)}\n\n{goal_table([part])}"


def figures(part: Part) -> str:
    """The figures of a part, each the median of its repeats."""
    match part:
        case Light():
            return _light(part)
        case Heavy():
            return _heavy(part)
        case Metrics():
            return _metrics(part)
        case Memory():
            return _memory(part)
        case Rivals():
            return _rivals(part)


def goal_table(parts: Iterable[Part]) -> str:
    """What was to be reached, and whether it was."""
    rows = []
    for goal in (goal for part in parts for goal in goals(part)):
        sign = "≥" if goal.at_least else "≤"
        verdict = "met" if goal.met else "**missed**"
        rows.append([goal.what, f"{sign} {goal.bound:g} {goal.unit}", f"{goal.reached:.3g}", verdict])
    return _table(["what", "goal", "reached", ""], rows)


def condition_text(conditions: Conditions) -> str:
    """Where and with what it was measured, as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    return (
        f"{conditions.cores} cores of an {conditions.processor}, Python {conditions.python}, {versions}; "
        f"medians of {conditions.repeats}, {conditions.seconds} s each; {conditions.date}."
    )


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _light(light: Light) -> str:
    rows = []
    for cell in light.cells:
        title = [cell.workload, str(cell.connections)]
        for server in cell.runs:
            rows.append([*title, server, *_compared(cell, server, "empty")])
            title = ["", ""]
    return _table(["request", "connections", "server", *_RUN], rows)


_RUN: dict[str, Callable[[Run], float]] = {
    "requests/s": lambda run: run.requests_a_second,
    "p50, µs": lambda run: run.p50,
    "p99, µs": lambda run: run.p99,
    "CPU a request, µs": lambda run: run.cpu,
}


def _compared(cell: Cell, server: str, other: str) -> list[str]:
    """The figures of a server's runs, each with its ratio to another's in brackets."""
    return [
        f"{_number(median(map(figure, cell.runs[server])))} ({ratio(cell, server, other, figure):.2f})"
        for figure in _RUN.values()
    ]


def _number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  # that is three


def _heavy(heavy: Heavy) -> str:
    head = ["batch of 16", "threads", "rows/s", "of bare onnxruntime", "computing", "p50, ms", "p99, ms"]
    return _table([*head, "largest batch", "runs bare in, ms"], map(_heavy_row, heavy.cells))


def _heavy_row(cell: HeavyCell) -> list[str]:
    runs = cell.runs
    return [
        f"{cell.batch_of_16_ms:.1f} ms",
        str(cell.threads),
        _number(median(run.rows_a_second for run in runs)),
        f"{median(run.rows_a_second / run.bare_rows_a_second for run in runs):.1%}",
        f"{median(run.busy for run in runs):.0%} of the time",
        f"{median(run.p50_ms for run in runs):.1f}",
        f"{median(run.p99_ms for run in runs):.1f}",
        f"{median(max(run.batches) for run in runs):.0f} rows",
        f"{median(run.largest_ms for run in runs):.1f}",
    ]


def _metrics(metrics: Metrics) -> str:
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
    return f"{_table(head, rows)}\n\nA scrape of {page.samples} samples takes {times}."


def _memory(memory: Memory) -> str:
    marks = sorted(memory.runs[0].resident)
    middle = [f"{median(run.resident[mark] for run in memory.runs) / MEGABYTE:.1f} MB" for mark in marks]
    growth = [(run.resident[marks[-1]] - run.resident[marks[0]]) / MEGABYTE for run in memory.runs]
    head = [*(f"after {mark:,} requests" for mark in marks), "growth", "largest growth"]
    return _table(head, [[*middle, f"{median(growth):.2f} MB", f"{max(growth):.2f} MB"]])


def _rivals(rivals: Rivals) -> str:
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
    return _table(head, rows)
