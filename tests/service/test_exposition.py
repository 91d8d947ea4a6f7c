"""Behaviour of service.exposition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.exposition import Family, HistogramFamily, number

TEXT = st.text(st.characters(blacklist_categories=["Cs"]) | st.sampled_from('"\\\n%{},= #'))
AWKWARD = ['"', "\\", "\n", "\\n", '\\"', "%", "%s", "%%", "{}", 'a="b",', "", " ", "größe", "\r", "\u2028", "# HELP"]


def parsed(text: str) -> Metric:
    """The only family of a text, as Prometheus reads it."""
    (family,) = text_string_to_metric_families(text)
    return family


def test_a_family_is_written_line_by_line() -> None:
    """Name and kind once, then each sample with its labels by their names."""
    family = Family("errors_total", "counter", "What went wrong.", ("where", "code"))
    text = family.head + family.sample([2], "here", "a") + family.sample([0.5], "there", "b")
    assert text == (
        "# HELP errors_total What went wrong.\n"
        "# TYPE errors_total counter\n"
        'errors_total{code="a",where="here"} 2.0\n'
        'errors_total{code="b",where="there"} 0.5\n'
    )


def test_a_family_without_labels_has_no_braces() -> None:
    """Its one series is its name."""
    assert Family("ready", "gauge", "Whether.").sample([1]) == "ready 1.0\n"


def test_a_histogram_is_written_line_by_line() -> None:
    """Its buckets hold all that is below their bounds; then come the sum and the count."""
    family = HistogramFamily("seconds", "How long.", (0.5, 1), ("model",))
    assert family.head + family.sample([1, 0, 2, 7.25], "line") == (
        "# HELP seconds How long.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{le="0.5",model="line"} 1\n'
        'seconds_bucket{le="1.0",model="line"} 1\n'
        'seconds_bucket{le="+Inf",model="line"} 3\n'
        'seconds_sum{model="line"} 7.25\n'
        'seconds_count{model="line"} 3\n'
    )


def test_a_histogram_without_labels_has_the_bounds_alone() -> None:
    """Only the buckets have braces."""
    lines = HistogramFamily("seconds", "How long.", (1,)).sample([1, 1, 3.0]).splitlines()
    assert lines == ['seconds_bucket{le="1.0"} 1', 'seconds_bucket{le="+Inf"} 2', "seconds_sum 3.0", "seconds_count 2"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (True, "1.0"),
        (5e-05, "5e-05"),
        (-0.1, "-0.1"),
        (1e22, "1e+22"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (np.float64(0.25), "0.25"),
        (np.float64(math.inf), "+Inf"),
    ],
)
def test_a_number_is_written_as_the_format_has_it(value: float, text: str) -> None:
    """Also one that is not finite, and one of another library's kind."""
    assert number(value) == text


@given(value=st.floats(allow_nan=False))
def test_a_number_comes_back_whole(value: float) -> None:
    """No digit is lost."""
    (sample,) = parsed(Family("level", "gauge", "How high.").sample([value])).samples
    assert sample.value == value


@pytest.mark.parametrize("awkward", AWKWARD)
def test_awkward_labels_come_back_whole(awkward: str) -> None:
    """Quotes, backslashes and ends of lines are escaped; a percent sign is none of ours."""
    check_labels(awkward, "other")
    check_labels("other", awkward)


@given(first=TEXT, second=TEXT)
def test_any_labels_come_back_whole(first: str, second: str) -> None:
    """Of a counter as of a histogram."""
    check_labels(first, second)


def check_labels(first: str, second: str) -> None:
    """What a scraper reads has these labels."""
    wanted = {"a": first, "b": second}
    counter = Family("ends_total", "counter", "How many.", ("a", "b"))
    (sample,) = parsed(counter.head + counter.sample([3], first, second)).samples
    assert (sample.labels, sample.value) == (wanted, 3)
    histogram = HistogramFamily("seconds", "How long.", (1,), ("a", "b"))
    shown = parsed(histogram.head + histogram.sample([1, 0, 0.5], first, second)).samples
    assert [{name: value for name, value in sample.labels.items() if name != "le"} for sample in shown] == [wanted] * 4


@given(meaning=TEXT)
def test_any_meaning_stays_on_its_line(meaning: str) -> None:
    """Backslashes and ends of lines are escaped."""
    family = Family("level", "gauge", meaning)
    text = family.head + family.sample([1])
    assert text.count("\n") == 3
    read = parsed(text)
    # Spaces at the ends are the parser's to drop.
    assert (read.documentation.strip(), read.type, len(read.samples)) == (meaning.strip(), "gauge", 1)


@given(counts=st.lists(st.integers(0, 2**40), min_size=1, max_size=8), total=st.floats(0, 1e12))
def test_buckets_grow_to_the_count(counts: list[int], total: float) -> None:
    """Each bucket holds at least what the one below it holds, and no more than its own beside."""
    family = HistogramFamily("seconds", "How long.", range(len(counts) - 1))
    shown = parsed(family.head + family.sample([*counts, total])).samples
    if not sum(counts):
        # What nothing was observed in is not shown.
        assert not shown
        return
    buckets = [sample.value for sample in shown if sample.name == "seconds_bucket"]
    assert [upper - lower for lower, upper in zip([0, *buckets], buckets, strict=False)] == counts
    assert {sample.name: sample.value for sample in shown[-2:]} == {"seconds_sum": total, "seconds_count": sum(counts)}


def test_labels_are_as_many_as_the_family_has() -> None:
    """A value too few or too many is a mistake, never a series of another kind."""
    for values in ((), ("a", "b")):
        with pytest.raises(ValueError, match="zip"):
            Family("ends_total", "counter", "How many.", ("one",)).sample([1], *values)
