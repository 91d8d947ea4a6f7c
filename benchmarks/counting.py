"""What counting costs: the service's own way through a prediction, with its instruments and with deaf ones instead.

There is no switch that turns counting off, so both ways are built here, in one process, of the service's own parts.
What they differ by is set against what the same request costs over HTTP.
"""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import uvloop

from benchmarks.conditions import Conditions
from benchmarks.light import run
from benchmarks.processes import Server
from benchmarks.servers import ours
from benchmarks.serving_results import CountingRun
from benchmarks.stats import computed
from benchmarks.workloads import CLASSIFIER, ONE_ROW
from service.catalog import Catalog
from service.config import Settings
from service.metrics import Histogram, Metrics, ModelStats, Outcome, Version
from service.numbers import Numbers
from service.predict import Prediction, Predictor, Reply, Target

CONNECTIONS = (1, 64)
_MODELS = Path("models")
_TURN_SECONDS = 0.1
"""How long one way runs before the other has its turn."""


class _DeafHistogram(Histogram):
    def observe(self, value: float) -> None:
        """Count nothing."""


class _DeafStats(ModelStats):
    def __init__(self, numbers: Numbers, version: Version) -> None:
        super().__init__(numbers, version)
        for name, own in vars(self).items():
            if isinstance(own, Histogram):
                setattr(self, name, _DeafHistogram(own.bounds, own.cells))

    def begin(self) -> None:
        """Count nothing."""

    def end(self, protocol: str, outcome: Outcome) -> None:
        """Count nothing."""

    def answer(self, protocol: str, decode: float, encode: float, duration: float) -> None:
        """Count nothing."""

    def count_batch(self, rows: int, seconds: float) -> None:
        """Count nothing."""

    def wait(self, more: int) -> None:
        """Count nothing."""

    def require_deaf(self) -> None:
        """Raise `RuntimeError` where something was counted all the same."""
        heard = [name for name, own in vars(self).items() if isinstance(own, Histogram) and own.count]
        requests = sum(self.requests.by_labels.values())
        if heard or requests or self.batches:
            raise RuntimeError(f"the deaf instruments have counted: {heard}, {requests} requests, {self.batches}")


class _DeafMetrics(Metrics):
    def model(self, name: str, version: int) -> ModelStats:
        """Numbers that stay what they are."""
        key = Version(name, str(version))
        return self.models.setdefault(key, _DeafStats(self.numbers, key))


def measure(conditions: Conditions) -> dict[int, list[CountingRun]]:
    """Processor time over HTTP, and in one process with and without counting, by number of connections."""
    with tempfile.TemporaryDirectory() as folder, ours() as server:
        _without_ranges(Path(folder))
        return {
            connections: [_run(server, connections, Path(folder), conditions) for _ in range(conditions.repeats)]
            for connections in CONNECTIONS
        }


def _without_ranges(folder: Path) -> None:
    """The classifier with a manifest that tells of no ranges, so that no values outside them are counted."""
    shutil.copytree(_MODELS / CLASSIFIER, folder / CLASSIFIER)
    for path in (folder / CLASSIFIER).glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        for tensor in manifest["inputs"]:
            for feature in tensor["features"]:
                feature["minimum"] = feature["maximum"] = None
        path.write_text(json.dumps(manifest))


def _run(server: Server, connections: int, folder: Path, conditions: Conditions) -> CountingRun:
    print(f"counting, {connections} connections", flush=True)
    before = computed(server.port, CLASSIFIER)
    seen = run(server, ONE_ROW.request, connections, conditions.seconds)
    batches = computed(server.port, CLASSIFIER).since(before).batches
    batch = round(sum(rows * count for rows, count in batches.items()) / sum(batches.values()))
    counted, uncounted = uvloop.run(_in_process(folder, batch, conditions.seconds))
    return CountingRun(seen.cpu, counted, uncounted, batch)


async def _in_process(folder: Path, batch: int, seconds: int) -> tuple[float, float]:
    """Microseconds of processor time for a request, counted and not, the two taking turns for so long each."""
    loop = asyncio.get_running_loop()
    deaf = _DeafMetrics()
    ways: list[tuple[Predictor, Catalog]] = []
    for models, metrics in ((_MODELS / CLASSIFIER, Metrics()), (folder / CLASSIFIER, deaf)):
        catalog = Catalog(Settings(models=models), metrics)
        catalog.load(loop)
        ways.append((Predictor(catalog, metrics), catalog))
    turns: tuple[list[float], list[float]] = ([], [])
    for _ in range(round(seconds / _TURN_SECONDS)):
        for (predictor, _), taken in zip(ways, turns, strict=True):
            taken.append(await _turn(predictor, batch))
    for _, catalog in ways:
        await catalog.close()
    for stats in deaf.models.values():
        if isinstance(stats, _DeafStats):
            stats.require_deaf()
    return median(turns[0]), median(turns[1])


async def _turn(predictor: Predictor, batch: int) -> float:
    """Microseconds of processor time for a request, of so many at a time as share a batch."""
    began, asked = process_time(), 0
    while process_time() - began < _TURN_SECONDS:
        await _wave(predictor, batch)
        asked += batch
    return (process_time() - began) / asked * 1e6


async def _wave(predictor: Predictor, size: int) -> None:
    """So many requests at once, to the last reply."""
    answered = asyncio.Semaphore(0)
    begun = [_begun(predictor, answered.release) for _ in range(size)]
    for _ in begun:
        await answered.acquire()
    for one in begun:
        one.finish()


def _begun(predictor: Predictor, told: Callable[[], None]) -> Prediction:
    """A request on its way; raises `RuntimeError` where it is refused."""
    begun = predictor.begin(Target("v1", CLASSIFIER, None), ONE_ROW.request.body, None, told)
    if isinstance(begun, Reply):
        raise RuntimeError(f"a request was refused: {begun.error}")  # noqa: TRY004  # no wrong type: a wrong answer
    return begun
