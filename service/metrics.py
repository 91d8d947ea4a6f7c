"""Every number the service counts. The hot path bumps plain numbers; Prometheus families are made when scraped."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import time
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From the 6 µs of a tiny network to the seconds of a queue about to be refused, about three a decade.
SECONDS = (
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    1e-2,
    2.5e-2,
    5e-2,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Outcome = Literal["ok", "invalid", "refused", "expired", "failed", "cancelled"]
"""How a request ended: answered; refused for what it contains, for want of room or of a model that is ready; too late
for its own time limit; by a failure of the model or of the server; let go by its client."""


class Histogram:
    """Counts of observations by bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as Prometheus has them: by upper bound, each with all that is below it."""
        count, buckets = 0, []
        for bound, own in zip([*map(str, map(float, self.bounds)), "+Inf"], self.counts, strict=True):
            count += own
            buckets.append((bound, float(count)))
        return buckets


class ModelStats:
    """The numbers of one version of one model; written on the event loop only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, Outcome]] = Counter()
        """Ended requests by protocol and outcome."""
        self.invalid: Counter[str] = Counter()
        """Requests refused for their content, by error code."""
        self.outside: Counter[str] = Counter()
        """Values outside the range that training saw, by feature; written where batches are computed."""
        self.in_flight = 0
        self.duration = Histogram(SECONDS)
        self.decode = Histogram(SECONDS)
        self.queue = Histogram(SECONDS)
        self.compute = Histogram(SECONDS)
        self.encode = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.queue_rows: Callable[[], int] = lambda: 0

        self.failed_seconds = 0.0
        """What the requests took that were not answered, from their first byte decoded to their error."""
        self.batches: dict[int, tuple[int, float]] = {}
        """For each number of rows, how many batches had it and the seconds they took together."""
        self.last_batch = 0.0
        """When a batch was last computed, in seconds since 1970."""

    def end(self, protocol: str, outcome: Outcome) -> None:
        """Count the end of a request in flight."""
        self.in_flight -= 1
        self.requests[protocol, outcome] += 1

    def ended(self, *outcomes: Outcome) -> int:
        """How many requests ended in one of these ways."""
        return sum(count for (_, outcome), count in self.requests.items() if outcome in outcomes)

    def count_batch(self, rows: int, seconds: float) -> None:
        """Count one batch that was computed."""
        self.batch_rows.observe(rows)
        self.compute.observe(seconds)
        count, total = self.batches.get(rows, (0, 0.0))
        self.batches[rows] = (count + 1, total + seconds)
        self.last_batch = time()


class Version(NamedTuple):
    """What tells one model's numbers from another's."""

    model: str
    version: str


class Metrics:
    """All numbers of a process, and the page that shows them."""

    def __init__(self) -> None:
        self.models: dict[Version, ModelStats] = {}
        self.ready: Callable[[], bool] = lambda: False
        self.unrouted: Counter[str] = Counter()
        """Requests that reached no model, by error code."""
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))
        ProcessCollector(registry=self._registry)

    def model(self, name: str, version: int) -> ModelStats:
        """The numbers of a version, which begin at zero the first time and go on after a reload."""
        return self.models.setdefault(Version(name, str(version)), ModelStats())

    def page(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Families(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter([*self._readiness(), *self._requests(), *self._durations(), *self._queues()])

    def _readiness(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily("forwardpass_ready", "1 once every selected model answers, else 0.")
        ready.add_metric([], float(self._metrics.ready()))
        yield ready

    def _requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "forwardpass_requests",
            "Prediction requests that reached a model and ended, by outcome.",
            labels=["model", "version", "protocol", "outcome"],
        )
        invalid = CounterMetricFamily(
            "forwardpass_invalid_requests",
            "Prediction requests refused for what they contain, by error code.",
            labels=["model", "version", "code"],
        )
        outside = CounterMetricFamily(
            "forwardpass_out_of_range_values",
            "Feature values outside the range that training saw.",
            labels=["model", "version", "feature"],
        )
        unrouted = CounterMetricFamily(
            "forwardpass_unrouted_requests",
            "Prediction requests for a model that is unknown or not ready, by error code.",
            labels=["code"],
        )
        for version, stats in self._metrics.models.items():
            for (protocol, outcome), count in stats.requests.items():
                requests.add_metric([*version, protocol, outcome], count)
            for code, count in stats.invalid.items():
                invalid.add_metric([*version, code], count)
            # A copy, since a model's own thread may meet another feature meanwhile.
            for feature, count in list(stats.outside.items()):
                outside.add_metric([*version, feature], count)
        for code, count in self._metrics.unrouted.items():
            unrouted.add_metric([code], count)
        return requests, invalid, outside, unrouted

    def _durations(self) -> Iterable[Metric]:
        total = HistogramMetricFamily(
            "forwardpass_request_duration_seconds",
            "Time from the whole body read to the reply encoded, of successful requests.",
            labels=["model", "version"],
        )
        phases = HistogramMetricFamily(
            "forwardpass_phase_duration_seconds",
            "Time by phase: decode, queue and encode of a request, compute of a batch.",
            labels=["model", "version", "phase"],
        )
        for version, stats in self._metrics.models.items():
            total.add_metric([*version], stats.duration.cumulative(), stats.duration.total)
            for phase in ("decode", "queue", "compute", "encode"):
                histogram: Histogram = getattr(stats, phase)
                phases.add_metric([*version, phase], histogram.cumulative(), histogram.total)
        return total, phases

    def _queues(self) -> Iterable[Metric]:
        rows = HistogramMetricFamily("forwardpass_batch_rows", "Rows of a batch.", labels=["model", "version"])
        waiting = GaugeMetricFamily("forwardpass_queue_rows", "Rows that wait.", labels=["model", "version"])
        flying = GaugeMetricFamily(
            "forwardpass_requests_in_flight",
            "Prediction requests not yet answered.",
            labels=["model", "version"],
        )
        for version, stats in self._metrics.models.items():
            rows.add_metric([*version], stats.batch_rows.cumulative(), stats.batch_rows.total)
            waiting.add_metric([*version], stats.queue_rows())
            flying.add_metric([*version], stats.in_flight)
        return rows, waiting, flying
