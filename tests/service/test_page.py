"""Behaviour of service.page."""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple, get_args

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import (
    SECONDS,
    Dialect,
    Histogram,
    Metrics,
    ModelStats,
    Outcome,
    Version,
)
from service.page import CONTENT_TYPE, Page

NAMES = {
    "forwardpass_ready": "gauge",
    "forwardpass_model_ready": "gauge",
    "forwardpass_model_info": "gauge",
    "forwardpass_requests": "counter",
    "forwardpass_invalid_requests": "counter",
    "forwardpass_out_of_range_values": "counter",
    "forwardpass_unrouted_requests": "counter",
    "forwardpass_worker_restarts": "counter",
    "forwardpass_model_loads": "counter",
    "forwardpass_request_duration_seconds": "histogram",
    "forwardpass_phase_duration_seconds": "histogram",
    "forwardpass_batch_rows": "histogram",
    "forwardpass_queue_rows": "gauge",
    "forwardpass_requests_in_flight": "gauge",
}


def families(metrics: Metrics) -> dict[str, Metric]:
    """The page, as Prometheus reads it."""
    return {family.name: family for family in text_string_to_metric_families(Page(metrics).render().decode())}


def samples(metrics: Metrics, family: str, suffix: str = "") -> dict[tuple[str, ...], float]:
    """The samples of a family by their labels' values, in the order of the labels' names."""
    return {
        tuple(sample.labels[name] for name in sorted(sample.labels)): sample.value
        for sample in families(metrics)[family].samples
        if sample.name == family + suffix
    }


def test_the_names_are_stable() -> None:
    """Dashboards are built on these names and types; before the first request all of them are there."""
    metrics = Metrics()
    metrics.model("line", 1)
    own = {name: family.type for name, family in families(metrics).items() if name.startswith("forwardpass")}
    assert own == NAMES


def test_every_family_says_what_it_is() -> None:
    """No name needs to be looked up elsewhere."""
    assert all(family.documentation for family in families(Metrics()).values())


def test_the_process_has_figures() -> None:
    """Memory and CPU time of the process come with the page."""
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= families(Metrics()).keys()


def test_the_content_type_is_that_of_the_text_format() -> None:
    """Scrapers choose their parser by it."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_requests_are_counted_by_model_version_protocol_and_outcome() -> None:
    """Each combination that occurred is a sample."""
    metrics = Metrics()
    for number, outcome in enumerate(get_args(Outcome), 1):
        metrics.model("line", 1).requests.add("v1", outcome, by=number)
    metrics.model("line", 2).requests.add("v2", "ok", by=7)
    expected = {("line", outcome, "v1", "1"): number for number, outcome in enumerate(get_args(Outcome), 1)}
    expected |= {("line", "ok", "v2", "2"): 7}
    found = samples(metrics, "forwardpass_requests", "_total")
    assert {labels: count for labels, count in found.items() if count} == expected


def test_answered_and_failed_requests_are_counted_from_zero() -> None:
    """The rate of a series that begins at one misses that one; a single failure must not be missed."""
    metrics = Metrics()
    metrics.model("line", 1)
    assert samples(metrics, "forwardpass_requests", "_total") == {
        ("line", outcome, protocol, "1"): 0 for outcome in ("ok", "failed") for protocol in get_args(Dialect)
    }


def test_a_histogram_appears_with_its_first_observation() -> None:
    """A version that is served but never asked costs the page a few lines."""
    metrics = Metrics()
    stats = metrics.model("line", 1)
    histograms = [name for name, kind in NAMES.items() if kind == "histogram"]
    assert [samples(metrics, name, "_count") for name in histograms] == [{}, {}, {}]
    stats.count_batch(1, 0.5)
    assert [samples(metrics, name, "_count") for name in histograms] == [
        {},
        {("line", "compute", "1"): 1},
        {("line", "1"): 1},
    ]


def test_invalid_requests_are_counted_by_code() -> None:
    """A request that reached no model is counted apart from those that a model refused."""
    metrics = Metrics()
    metrics.model("line", 1).invalid.add("shape_mismatch", by=2)
    metrics.unrouted.add("unknown_model", by=3)
    assert samples(metrics, "forwardpass_invalid_requests", "_total") == {("shape_mismatch", "line", "1"): 2}
    assert samples(metrics, "forwardpass_unrouted_requests", "_total") == {("unknown_model",): 3}


def test_loads_are_counted_by_how_they_ended() -> None:
    """Each version's by itself, those that failed and those that did not."""
    metrics = Metrics()
    metrics.loads.add("line", "2", "failed", by=2)
    metrics.loads.add("line", "2", "ok")
    assert samples(metrics, "forwardpass_model_loads", "_total") == {("line", "failed", "2"): 2, ("line", "ok", "2"): 1}


