"""What is to be reached, and whether it is."""

from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.results import Cell, Heavy, Light, Memory, Metrics, Part, Rivals, Run
from benchmarks.workloads import EIGHT_HEADERS, LARGE_BINARY, ONE_ROW

MEGABYTE = 1_000_000


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
    match part:
        case Light():
            return list(_light(part))
        case Heavy():
            return list(_heavy(part))
        case Metrics():
            return list(_metrics(part))
        case Memory():
            growth = max(max(run.resident.values()) - min(run.resident.values()) for run in part.runs)
            return [Goal("memory after 100,000 requests beyond that after 10,000", growth / MEGABYTE, 2, "MB")]
        case Rivals():
            return []


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
