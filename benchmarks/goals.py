"""What is to be reached, and whether it is."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.markdown import MEGABYTE
from benchmarks.operating_results import (
    ENDS,
    QUIET_ONE,
    QUIET_TWO,
    RELOADS,
    Lifecycle,
    Mark,
    Overload,
    OverloadRun,
    Slow,
    Soak,
    Stretch,
    Workers,
)
from benchmarks.results import Part
from benchmarks.scoring_results import SCORE, FileCell, Scoring
from benchmarks.serving_results import Cell, Heavy, Light, Memory, Metrics, Rivals, Run
from benchmarks.workloads import EIGHT_HEADERS, LARGE_BINARY, ONE_ROW

_MUCH = 1.2
"""Up to so many times what can be computed the most is answered."""

_CHANGES = {RELOADS: "the model is reloaded", ENDS: "servers are replaced"}


class Goal(NamedTuple):
    """One figure and its bound."""

    what: str
    reached: float
    bound: float
    unit: str
    at_least: bool = False
    """Whether the bound is the least and not the most that it may be."""

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of the bound."""
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound


def goals(part: Part) -> list[Goal]:
    """The goals of a part."""
    return list(_goals(part))


def _goals(part: Part) -> Iterator[Goal]:  # noqa: C901  # a case for each part
    match part:
        case Light():
            yield from _light(part)
        case Heavy():
            yield from _heavy(part)
        case Metrics():
            yield from _metrics(part)
        case Memory():
            growth = max(max(run.resident.values()) - min(run.resident.values()) for run in part.runs)
            yield Goal("memory after 100,000 requests beyond that after 10,000", growth / MEGABYTE, 2, "MB")
        case Lifecycle():
            yield from _lifecycle(part)
        case Soak():
            yield from _growth("requests", part.requests)
            yield from _growth("reloads", part.reloads)
        case Overload():
            yield from _overload(part)
        case Slow():
            yield from _slow(part)
        case Workers():
            yield from _workers(part)
        case Scoring():
            yield from _scoring(part)
        case Rivals():
            pass


def ratio(cell: Cell, server: str, other: str, figure: Callable[[Run], float]) -> float:
    """A figure of one server as a multiple of another's: the median of the repeats."""
    pairs = zip(cell.runs[server], cell.runs[other], strict=True)
    return median(figure(own) / figure(others) for own, others in pairs)


def _light(light: Light) -> Iterator[Goal]:
    cells = {(cell.workload, cell.connections): cell for cell in light.cells}
    one, alone = cells[ONE_ROW.title, 64], cells[ONE_ROW.title, 1]
    eight, binary = cells[EIGHT_HEADERS.title, 64], cells[LARGE_BINARY.title, 64]
    beside = "times the empty application's"
    cpu = "CPU of a request at 64 connections"
    yield Goal(f"{cpu}, {one.workload}", ratio(one, "lane", "empty", _cpu), 1.0, beside)
    yield Goal(f"{cpu}, {eight.workload}", ratio(eight, "lane", "empty", _cpu), 1.05, beside)
    yield Goal(f"{cpu}, {binary.workload}", ratio(binary, "lane", "empty", _cpu), 1.25, beside)
    rate = f"requests/s at 64 connections, {one.workload}"
    yield Goal(rate, ratio(one, "lane", "empty", _rate), 1.0, beside, at_least=True)
    yield Goal(rate, ratio(one, "lane", "usual", _rate), 15, "times the usual endpoint's", at_least=True)
    yield Goal(f"p50 at 1 connection, {one.workload}", ratio(alone, "lane", "empty", _p50), 1.25, beside)


def _cpu(run: Run) -> float:
    return run.cpu


def _rate(run: Run) -> float:
    return run.requests_a_second


def _p50(run: Run) -> float:
    return run.p50


def _heavy(heavy: Heavy) -> Iterator[Goal]:
    cells = {cell.model: cell for cell in heavy.cells if cell.threads == 1}
    for model, least in (("20ms", 97), ("5ms", 90)):
        shares = [100 * run.rows_a_second / run.bare_rows_a_second for run in cells[model].runs]
        yield Goal(
            f"rows/s, model of {model}, one thread", median(shares), least, "% of bare onnxruntime", at_least=True
        )
    for cell in cells.values():
        longest = [run.p99_ms / run.largest_ms for run in cell.runs]
        yield Goal(f"p99, model of {cell.model}, one thread", median(longest), 3, "times the largest batch's run time")


def _metrics(metrics: Metrics) -> Iterator[Goal]:
    for connections, runs in metrics.counting.items():
        shares = [100 * (run.counted - run.uncounted) / run.over_http for run in runs]
        yield Goal(f"counting at {connections} connections", median(shares), 5, "% of a request's CPU")
    yield Goal("a scrape of `/metrics`, median", median(metrics.page.milliseconds), 5, "ms")


def _lifecycle(lifecycle: Lifecycle) -> Iterator[Goal]:
    yield from happened(lifecycle)
    passages = lifecycle.passages
    yield Goal("of them failed", sum(run.failed for run in passages[RELOADS] + passages[ENDS]), 0, "requests")
    for name, quiet in ((RELOADS, QUIET_ONE), (ENDS, QUIET_TWO)):
        times = median(run.p99 / other.p99 for run, other in zip(passages[name], passages[quiet], strict=True))
        yield Goal(f"p99 at a quarter of capacity while {_CHANGES[name]}", times, 1.5, "times the quiet one")


