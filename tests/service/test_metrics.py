"""Behaviour of service.metrics."""

import itertools
import math
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import CONTENT_TYPE, ROWS, SECONDS, Histogram, Metrics, Outcome

NAMES = {
    "forwardpass_ready": "gauge",
    "forwardpass_requests": "counter",
    "forwardpass_invalid_requests": "counter",
    "forwardpass_out_of_range_values": "counter",
    "forwardpass_unrouted_requests": "counter",
    "forwardpass_request_duration_seconds": "histogram",
    "forwardpass_phase_duration_seconds": "histogram",
    "forwardpass_batch_rows": "histogram",
    "forwardpass_queue_rows": "gauge",
    "forwardpass_requests_in_flight": "gauge",
}


def families(metrics: Metrics) -> dict[str, Metric]:
    """The page, as Prometheus reads it."""
    return {family.name: family for family in text_string_to_metric_families(metrics.page().decode())}


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
        metrics.model("line", 1).requests["v1", outcome] += number
    metrics.model("line", 2).requests["v2", "ok"] += 7
    expected = {("line", outcome, "v1", "1"): number for number, outcome in enumerate(get_args(Outcome), 1)}
    assert samples(metrics, "forwardpass_requests", "_total") == expected | {("line", "ok", "v2", "2"): 7}


def test_invalid_requests_are_counted_by_code() -> None:
    """A request that reached no model is counted apart from those that a model refused."""
    metrics = Metrics()
    metrics.model("line", 1).invalid["shape_mismatch"] += 2
    metrics.unrouted["unknown_model"] += 3
    assert samples(metrics, "forwardpass_invalid_requests", "_total") == {("shape_mismatch", "line", "1"): 2}
    assert samples(metrics, "forwardpass_unrouted_requests", "_total") == {("unknown_model",): 3}


def test_gauges_show_the_moment_of_the_scrape() -> None:
    """Readiness, waiting rows and requests in flight are asked for, not remembered."""
    metrics = Metrics()
    stats = metrics.model("line", 1)
    waiting, ready = iter([5, 6]), iter([False, True])
    stats.queue_rows = lambda: next(waiting)
    metrics.ready = lambda: next(ready)
    stats.in_flight = 2
    page = families(metrics)
    assert page["forwardpass_ready"].samples[0].value == 0
    assert page["forwardpass_queue_rows"].samples[0].value == 5
    assert page["forwardpass_requests_in_flight"].samples[0].value == 2
    page = families(metrics)
    assert page["forwardpass_ready"].samples[0].value == 1
    assert page["forwardpass_queue_rows"].samples[0].value == 6


def test_a_server_is_not_ready_before_it_says_so() -> None:
    """Until a catalog is asked, the answer is no."""
    assert samples(Metrics(), "forwardpass_ready") == {(): 0}


def test_numbers_go_on_after_a_reload() -> None:
    """A version that is loaded again has the numbers it had."""
    metrics = Metrics()
    metrics.model("line", 1).requests["v1", "ok"] += 1
    assert metrics.model("line", 1).requests["v1", "ok"] == 1
    assert metrics.model("line", 2).requests["v1", "ok"] == 0


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


def test_bounds_ascend() -> None:
    """A value's bucket is found by bisection."""
    for bounds in (SECONDS, ROWS):
        assert all(lower < upper for lower, upper in itertools.pairwise(bounds))


@given(values=st.lists(st.floats(0, 100) | st.sampled_from(SECONDS)))
def test_a_bucket_holds_what_is_at_most_its_bound(values: list[float]) -> None:
    """Buckets are cumulative, the last one holds all, and the page shows the same counts and sum."""
    histogram = Histogram(SECONDS)
    for value in values:
        histogram.observe(value)
    buckets = histogram.cumulative()
    assert [float(bound) for bound, _ in buckets] == [*SECONDS, math.inf]
    for bound, count in buckets:
        assert count == sum(value <= float(bound) for value in values)
    metrics = Metrics()
    metrics.model("line", 1).duration = histogram
    page = samples(metrics, "forwardpass_request_duration_seconds", "_bucket")
    assert {float(labels[0]): count for labels, count in page.items()} == {float(b): c for b, c in buckets}
    assert samples(metrics, "forwardpass_request_duration_seconds", "_count") == {("line", "1"): len(values)}
    assert samples(metrics, "forwardpass_request_duration_seconds", "_sum")["line", "1"] == histogram.total


@given(name=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1))
def test_any_label_survives_the_page(name: str) -> None:
    """Quotes, backslashes and line ends in a value do not break the format."""
    metrics = Metrics()
    metrics.unrouted[name] += 1
    assert samples(metrics, "forwardpass_unrouted_requests", "_total") == {(name,): 1}


def test_a_page_of_ten_models_stays_small() -> None:
    """A page is made on the event loop: what one model adds is bounded."""
    metrics = Metrics()
    for number in range(10):
        metrics.model(f"model_{number}", 1)
    per_model = sum(len(family.samples) for family in families(metrics).values()) / 10
    assert per_model < 130
