"""Behaviour of service.ranges."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec.tensors import DTYPES, Array
from service.manifest import Datatype, Feature, ModelManifest
from service.ranges import Outside, Ranges
from tests.service.conftest import tensor


def manifest(*ranges: tuple[float | None, float | None], datatype: Datatype = "FP32") -> ModelManifest:
    """A model with an input without ranges and one of so many features."""
    features = tuple(
        Feature(name=f"f{place}", minimum=least, maximum=most) for place, (least, most) in enumerate(ranges)
    )
    return ModelManifest(
        schema=1,
        name="model",
        version=1,
        kind="regression",
        inputs=(tensor("plain", "FP32", 1), tensor("point", datatype, len(features), features=features)),
        outputs=(tensor("value", "FP32", 1),),
    )


def ranges_of(*ranges: tuple[float | None, float | None], datatype: Datatype = "FP32") -> Ranges:
    """The ranges of such a model."""
    found = Ranges.of(manifest(*ranges, datatype=datatype))
    assert found is not None
    return found


def inputs(rows: Any, datatype: Datatype = "FP32") -> tuple[np.ndarray[Any, Any], ...]:  # noqa: ANN401  # numbers
    """The inputs of such a model."""
    array = np.array(rows, DTYPES[datatype])
    return np.full((len(array), 1), 1e30, np.float32), array


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "BF16"])
def test_a_datatype_without_an_order_has_no_ranges(datatype: Datatype) -> None:
    """What cannot be compared is not compared."""
    assert Ranges.of(manifest((0, 1), datatype=datatype)) is None


def test_a_model_that_tells_no_ranges_has_none() -> None:
    """It is not looked at at all."""
    assert Ranges.of(manifest((None, None), (None, None))) is None


def counted(ranges: Ranges, arrays: Sequence[Array]) -> Counter[str]:
    """The values outside, by feature."""
    counter: Counter[str] = Counter()
    for feature, count in ranges.count(arrays):
        counter[feature] += count
    return counter


def test_values_outside_are_counted_by_feature() -> None:
    """Below and above count alike; the ends belong to the range, and an open end has no outside."""
    ranges = ranges_of((-1, 2), (None, 0), (3, None), (None, None))
    rows = inputs([[-1, 0, 3, 9e9], [2, 1, 2, -9e9], [2.5, -9, 9, 0], [-1.5, 0.5, 2.9, 0]])
    assert counted(ranges, rows) == {"f0": 2, "f1": 2, "f2": 2}


def test_values_inside_make_no_entries() -> None:
    """A feature is first told when it has something to tell."""
    assert not list(ranges_of((-1, 2), (0, 0)).count(inputs([[0, 0], [2, 0]])))


def test_a_bound_is_rounded_as_a_value_is() -> None:
    """The largest value that training saw is inside, also where its datatype cannot hold it exactly."""
    assert list(ranges_of((0.1, 2.1)).outside(inputs([[0.1], [2.1]]))) == []
    assert list(ranges_of((-1e9, 1e9), datatype="FP16").outside(inputs([[60000.0]], "FP16"))) == []


def test_what_is_no_number_is_not_outside() -> None:
    """It has its own rule."""
    assert list(ranges_of((0, 1)).outside(inputs([[np.nan]]))) == []


@pytest.mark.parametrize(
    ("least", "most", "inside", "outside"),
    [
        (0.5, 2.5, [1, 2], [0, 3]),
        (None, 1e30, [-(2**63), 2**63 - 1], []),
        (-1e30, 3, [-(2**63), 3], [4]),
        (9007199254740992, None, [9007199254740993], [9007199254740991]),
    ],
)
def test_integers_are_compared_as_integers(
    least: float | None, most: float | None, inside: list[int], outside: list[int]
) -> None:
    """All 64 bits count, and a bound between two integers lies between them."""
    ranges = ranges_of((least, most), datatype="INT64")
    found = ranges.outside(inputs([[value] for value in inside + outside], "INT64"))
    assert [one.value for one in found] == outside


def test_each_value_outside_is_told_with_its_place() -> None:
    """Input, row, feature and range, in the order of the rows."""
    found = ranges_of((-1, 2), (None, 0)).outside(inputs([[3, 0], [0, 0], [-2, 1]]))
    assert list(found) == [
        Outside("point", 0, "f0", -1, 2, 3.0),
        Outside("point", 2, "f0", -1, 2, -2.0),
        Outside("point", 2, "f1", None, 0, 1.0),
    ]


def test_the_last_dimension_has_the_features() -> None:
    """Also where a row has steps of several features each."""
    features = (Feature(name="f0", minimum=-1, maximum=2), Feature(name="f1", maximum=0))
    ranges = Ranges.of(
        ModelManifest(
            schema=1,
            name="model",
            version=1,
            kind="regression",
            inputs=(tensor("steps", "FP32", -1, 2, features=features),),
            outputs=(tensor("value", "FP32", 1),),
        )
    )
    assert ranges is not None
    steps = np.array([[[0, 0], [3, 0], [0, 0]], [[0, 0], [0, 0], [-2, 1]]], np.float32)
    assert list(ranges.outside((steps,))) == [
        Outside("steps", 0, "f0", -1, 2, 3.0),
        Outside("steps", 1, "f0", -1, 2, -2.0),
        Outside("steps", 1, "f1", None, 0, 1.0),
    ]
    assert counted(ranges, (steps,)) == {"f0": 2, "f1": 1}


@given(
    rows=st.lists(st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=2), min_size=1, max_size=20),
    least=st.floats(-3, 0, width=32),
    most=st.floats(0, 3, width=32),
)
def test_what_is_counted_is_what_is_told(rows: list[list[float]], least: float, most: float) -> None:
    """Both ways to look find just the values that a comparison by hand finds."""
    ranges = ranges_of((least, most), (None, most))
    counter = counted(ranges, inputs(rows))
    assert counter == Counter(one.feature for one in ranges.outside(inputs(rows)))
    assert counter["f0"] == sum(not least <= row[0] <= most for row in rows)
    assert counter["f1"] == sum(row[1] > most for row in rows)


@pytest.mark.parametrize("rows", [1, 21, 22, 5461, 5462, 11000])
def test_many_rows_are_counted_as_few(rows: int) -> None:
    """They are compared in blocks, and few values one by one: every value counts once."""
    table = np.random.default_rng(rows).normal(0, 1, (rows, 3)).astype(np.float32)
    counter = counted(ranges_of((-1, 1), (None, 0.5), (-2, None)), inputs(table))
    first, second, third = table.T
    expected = {"f0": np.sum((first < -1) | (first > 1)), "f1": np.sum(second > 0.5), "f2": np.sum(third < -2)}
    assert counter == {name: count for name, count in expected.items() if count}