def happened(lifecycle: Lifecycle) -> Iterator[Goal]:
    """How much must have happened for the others to say something."""
    passages = lifecycle.passages
    for name, least in ((RELOADS, 100), (ENDS, 20)):
        events = sum(run.events for run in passages[name])
        yield Goal(f"{_CHANGES[name]} under load", events, least, "times", at_least=True)
    requests = sum(run.requests for run in passages[RELOADS] + passages[ENDS])
    yield Goal("requests meanwhile", requests, 200_000, "requests", at_least=True)


def _workers(workers: Workers) -> Iterator[Goal]:
    beyond = max(run.lost - sum(run.connections) for run in workers.runs)
    yield Goal("requests lost that were not on their way to a worker that was killed", max(0, beyond), 0, "requests")
    off = max(abs(run.counted - run.answered) - run.lost for run in workers.runs)
    yield Goal("the page's count beside the client's, but for the lost", max(0, off), 0, "requests")
    slowest = max(seconds for run in workers.runs for seconds in run.ready)
    yield Goal("until there is another worker that answers, at worst", slowest, 2, "s")


def _growth(what: str, runs: list[list[Mark]]) -> Iterator[Goal]:
    done = runs[0][-1].done - runs[0][0].done
    for kind in ("resident", "anonymous"):
        most = max(max(getattr(mark, kind) for mark in run) - getattr(run[0], kind) for run in runs)
        yield Goal(f"growth of {kind} memory over {done:,} {what}", most / MEGABYTE, 10, "MB")


def _overload(overload: Overload) -> Iterator[Goal]:
    """Of five and of ten times what can be computed the one that does worse, in each run."""
    for bound, runs in overload.runs.items():
        said = f"overload, bounded by {bound}"
        shares = [
            100 * min(one.answered_a_second for one in in_haste(run)) / peak
            for run, peak in zip(runs, _peaks(overload), strict=True)
        ]
        yield Goal(f"{said}: answered requests", median(shares), 90, "% of peak", at_least=True)
        for percentile, figure in (("p50", _refusal_p50), ("p99", _refusal_p99)):
            worst = median(max(map(figure, in_haste(run))) for run in runs)
            yield Goal(f"{said}: refusals, {percentile}", worst, 2, "ms")
        if bound == "deadline":
            longest = median(max(one.p99_ms for one in in_haste(run)) for run in runs)
            yield Goal(f"{said}: accepted requests, p99", longest, overload.deadline_ms, "ms, the deadline")
        else:
            off = median(max(map(_off, in_haste(run))) for run in runs)
            yield Goal(f"{said}: `Retry-After` and the time a full queue takes", off, 1.5, "times each other")
        back = median(max(one.back_after_seconds or 0.0 for one in run.stretches) for run in runs)
        yield Goal(f"{said}: latency as before, after", back, 1, "s")
        growth = max(run.resident_most - run.resident_before for run in runs)
        yield Goal(f"{said}: memory at the most beyond that before", growth / MEGABYTE, 10, "MB")


def _slow(slow: Slow) -> Iterator[Goal]:
    beside = median(crowded.p99_ms / quiet.p99_ms for crowded, quiet in zip(slow.crowded, slow.quiet, strict=True))
    yield Goal("p99 beside slow, idle and vanishing clients", beside, 1.5, "times the quiet one")


def _scoring(scoring: Scoring) -> Iterator[Goal]:
    for name, least in (("Parquet", 80), ("CSV", 70)):
        small, large = sorted((cell for cell in scoring.cells if cell.format == name), key=lambda cell: cell.rows)
        rate = f"rows/s, {large.rows:,} rows of {name} scored"
        yield Goal(rate, 100 * large.of_bare(), least, "% of a bare loop", at_least=True)
        memory = f"memory for {large.rows:,} rows of {name} scored"
        yield Goal(memory, _peak(large) / _peak(small), 1.15, f"times that for {small.rows:,}")
    kills = sum(one.kills for one in scoring.interruptions)
    others = sum(not one.is_identical for one in scoring.interruptions)
    yield Goal(f"files scored through {kills} kills that are not the undisturbed ones", others, 0, "files")


def _peak(cell: FileCell) -> float:
    return median(run.peak_bytes for run in cell.runs[SCORE])


def in_haste(run: OverloadRun) -> list[Stretch]:
    """The stretches in which several times as much was offered as can be computed."""
    return [one for one in run.stretches if one.load > _MUCH]


def _peaks(overload: Overload) -> list[float]:
    """For each repeat what is answered a second where hardly more is offered than can be, by either bound."""
    return [
        max(one.answered_a_second for run in runs for one in run.stretches if 1 <= one.load <= _MUCH)
        for runs in zip(*overload.runs.values(), strict=True)
    ]


def _refusal_p50(stretch: Stretch) -> float:
    return stretch.refusal_p50_ms


def _refusal_p99(stretch: Stretch) -> float:
    return stretch.refusal_p99_ms


def _off(stretch: Stretch) -> float:
    """How many times the longer of two times the shorter is: that after which to come again, and that of waiting."""
    longer, shorter = sorted((stretch.retry_after_ms, stretch.p50_ms), reverse=True)
    return longer / shorter
