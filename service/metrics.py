"""Every number the service counts. The hot path bumps plain numbers; Prometheus' page is written when scraped."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from operator import itemgetter
from time import time
from typing import Literal, NamedTuple, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from service.exposition import Family, HistogramFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Each bound is a series of each version, for Prometheus to keep. The request's duration is what promises are made of:
# three bounds a decade where a server alone answers, fewer in the seconds of a queue about to be refused.
SECONDS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0, 10.0)
# A phase is asked which of the four is slow, and has its mean beside; from the 6 µs of a tiny network, by decades.
PHASE_SECONDS = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
# The first bound tells whether requests share batches at all, the others about how many.
ROWS = (1, 4, 16, 64, 256, 1024)

Dialect = Literal["v1", "v2"]
"""The protocol of a request: rows, or the Open Inference Protocol."""
"""What predictions are asked in."""

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


class ModelStats:
    """The numbers of one version of one model; written on the event loop only."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[Dialect, Outcome]] = Counter()
        """Ended requests by protocol and outcome."""
        self.invalid: Counter[str] = Counter()
        """Requests refused for their content, by error code."""
        self.outside: Counter[str] = Counter()
        """Values outside the range that training saw, by feature; written where batches are computed."""
        self.in_flight = 0
        self.duration = Histogram(SECONDS)
        self.decode = Histogram(PHASE_SECONDS)
        self.queue = Histogram(PHASE_SECONDS)
        self.compute = Histogram(PHASE_SECONDS)
        self.encode = Histogram(PHASE_SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.queue_rows: Callable[[], int] = lambda: 0

        self.failed_seconds = 0.0
        """What the requests took that were not answered, from their first byte decoded to their error."""
        self.batches: dict[int, tuple[int, float]] = {}
        """For each number of rows, how many batches had it and the seconds they took together."""
        self.last_batch = 0.0
        """When a batch was last computed, in seconds since 1970."""

    def end(self, protocol: Dialect, outcome: Outcome) -> None:
        """Count the end of a request in flight."""
        self.in_flight -= 1
        self.requests[protocol, outcome] += 1

    def answer(self, protocol: Dialect, decode: float, encode: float, duration: float) -> None:
        """Count a request in flight that is answered, with the seconds that it took."""
        # `observe`, three times, without its calls.
        histogram = self.decode
        histogram.counts[bisect_left(PHASE_SECONDS, decode)] += 1
        histogram.total += decode
        histogram = self.encode
        histogram.counts[bisect_left(PHASE_SECONDS, encode)] += 1
        histogram.total += encode
        histogram = self.duration
        histogram.counts[bisect_left(SECONDS, duration)] += 1
        histogram.total += duration
        self.end(protocol, "ok")

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
        self.loads: Counter[tuple[str, str, str]] = Counter()
        """Attempts to load a version, by its model, its number and how they ended: `ok` or `failed`."""
        self._families = _Families()
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    def model(self, name: str, version: int) -> ModelStats:
        """The numbers of a version, which begin at zero the first time and go on after a reload."""
        return self.models.setdefault(Version(name, str(version)), ModelStats())

    def page(self) -> bytes:
        """The metrics in Prometheus' text format, always in the same order.

        Each version has its answered and its failed requests from zero on, so that a rate sees the first of them too;
        every other series that something is counted in appears with its first count.
        """
        return "".join(self._families.text(self)).encode() + generate_latest(self._process)


_FROM_ZERO = dict.fromkeys(product(get_args(Dialect), ("ok", "failed")), 0)

_Samples = Callable[[ModelStats], Iterable[tuple[tuple[str, ...], float]]]
"""What a version has in a family, by the labels that it does not have in all of them."""
_Histograms = Callable[[ModelStats], Iterable[tuple[tuple[str, ...], Histogram]]]


class _Families:
    """What a page shows beside the process' own figures."""

    def __init__(self) -> None:
        self._ready = Family("forwardpass_ready", "gauge", "1 once every selected model answers, else 0.")
        self._unrouted = Family(
            "forwardpass_unrouted_requests_total",
            "counter",
            "Prediction requests that reached no model, by error code: there is none, or what was sent is unreadable.",
            ("code",),
        )
        self._loads = Family(
            "forwardpass_model_loads_total",
            "counter",
            "Attempts to load a version, at start and while running, by outcome: ok or failed.",
            (*Version._fields, "outcome"),
        )
        self._numbers = _families_of_numbers()
        self._histograms = _families_of_histograms()

    def text(self, metrics: Metrics) -> Iterator[str]:
        """The page's parts: each family's head, then its samples."""
        yield self._ready.head
        yield self._ready.sample(metrics.ready())
        yield self._unrouted.head
        for code, count in sorted(metrics.unrouted.items()):
            yield self._unrouted.sample(count, code)
        yield self._loads.head
        for load, count in sorted(metrics.loads.items()):
            yield self._loads.sample(count, *load)
        models = sorted(metrics.models.items(), key=itemgetter(0))
        for family, samples in self._numbers:
            yield family.head
            for version, stats in models:
                for labels, value in sorted(samples(stats), key=itemgetter(0)):
                    yield family.sample(value, *version, *labels)
        for histograms, held in self._histograms:
            yield histograms.head
            for version, stats in models:
                for labels, one in held(stats):
                    if one.count:
                        yield histograms.samples(one.counts, one.total, *version, *labels)


def _families_of_numbers() -> list[tuple[Family, _Samples]]:
    version = Version._fields
    requests = Family(
        "forwardpass_requests_total",
        "counter",
        "Prediction requests that reached a model and ended, by outcome.",
        (*version, "protocol", "outcome"),
    )
    invalid = Family(
        "forwardpass_invalid_requests_total",
        "counter",
        "Prediction requests refused for what they contain, by error code.",
        (*version, "code"),
    )
    outside = Family(
        "forwardpass_out_of_range_values_total",
        "counter",
        "Feature values outside the range that training saw.",
        (*version, "feature"),
    )
    flying = Family("forwardpass_requests_in_flight", "gauge", "Prediction requests not yet answered.", version)
    waiting = Family("forwardpass_queue_rows", "gauge", "Rows that wait.", version)
    return [
        (requests, lambda stats: {**_FROM_ZERO, **stats.requests}.items()),
        (invalid, lambda stats: (((code,), count) for code, count in stats.invalid.items())),
        # A copy, since a model's own thread may meet another feature meanwhile.
        (outside, lambda stats: (((feature,), count) for feature, count in list(stats.outside.items()))),
        (flying, lambda stats: [((), stats.in_flight)]),
        (waiting, lambda stats: [((), stats.queue_rows())]),
    ]


def _families_of_histograms() -> list[tuple[HistogramFamily, _Histograms]]:
    version = Version._fields
    duration = HistogramFamily(
        "forwardpass_request_duration_seconds",
        "Time from the whole body read to the reply encoded, of successful requests.",
        SECONDS,
        version,
    )
    phases = HistogramFamily(
        "forwardpass_phase_duration_seconds",
        "Time by phase: decode, queue and encode of a request, compute of a batch.",
        PHASE_SECONDS,
        (*version, "phase"),
    )
    rows = HistogramFamily("forwardpass_batch_rows", "Rows of a batch.", ROWS, version)
    return [
        (duration, lambda stats: [((), stats.duration)]),
        (
            phases,
            lambda stats: [
                (("decode",), stats.decode),
                (("queue",), stats.queue),
                (("compute",), stats.compute),
                (("encode",), stats.encode),
            ],
        ),
        (rows, lambda stats: [((), stats.batch_rows)]),
    ]