def test_gauges_show_the_moment_of_the_scrape() -> None:
    """Readiness is asked for; rows that wait and requests in flight go up and down."""
    metrics = Metrics()
    stats = metrics.model("line", 1)
    ready = iter([False, True])
    metrics.ready = lambda: next(ready)
    stats.wait(5)
    stats.begin()
    stats.begin()
    page = families(metrics)
    assert page["forwardpass_ready"].samples[0].value == 0
    assert page["forwardpass_queue_rows"].samples[0].value == 5
    assert page["forwardpass_requests_in_flight"].samples[0].value == 2
    stats.wait(1)
    stats.end("v1", "ok")
    page = families(metrics)
    assert page["forwardpass_requests_in_flight"].samples[0].value == 1
    assert page["forwardpass_ready"].samples[0].value == 1
    assert page["forwardpass_queue_rows"].samples[0].value == 6


def test_it_is_shown_which_versions_answer() -> None:
    """And of which kind they are; one that is selected and does not answer is shown as well."""
    metrics = Metrics()
    metrics.selected = lambda: [(Version("line", "1"), "regression"), (Version("vote", "2"), None)]
    assert samples(metrics, "forwardpass_model_info") == {("regression", "line", "1"): 1}
    assert samples(metrics, "forwardpass_model_ready") == {("line", "1"): 1, ("vote", "2"): 0}


def test_a_server_is_not_ready_before_it_says_so() -> None:
    """Until a catalog is asked, the answer is no."""
    assert samples(Metrics(), "forwardpass_ready") == {(): 0}


def test_every_phase_has_a_histogram() -> None:
    """Decode, queue, compute and encode are told apart, and the whole is a family of its own."""
    metrics = Metrics()
    stats = metrics.model("line", 1)
    for number, phase in enumerate((stats.decode, stats.queue, stats.compute, stats.encode), 1):
        phase.observe(number)
    stats.duration.observe(10)
    assert samples(metrics, "forwardpass_phase_duration_seconds", "_sum") == {
        ("line", "decode", "1"): 1,
        ("line", "queue", "1"): 2,
        ("line", "compute", "1"): 3,
        ("line", "encode", "1"): 4,
    }
    assert samples(metrics, "forwardpass_request_duration_seconds", "_sum") == {("line", "1"): 10}


def test_a_batch_is_counted_once() -> None:
    """Its rows and its duration are one observation each."""
    metrics = Metrics()
    metrics.model("line", 1).count_batch(5, 0.25)
    assert samples(metrics, "forwardpass_batch_rows", "_count") == {("line", "1"): 1}
    assert samples(metrics, "forwardpass_batch_rows", "_sum") == {("line", "1"): 5}
    assert samples(metrics, "forwardpass_phase_duration_seconds", "_sum")["line", "compute", "1"] == 0.25


def test_an_answer_is_observed_whole_and_in_its_phases() -> None:
    """Its decoding and encoding are told apart from the request's duration, each among the bounds of its own kind."""
    metrics = Metrics()
    stats = metrics.model("line", 1)
    stats.begin()
    stats.answer("v1", decode=2e-5, encode=3e-3, duration=4e-2)
    for histogram, value in ((stats.decode, 2e-5), (stats.encode, 3e-3), (stats.duration, 4e-2)):
        alone = Histogram(histogram.bounds, [0] * (len(histogram.bounds) + 2))
        alone.observe(value)
        assert (histogram.counts, histogram.total) == (alone.counts, alone.total)
    assert stats.in_flight == 0
    assert samples(metrics, "forwardpass_requests", "_total")["line", "ok", "v1", "1"] == 1


@given(values=st.lists(st.floats(0, 100) | st.sampled_from(SECONDS), min_size=1))
def test_a_bucket_holds_what_is_at_most_its_bound(values: list[float]) -> None:
    """Buckets are cumulative, the last one holds all, and the count and the sum are those of the observations."""
    metrics = Metrics()
    histogram = metrics.model("line", 1).duration
    for value in values:
        histogram.observe(value)
    page = samples(metrics, "forwardpass_request_duration_seconds", "_bucket")
    assert {float(labels[0]): count for labels, count in page.items()} == {
        bound: sum(value <= bound for value in values) for bound in (*SECONDS, math.inf)
    }
    assert samples(metrics, "forwardpass_request_duration_seconds", "_count") == {("line", "1"): len(values)}
    assert samples(metrics, "forwardpass_request_duration_seconds", "_sum") == {("line", "1"): histogram.total}


class Counted(NamedTuple):
    """What happened to a version: answers, batches, and values outside the range by feature."""

    answers: list[tuple[Dialect, float, float, float]]
    batches: list[tuple[int, float]]
    outside: dict[str, int]


