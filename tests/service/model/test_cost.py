"""Behaviour of service.model.cost."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.cost import AROUND_A_RUN, ENOUGH, LONGEST_UNMEASURED, CostCurve

POINTS = st.lists(st.tuples(st.integers(1, 4096), st.floats(1e-7, 10)), min_size=1, max_size=20)


@given(points=POINTS, rows=st.lists(st.integers(1, 10_000), min_size=2, max_size=20))
def test_a_larger_batch_never_costs_less(points: list[tuple[int, float]], rows: list[int]) -> None:
    """Whatever was measured, the prediction grows with the rows."""
    curve = CostCurve(points)
    seconds = [curve.seconds(one) for one in sorted(rows)]
    assert all(one <= other * (1 + 1e-9) for one, other in pairwise(seconds))


@given(points=POINTS)
def test_no_prediction_is_above_what_was_measured(points: list[tuple[int, float]]) -> None:
    """A batch costs no more than any measurement of as many rows or more."""
    curve = CostCurve(points)
    for rows, seconds in points:
        assert curve.seconds(rows) <= seconds * (1 + 1e-9)
        assert curve.seconds(rows) > 0


@given(points=POINTS, limit=st.integers(1, 8192))
def test_the_largest_batch_wastes_nothing_and_waits_for_nothing(points: list[tuple[int, float]], limit: int) -> None:
    """It is within the limit, and of what was measured there none has noticeably more rows a second."""
    curve = CostCurve(points)
    largest = curve.largest(limit)
    assert 1 <= largest <= limit
    known = [rows for rows, _ in points if rows <= limit]
    for rows in known:
        rate, best = (size / (AROUND_A_RUN + curve.seconds(size)) for size in (largest, rows))
        assert rate >= ENOUGH * best * (1 - 1e-9)


@given(points=POINTS, limit=st.integers(1, 8192))
def test_a_batch_beyond_what_was_measured_is_short(points: list[tuple[int, float]], limit: int) -> None:
    """Nobody waits long for a batch of which nothing is known."""
    curve = CostCurve(points)
    largest = curve.largest(limit)
    measured = [rows for rows, _ in points]
    assert min(limit, *measured) <= largest
    if largest > max(measured):
        assert curve.seconds(largest) <= LONGEST_UNMEASURED


def test_between_measurements_the_curve_is_a_line() -> None:
    """Below the smallest size it is flat, beyond the largest each row costs the same."""
    curve = CostCurve([(4, 0.010), (2, 0.004)])
    assert [curve.seconds(rows) for rows in (1, 2, 3, 4, 8, 400)] == pytest.approx(
        [0.004, 0.004, 0.007, 0.01, 0.02, 1.0]
    )


def test_a_disturbed_measurement_does_not_count() -> None:
    """What a larger batch did in less time, and what a second try did, a batch can do."""
    curve = CostCurve([(1, 5.0), (2, 0.3), (2, 0.2), (4, 0.25)])
    assert [curve.seconds(rows) for rows in (1, 2, 4)] == [0.2, 0.2, 0.25]


@pytest.mark.parametrize(
    ("points", "limit", "largest"),
    [
        # Each row costs the same: a batch brings nothing.
        ([(1, 0.001), (2, 0.002), (4, 0.004), (8, 0.008)], 8, 1),
        # All cost the same: the more the better.
        ([(1, 0.001), (2, 0.001), (4, 0.001), (8, 0.001)], 8, 8),
        ([(1, 0.001), (2, 0.001), (4, 0.001), (8, 0.001)], 6, 6),
        # From four on the gain is below what is noticed.
        ([(1, 0.010), (2, 0.012), (4, 0.016), (8, 0.031), (16, 0.061)], 16, 4),
        # It still grows where the measurement ended: on, as long as nobody waits for long.
        ([(1, 0.020), (2, 0.025)], 256, 8),
        ([(1, 0.020)], 256, 4),
        ([(1, 0.500)], 256, 1),
        ([(1, 0.001), (2, 0.001)], 100, 100),
    ],
)
def test_a_batch_grows_as_long_as_it_gains(points: list[tuple[int, float]], limit: int, largest: int) -> None:
    """The smallest batch is taken that computes nearly as many rows a second as the best."""
    assert CostCurve(points).largest(limit) == largest
