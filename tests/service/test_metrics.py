"""Behaviour of service.metrics."""

import itertools
from typing import get_args

from service.metrics import PHASE_SECONDS, RETIRED, ROWS, SECONDS, Dialect, Histogram, Metrics, Outcome, Version
from tests.service.conftest import counting


def test_numbers_go_on_after_a_reload() -> None:
    """A version that is loaded again has the numbers it had."""
    metrics = Metrics()
    metrics.model("line", 1).invalid.add("shape_mismatch")
    assert metrics.model("line", 1).invalid.by_labels == {("shape_mismatch",): 1}
    assert metrics.model("line", 2).invalid.by_labels == {}


def test_bounds_ascend() -> None:
    """A value's bucket is found by bisection."""
    for bounds in (SECONDS, PHASE_SECONDS, ROWS):
        assert all(lower < upper for lower, upper in itertools.pairwise(bounds))


def test_a_request_in_flight_ends_once_in_some_way() -> None:
    """Whatever its outcome, it is in flight no longer, and counted by protocol and outcome."""
    stats = counting()
    ways = list(itertools.product(get_args(Dialect), get_args(Outcome)))
    for _ in ways:
        stats.begin()
    assert stats.in_flight == len(ways)
    for protocol, outcome in ways:
        if outcome == "ok":
            stats.answer(protocol, 0, 0, 0)
        elif outcome == "cancelled":
            stats.end(protocol, outcome)
        else:
            stats.fail(protocol, outcome, 0.5)
    assert stats.in_flight == 0
    assert stats.requests.by_labels == dict.fromkeys(ways, 1)
    assert stats.ended("ok", "failed") == 4
    assert stats.failed_seconds == 4


def test_an_observation_is_in_one_bucket() -> None:
    """The first whose bound it does not exceed."""
    histogram = Histogram((1, 2), [0] * 4)
    for value in (0, 1, 1.5, 2, 2.5, 100):
        histogram.observe(value)
    assert (histogram.counts, histogram.total, histogram.count) == ([2, 2, 2], 107, 6)


def test_batches_are_told_by_their_rows() -> None:
    """How many there were of each number, and how long they took together."""
    stats = counting()
    for rows, seconds in ((4, 0.5), (1, 0.25), (4, 1.5)):
        stats.count_batch(rows, seconds)
    assert stats.batches == {4: (2, 2.0), 1: (1, 0.25)}
    assert stats.batch_rows.total == 9
    assert stats.last_batch > 0


def test_what_was_not_counted_is_not_told() -> None:
    """Counts by labels begin with the first."""
    stats = counting()
    assert stats.requests.by_labels == stats.invalid.by_labels == {}
    stats.count_outside([("width", 2), ("height", 1), ("width", 3)])
    assert stats.outside.by_labels == {("width",): 5, ("height",): 1}


def test_only_the_last_versions_that_were_served_are_kept() -> None:
    """One that is served again is none of them; whatever is served is kept."""
    metrics = Metrics()
    served = metrics.model("line", 1000)
    for version in range(RETIRED):
        metrics.model("line", version)
        metrics.retire("line", str(version))
    assert len(metrics.models) == RETIRED + 1
    metrics.model("line", 0)
    metrics.model("line", 2000)
    metrics.retire("line", "2000")
    assert set(metrics.models) == {Version("line", str(version)) for version in (*range(RETIRED), 1000, 2000)}
    metrics.model("line", 3000)
    metrics.retire("line", "3000")
    assert Version("line", "1") not in metrics.models
    assert metrics.models[Version("line", "1000")] is served


def test_workers_have_room_for_many_versions() -> None:
    """Each of which ran batches of every size; only those that are shown are read."""
    metrics = Metrics(workers=2)
    metrics.numbers.take(0)
    for version in range(1, 61):
        stats = metrics.model("line", version)
        for rows in range(1, 1025):
            stats.count_batch(rows, 0.5)
        metrics.retire("line", str(version))
    total = metrics.total()
    assert len(total("line", 60).batches) == 1024
    assert total("line", 1).batches == {}


def test_a_reading_shows_what_the_server_has_counted() -> None:
    """By name and version; of one that nobody asked, nothing."""
    metrics = Metrics()
    metrics.model("line", 1).count_batch(4, 0.5)
    total = metrics.total()
    assert total("line", 1).batches == {4: (1, 0.5)}
    assert total("line", 2).batches == {}
