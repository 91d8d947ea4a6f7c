"""Tables of what was measured, in Markdown."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from benchmarks.goals import MEGABYTE, goals, ratio
from benchmarks.results import (
    Cell,
    Conditions,
    Heavy,
    HeavyCell,
    Lifecycle,
    Light,
    Mark,
    Memory,
    Metrics,
    Overload,
    OverloadRun,
    Part,
    Rivals,
    Run,
    Slow,
    Soak,
    SteadyRun,
    Stretch,
    Workers,
)


def tables(part: Part) -> str:
    """All that there is to show of a part: its figures, then its goals."""
    return f"{figures(part)}\n\n{goal_table([part])}"


def figures(part: Part) -> str:  # noqa: C901  # a line for each kind
    """The figures of a part, each the median of its repeats."""
    match part:
        case Light():
            text = _light(part)
        case Heavy():
            text = _heavy(part)
        case Metrics():
            text = _metrics(part)
        case Memory():
            text = _memory(part)
        case Rivals():
            text = _rivals(part)
        case Lifecycle():
            text = _lifecycle(part)
        case Soak():
            text = _soak(part)
        case Workers():
            text = _workers(part)
        case Overload():
            text = _overload(part)
        case Slow():
            text = _slow(part)
    return text


def goal_table(parts: Iterable[Part]) -> str:
    """What was to be reached, and whether it was."""
    rows = []
    for goal in (goal for part in parts for goal in goals(part)):
        sign = "≥" if goal.at_least else "≤"
        verdict = "met" if goal.met else "**missed**"
        rows.append([goal.what, f"{sign} {goal.bound:,g} {goal.unit}", _number(goal.reached), verdict])
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


def _lifecycle(lifecycle: Lifecycle) -> str:
    rows = [
        [
            name,
            f"{sum(one.events for one in runs)}",
            f"{sum(one.requests for one in runs):,}",
            f"{sum(one.failed for one in runs):,}",
            f"{sum(one.retried for one in runs):,}",
            f"{median(one.p50 for one in runs):.2f}",
            f"{median(one.p99 for one in runs):.2f}",
            f"{max(one.longest for one in runs):.0f}",
        ]
        for name, runs in lifecycle.passages.items()
    ]
    head = ["what happens", "how often", "requests", "failed", "sent again", "p50, ms", "p99, ms", "longest, ms"]
    return f"{_table(head, rows)}\n\nOne server answers {lifecycle.capacity:,.0f} requests a second."


def _workers(workers: Workers) -> str:
    runs = workers.runs
    ready = [seconds for run in runs for seconds in run.ready]
    row = [
        f"{len(ready)}",
        f"{sum(run.requests for run in runs):,}",
        f"{sum(run.lost for run in runs)} of {sum(sum(run.connections) for run in runs)}",
        f"{sum(run.counted - run.answered for run in runs)}",
        f"{median(ready):.2f}",
        f"{max(ready):.2f}",
        f"{median(run.quiet_p99 for run in runs):.1f}",
        f"{median(run.p99 for run in runs):.1f}",
    ]
    head = [
        "kills",
        "requests",
        "lost, of connections",
        "counted beyond those answered",
        "replaced after, s",
        "at worst, s",
    ]
    rate = f"{workers.workers} workers answer {workers.capacity:,.0f} requests a second."
    return f"{_table([*head, 'quiet p99, ms', 'p99, ms'], [row])}\n\n{rate}"


def _soak(soak: Soak) -> str:
    runs = [("requests", run) for run in soak.requests] + [("reloads", run) for run in soak.reloads]
    head = ["after", "resident", "anonymous", "and after", "resident", "anonymous", "most, resident", "most, anonymous"]
    return _table(head, [_soak_row(what, run) for what, run in runs])


def _soak_row(what: str, marks: list[Mark]) -> list[str]:
    ends = [
        text
        for mark in (marks[0], marks[-1])
        for text in (f"{mark.done:,} {what}", _megabytes(mark.resident), _megabytes(mark.anonymous))
    ]
    most = [max(mark.resident for mark in marks), max(mark.anonymous for mark in marks)]
    return [*ends, *map(_megabytes, most)]


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.1f} MB"


def _overload(overload: Overload) -> str:
    head = ["bounded by", "offered", "requests/s", "answered/s", "accepted: p50, ms", "p99, ms", "too late"]
    head += [
        "refused",
        "refusal: p50, ms",
        "p99, ms",
        "come again after, ms",
        "as before after, s",
        "client late: p99, ms",
    ]
    rows = []
    for bound, runs in overload.runs.items():
        title = bound
        for stretches in zip(*(run.stretches for run in runs), strict=True):
            rows.append([title, *_stretches(stretches)])
            title = ""
    return f"{_table(head, rows)}\n\n" + "\n".join(_beside(bound, runs) for bound, runs in overload.runs.items())


def _stretches(runs: Sequence[Stretch]) -> list[str]:
    """The same stretch of each run, as a row."""
    refused = median(run.refused for run in runs) > 0
    retry_after = median(run.retry_after_ms for run in runs)
    back = [run.back_after_seconds for run in runs if run.back_after_seconds is not None]
    return [
        f"{runs[0].load:g} times",
        _number(median(run.offered_a_second for run in runs)),
        _number(median(run.answered_a_second for run in runs)),
        f"{median(run.p50_ms for run in runs):.1f}",
        f"{median(run.p99_ms for run in runs):.1f}",
        f"{median(run.late for run in runs):,.0f}",
        f"{median(run.refused for run in runs):,.0f}",
        f"{median(run.refusal_p50_ms for run in runs):.2f}" if refused else "",
        f"{median(run.refusal_p99_ms for run in runs):.2f}" if refused else "",
        f"{retry_after:.0f}" if retry_after else "",
        f"{median(back):.1f}" if back else "",
        f"{median(run.lag_p99_ms for run in runs):.2f}",
    ]


def _beside(bound: str, runs: list[OverloadRun]) -> str:
    """What there is to say of whole runs."""
    before, most, after = (
        f"{median(figures) / MEGABYTE:.1f} MB"
        for figures in zip(*((run.resident_before, run.resident_most, run.resident_after) for run in runs), strict=True)
    )
    memory = f"- `{bound}`: memory {before} before, {most} at the most, {after} afterwards"
    if bound == "deadline":
        return f"{memory}."
    refusal = median(run.server_refusal_ms for run in runs)
    return f"{memory}; a refusal takes {refusal * 1e3:.0f} µs by the server's own count."


def _slow(slow: Slow) -> str:
    head = ["beside", "p50, ms", "p99, ms", "of the quiet p99", "server's CPU", "client late: p99, ms"]
    beside = [crowded.p99_ms / quiet.p99_ms for crowded, quiet in zip(slow.crowded, slow.quiet, strict=True)]
    rows = [
        ["nobody", *_steady(slow.quiet, [1.0])],
        ["slow, idle and vanishing clients", *_steady(slow.crowded, beside)],
    ]
    crowd = {what: median(run.crowd[what] for run in slow.crowded) for what in slow.crowded[0].crowd}
    said = ", ".join(f"{count:,.0f} {what}" for what, count in crowd.items())
    return f"{_table(head, rows)}\n\n{slow.rate:,.0f} requests left a second. Of the others: {said}."


def _steady(runs: list[SteadyRun], beside: list[float]) -> list[str]:
    return [
        f"{median(run.p50_ms for run in runs):.2f}",
        f"{median(run.p99_ms for run in runs):.2f}",
        f"{median(beside):.2f}",
        f"{median(run.cpu for run in runs):.0%} of a core",
        f"{median(run.lag_p99_ms for run in runs):.2f}",
    ]
