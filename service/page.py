"""Prometheus' page: what of the numbers it is shown, under which names, and what each means."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Literal

from prometheus_client import ProcessCollector

from service.exposition import Family, HistogramFamily
from service.metrics import (
    BATCH_ROWS,
    DURATION,
    IN_FLIGHT,
    INVALID,
    LOADS,
    OUTSIDE,
    PHASE_SECONDS,
    PHASES,
    PROCESS,
    QUEUE_ROWS,
    REQUESTS,
    RESTARTS,
    ROWS,
    SECONDS,
    UNROUTED,
    Metrics,
    Version,
)
from service.numbers import Owner

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_VERSION = Version._fields
_COUNTED: tuple[tuple[str, Literal["counter", "gauge"], str, tuple[str, ...]], ...] = (
    (RESTARTS, "counter", "Worker processes that ended unasked and were replaced.", ()),
    (
        UNROUTED,
        "counter",
        "Prediction requests that reached no model, by error code: there is none, or what was sent is unreadable.",
        ("code",),
    ),
    (
        LOADS,
        "counter",
        "Attempts to load a version, at start and while running, by outcome: ok or failed.",
        (*_VERSION, "outcome"),
    ),
    (
        REQUESTS,
        "counter",
        "Prediction requests that reached a model and ended, by outcome.",
        (*_VERSION, "protocol", "outcome"),
    ),
    (INVALID, "counter", "Prediction requests refused for what they contain, by error code.", (*_VERSION, "code")),
    (OUTSIDE, "counter", "Feature values outside the range that training saw.", (*_VERSION, "feature")),
    (IN_FLIGHT, "gauge", "Prediction requests not yet answered.", _VERSION),
    (QUEUE_ROWS, "gauge", "Rows that wait.", _VERSION),
)
"""What is one number, in the order of the page: name, type, meaning, labels."""
_OBSERVED: tuple[tuple[str, str, Sequence[float], tuple[str, ...]], ...] = (
    (DURATION, "Time from the whole body read to the reply encoded, of successful requests.", SECONDS, _VERSION),
    (
        PHASES,
        "Time by phase: decode, queue and encode of a request, compute of a batch.",
        PHASE_SECONDS,
        (*_VERSION, "phase"),
    ),
    (BATCH_ROWS, "Rows of a batch.", ROWS, _VERSION),
)
"""The histograms behind them: name, meaning, bounds, labels."""


class Page:
    """What Prometheus is shown, in this order."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ready = Family("forwardpass_ready", "gauge", "1 once every selected model answers, else 0.")
        self._model_ready = Family(
            "forwardpass_model_ready", "gauge", "1 where a version that is selected answers, else 0.", _VERSION
        )
        self._info = Family(
            "forwardpass_model_info", "gauge", "Always 1: what kind of model a version is.", (*_VERSION, "kind")
        )
        self._families: list[Family | HistogramFamily] = [Family(*one) for one in _COUNTED]
        self._families += [HistogramFamily(*one) for one in _OBSERVED]
        self._names = {PROCESS, *(family.name for family in self._families)}
        """What of the numbers it needs."""
        self._process: dict[str, Family] = {}

    def render(self) -> bytes:
        """The metrics in Prometheus' text format, always in the same order.

        Each version has its answered and its failed requests from zero on, so that a rate sees the first of them too;
        every other series that something is counted in appears with its first count.
        """
        return "".join(self._parts()).encode()

    def _parts(self) -> Iterator[str]:
        """Each family's head, then its samples."""
        metrics, shown = self._metrics, self._metrics.models
        total = metrics.numbers.total(
            lambda owner: owner.family in self._names and (not owner.labels or owner.labels in shown)
        )
        yield self._ready.head
        yield self._ready.sample([metrics.ready()])
        selected = list(metrics.selected())
        yield self._model_ready.head
        for key, kind in selected:
            yield self._model_ready.sample([kind is not None], *key)
        yield self._info.head
        for key, kind in selected:
            if kind is not None:
                yield self._info.sample([1], *key, kind)
        owners = defaultdict(list)
        for owner in total.owners():
            if not owner.labels or Version(*owner.labels) in shown:
                owners[owner.family].append(owner)
        for family in self._families:
            yield family.head
            for owner in sorted(owners[family.name]):
                # A copy, since a model's own thread may meet another feature meanwhile.
                for labels, cells in sorted(total.of(owner).items(), key=itemgetter(0)):
                    yield family.sample(cells, *owner.labels, *labels)
        workers = {worker: int(pid) for (worker,), (pid,) in total.of(Owner(PROCESS)).items()}
        yield from self._processes(workers)

    def _processes(self, workers: Mapping[str, int]) -> Iterator[str]:
        """The figures that every client library of Prometheus has: of this process, or of each worker."""
        found: dict[str, list[str]] = {}
        for worker, pid in sorted(workers.items()) or [("", os.getpid())]:
            labels = (worker,) if worker else ()
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                for sample in metric.samples:
                    family = self._process.get(sample.name)
                    if family is None:
                        names = ("worker",) if labels else ()
                        kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
                        family = self._process[sample.name] = Family(sample.name, kind, metric.documentation, names)
                    found.setdefault(family.head, []).append(family.sample([sample.value], *labels))
        for head, samples in found.items():
            yield head
            yield from samples