NAME = st.text(st.characters(blacklist_categories=["Cs"]) | st.sampled_from('"\\\n%'), min_size=1, max_size=5)
VERSIONS = st.dictionaries(
    st.tuples(NAME, st.integers(1, 3)),
    st.builds(
        Counted,
        st.lists(st.tuples(st.sampled_from(get_args(Dialect)), *[st.floats(0, 100)] * 3), max_size=5),
        st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=5),
        st.dictionaries(NAME, st.integers(1, 2**53), max_size=3),
    ),
    max_size=3,
)
Held = Iterator[tuple[str, dict[str, str], float]]
"""Samples: name, labels, value."""


@given(versions=VERSIONS)
def test_the_page_shows_just_what_was_counted(versions: dict[tuple[str, int], Counted]) -> None:
    """Whatever the names and the numbers, what a scraper reads of a version is what its instruments hold."""
    metrics = Metrics()
    for (name, version), counted in versions.items():
        stats = metrics.model(name, version)
        for answer in counted.answers:
            stats.begin()
            stats.answer(*answer)
        for rows, seconds in counted.batches:
            stats.count_batch(rows, seconds)
        stats.count_outside(counted.outside.items())
    held = [sample for version, stats in metrics.models.items() for sample in held_by(version, stats)]
    shown = [
        (sample.name, sample.labels, sample.value)
        for family in families(metrics).values()
        for sample in family.samples
        if sample.name.startswith("forwardpass") and "model" in sample.labels
    ]
    assert sorted(shown, key=by_series) == sorted(held, key=by_series)


def by_series(sample: tuple[str, dict[str, str], float]) -> tuple[str, list[tuple[str, str]]]:
    """What tells a sample from all others of a page."""
    return sample[0], sorted(sample[1].items())


def held_by(version: Version, stats: ModelStats) -> Held:
    """All samples of a version, from its instruments."""
    labels = version._asdict()
    for protocol in get_args(Dialect):
        of_protocol = labels | {"protocol": protocol}
        yield "forwardpass_requests_total", of_protocol | {"outcome": "failed"}, 0
        answered = stats.requests.by_labels.get((protocol, "ok"), 0)
        yield "forwardpass_requests_total", of_protocol | {"outcome": "ok"}, answered
    for (feature,), count in stats.outside.by_labels.items():
        yield "forwardpass_out_of_range_values_total", labels | {"feature": feature}, count
    yield "forwardpass_requests_in_flight", labels, 0
    yield "forwardpass_queue_rows", labels, 0
    yield from held_in("forwardpass_request_duration_seconds", labels, stats.duration)
    yield from held_in("forwardpass_batch_rows", labels, stats.batch_rows)
    for phase in ("decode", "queue", "compute", "encode"):
        yield from held_in("forwardpass_phase_duration_seconds", labels | {"phase": phase}, getattr(stats, phase))


def held_in(name: str, labels: dict[str, str], histogram: Histogram) -> Held:
    """The samples of a histogram, none where nothing was observed."""
    if any(histogram.counts):
        for place, upper in enumerate([*map(str, map(float, histogram.bounds)), "+Inf"]):
            yield f"{name}_bucket", labels | {"le": upper}, sum(histogram.counts[: place + 1])
        yield f"{name}_count", labels, sum(histogram.counts)
        yield f"{name}_sum", labels, histogram.total


@given(name=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1))
def test_any_label_survives_the_page(name: str) -> None:
    """Quotes, backslashes and line ends in a value do not break the format."""
    metrics = Metrics()
    metrics.unrouted.add(name)
    assert samples(metrics, "forwardpass_unrouted_requests", "_total") == {(name,): 1}


def test_the_order_of_a_page_is_not_that_of_what_happened() -> None:
    """Two processes that counted the same show the same."""
    happened = list(itertools.product(("line", "curve"), (1, 2), get_args(Dialect), get_args(Outcome)))
    pages = []
    for order in (happened, happened[::-1]):
        metrics = Metrics()
        for name, version, protocol, outcome in order:
            stats = metrics.model(name, version)
            stats.requests.add(protocol, outcome)
            stats.invalid.add(f"code_of_{outcome}")
            stats.outside.add(f"feature_of_{outcome}")
            metrics.unrouted.add(name)
        pages.append(Page(metrics).render().partition(b"# HELP process")[0])
    assert pages[0] == pages[1]


def test_a_page_of_nine_models_stays_small() -> None:
    """A page is made on the event loop, and each of its series is kept by whoever scrapes it."""
    metrics = Metrics()
    for number in range(9):
        stats = metrics.model(f"model_{number}", 1)
        stats.answer("v2", decode=1e-5, encode=1e-5, duration=1e-4)
        stats.queue.observe(1e-5)
        stats.count_batch(1, 1e-5)
    assert sum(len(family.samples) for family in families(metrics).values()) < 610
