"""Behaviour of service.scoring.reading.json_judges."""

import pyarrow as pa
import pytest

from service.scoring.reading.json_judges import MISFIT, judge_of

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        (pa.float64(), [1, 1.5, None, float("nan")]),
        (pa.int64(), [1, None, LARGEST, -LARGEST - 1]),
        (pa.uint64(), [0, 2**64 - 1]),
        (pa.bool_(), [True, None]),
        (pa.string(), ["", "x", None]),
        (pa.list_(pa.float64()), [[], [1, None], None]),
        (pa.list_(pa.list_(pa.string())), [[["x"], []], [None]]),
        (pa.struct([("x", pa.int64())]), [{"x": "y"}, 1]),
    ],
)
def test_values_that_fit_stay_as_they_are(datatype: pa.DataType, values: list[object]) -> None:
    """All together and one by one; null is a value of every type."""
    judge = judge_of(datatype)
    assert judge.fits(values)
    assert judge.fits([])
    assert all(judge.fitting(value) is value for value in values)


@pytest.mark.parametrize(
    ("datatype", "value", "expected", "got"),
    [
        (pa.float64(), "x", "a number", "'x'"),
        (pa.float64(), True, "a number", "true"),
        (pa.float64(), [1], "a number", "a list of 1"),
        (pa.int64(), 1.5, "an integer", "1.5"),
        (pa.int64(), "1", "an integer", "'1'"),
        (pa.int64(), False, "an integer", "false"),
        (pa.int64(), LARGEST + 1, f"an integer from {-LARGEST - 1} to {LARGEST}", str(LARGEST + 1)),
        (pa.int64(), 1e19, f"an integer from {-LARGEST - 1} to {LARGEST}", "1e+19"),
        (pa.uint64(), -1, f"an integer from 0 to {2**64 - 1}", "-1"),
        (pa.bool_(), 1, "true or false", "1"),
        (pa.string(), {"x": 1}, "a string", "an object"),
        (pa.list_(pa.float64()), 1, "a list of numbers", "1"),
        (pa.list_(pa.float64()), [1, "x"], "a list of numbers", "one with 'x'"),
        (pa.list_(pa.list_(pa.int64())), [[1], [1.5]], "a list of lists of integers", "one with a list of 1"),
    ],
)
def test_a_misfit_is_told(datatype: pa.DataType, value: object, expected: str, got: str) -> None:
    """What was expected, and what came."""
    judge = judge_of(datatype)
    assert not judge.fits([value])
    assert judge.fitting(value) is MISFIT
    assert judge.fault(value) == (expected, got)


def test_a_whole_float_is_an_integer() -> None:
    """Also in lists."""
    assert not judge_of(pa.int64()).fits([1.0])
    assert repr(judge_of(pa.int64()).fitting(1.0)) == "1"
    assert repr(judge_of(pa.list_(pa.int64())).fitting([1.0, 2, None])) == "[1, 2, None]"
