"""Tables of what comes of too much load, of bad clients, of changes, and of time."""

from collections.abc import Sequence
from statistics import median

from benchmarks.markdown import MEGABYTE, megabytes, number, table
from benchmarks.operating_results import Lifecycle, Mark, Overload, OverloadRun, Slow, Soak, SteadyRun, Stretch, Workers


def overload_table(overload: Overload) -> str:
    """What became of requests in each stretch, by what bounds the queue, and memory."""
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
    return f"{table(head, rows)}\n\n" + "\n".join(_beside(bound, runs) for bound, runs in overload.runs.items())


def _stretches(runs: Sequence[Stretch]) -> list[str]:
    """The same stretch of each run, as a row."""
    refused = median(run.refused for run in runs) > 0
    retry_after = median(run.retry_after_ms for run in runs)
    back = [run.back_after_seconds for run in runs if run.back_after_seconds is not None]
    return [
        f"{runs[0].load:g} times",
        number(median(run.offered_a_second for run in runs)),
        number(median(run.answered_a_second for run in runs)),
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


def slow_table(slow: Slow) -> str:
    """What ordinary clients met alone and beside the others, and what those did."""
    head = ["beside", "p50, ms", "p99, ms", "of the quiet p99", "server's CPU", "client late: p99, ms"]
    beside = [crowded.p99_ms / quiet.p99_ms for crowded, quiet in zip(slow.crowded, slow.quiet, strict=True)]
    rows = [
        ["nobody", *_steady(slow.quiet, [1.0])],
        ["slow, idle and vanishing clients", *_steady(slow.crowded, beside)],
    ]
    crowd = {what: median(run.crowd[what] for run in slow.crowded) for what in slow.crowded[0].crowd}
    said = ", ".join(f"{count:,.0f} {what}" for what, count in crowd.items())
    return f"{table(head, rows)}\n\n{slow.rate:,.0f} requests left a second. Of the others: {said}."


def _steady(runs: list[SteadyRun], beside: list[float]) -> list[str]:
    return [
        f"{median(run.p50_ms for run in runs):.2f}",
        f"{median(run.p99_ms for run in runs):.2f}",
        f"{median(beside):.2f}",
        f"{median(run.cpu for run in runs):.0%} of a core",
        f"{median(run.lag_p99_ms for run in runs):.2f}",
    ]


def workers_table(workers: Workers) -> str:
    """What was lost, and how soon there was another worker."""
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
    return f"{table([*head, 'quiet p99, ms', 'p99, ms'], [row])}\n\n{rate}"


def lifecycle_table(lifecycle: Lifecycle) -> str:
    """What clients met while nothing happened, and while something did."""
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
    return f"{table(head, rows)}\n\nOne server answers {lifecycle.capacity:,.0f} requests a second."


def soak_table(soak: Soak) -> str:
    """Memory after the warm-up, at the end and at the most."""
    runs = [("requests", run) for run in soak.requests] + [("reloads", run) for run in soak.reloads]
    head = ["after", "resident", "anonymous", "and after", "resident", "anonymous", "most, resident", "most, anonymous"]
    return table(head, [_soak_row(what, run) for what, run in runs])


def _soak_row(what: str, marks: list[Mark]) -> list[str]:
    ends = [
        text
        for mark in (marks[0], marks[-1])
        for text in (f"{mark.done:,} {what}", megabytes(mark.resident), megabytes(mark.anonymous))
    ]
    most = [max(mark.resident for mark in marks), max(mark.anonymous for mark in marks)]
    return [*ends, *map(megabytes, most)]
