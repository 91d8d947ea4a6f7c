"""Behaviour of service.scoring.misfits."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from service.codec.words import LONGEST_CONTEXT
from service.errors import MAX_FAULTS
from service.manifest import TensorSpec
from service.scoring.layout import Cell
from service.scoring.misfits import faults_of
from tests.service.conftest import tensor

CONTEXT = TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=("<unknown>", "the", "of"))
IDS = TensorSpec(name="x", datatype="INT64", shape=(-1, 1), vocabulary=("<unknown>", "the", "of"))


def told(
    spec: TensorSpec, shape: tuple[int, ...], column: pa.Array, *, takes_words: bool = False
) -> list[tuple[str, str]]:
    """What was expected and what was got, of a column's first cell."""
    cell, place, row = Cell("x", spec, shape), np.array([0]), np.array([7])
    faults = list(faults_of(cell, column, place, row, takes_words=takes_words))
    assert {(fault.row, fault.column) for fault in faults} == {(7, "x")}
    return [(fault.expected, fault.got) for fault in faults]


@pytest.mark.parametrize(
    ("datatype", "column", "expected", "got"),
    [
        ("FP32", ["x"], "a number that FP32 can hold", "'x'"),
        ("FP16", [""], "a number that FP16 can hold", "''"),
        ("FP32", ["1" * 50], "a number that FP32 can hold", f"'{'1' * 39}…"),
        ("INT8", ["300"], "an integer that INT8 can hold", "'300'"),
        ("BOOL", ["yes"], "0 or 1 that BOOL can hold", "'yes'"),
        ("FP32", pa.array([None], pa.string()), "a number", "null"),
        ("FP32", pa.array([None], pa.float64()), "a number", "null"),
        ("FP32", [math.nan], "a number within ±3.403e+38", "nan"),
        ("FP32", [math.inf], "a number within ±3.403e+38", "a number too large"),
        ("FP32", [1e39], "a number within ±3.403e+38", "1e+39"),
        ("FP16", [70000], "a number within ±6.55e+04", "70000"),
        ("FP32", [Decimal("1e39")], "a number within ±3.403e+38", "1e+39"),
        ("INT8", [300], "an integer from -128 to 127", "300"),
        ("INT64", [0.5], "an integer", "0.5"),
        ("INT64", [math.nan], "an integer", "nan"),
        ("INT64", [None], "an integer", "null"),
        ("BOOL", [2], "true or false", "2"),
        ("BYTES", pa.array([None], pa.string()), "a string", "null"),
    ],
)
def test_an_element_is_told_in_the_words_of_http(datatype: Any, column: Any, expected: str, got: str) -> None:  # noqa: ANN401  # cells
    """But for text, of which only what it should spell is known."""
    assert told(tensor("x", datatype, 1), (), pa.array(column)) == [(expected, got)]


@pytest.mark.parametrize(
    ("spec", "value", "faults"),
    [
        (tensor("x", "FP32", 2), None, [("a list of 2 numbers", "null")]),
        (tensor("x", "FP32", 2), [1.0], [("a list of 2 numbers", "a list of 1")]),
        (tensor("x", "FP32", -1), [], [("a list of 1 or more numbers", "a list of 0")]),
        (
            tensor("x", "FP32", 2),
            [math.nan, None],
            [("a number within ±3.403e+38 at /0", "nan"), ("a number at /1", "null")],
        ),
        (tensor("x", "FP32", 2, 1), [[1.0], None], [("a list of 1 numbers at /1", "null")]),
        (
            tensor("x", "FP32", 2, -1),
            [[1.0], [2.0, 3.0]],
            [("a list of 1, as the first list there has, at /1", "a list of 2")],
        ),
        (tensor("x", "BOOL", 2), [1, 2], [("true or false at /1", "2")]),
        (IDS, [3], [("an integer from 0 to 2 at /0", "3")]),
        (tensor("x", "FP32", 2, allow_non_finite=True), [math.nan, None], [("a number at /1", "null")]),
        (tensor("x", "FP32", 20), [None] * 20, [(f"a number at /{i}", "null") for i in range(MAX_FAULTS)]),
    ],
)
def test_a_list_is_told_with_the_place_in_it(spec: TensorSpec, value: Any, faults: list[tuple[str, str]]) -> None:  # noqa: ANN401  # JSON
    """A list, or JSON of it in text; with no more faults than one is told over HTTP."""
    depth = len(spec.row_shape)
    datatype = pa.float64()
    for _ in range(depth):
        datatype = pa.list_(datatype)
    found = told(spec, spec.row_shape, pa.array([value], datatype))
    assert [(expected, got.replace(".0", "")) for expected, got in found] == faults


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("1,2", [("a list of 2 numbers", "'1,2'")]),
        ("", [("a list of 2 numbers", "''")]),
        ('{"a": 1}', [("a list of 2 numbers", "an object")]),
        ('[1, "b"]', [("a number at /1", "'b'")]),
        ("[1, 1e39]", [("a number within ±3.403e+38 at /1", "1e+39")]),
    ],
)
def test_text_that_is_no_list_is_told(text: str, faults: list[tuple[str, str]]) -> None:
    """As the JSON that it is, or as the text where it is none."""
    assert told(tensor("x", "FP32", 2), (2,), pa.array([text])) == faults


@pytest.mark.parametrize(
    ("column", "faults"),
    [
        (["the"], [(f"a list of 1 to {LONGEST_CONTEXT} words", "'the'")]),
        (["[]"], [(f"a list of 1 to {LONGEST_CONTEXT} words", "a list of 0")]),
        ([["the", None]], [("a word at /1", "null")]),
        ([["the"] * 4097], [(f"a list of 1 to {LONGEST_CONTEXT} words", "a list of 4097")]),
        ([[1] * 4097], [(f"a list of 1 to {LONGEST_CONTEXT} words", "a list of 4097")]),
        ([[1, 3]], [("an integer from 0 to 2 at /1", "3")]),
        (['["the", 1]'], [("an integer at /0", "'the'")]),
        (pa.array([None], pa.list_(pa.string())), [(f"a list of 1 to {LONGEST_CONTEXT} words", "null")]),
    ],
)
def test_a_context_is_told_as_words_or_as_ids(column: Any, faults: list[tuple[str, str]]) -> None:  # noqa: ANN401  # cells
    """Whichever it looks like."""
    assert told(CONTEXT, (-1,), pa.array(column), takes_words=True) == faults


def test_a_list_that_is_nested_deeply_is_told() -> None:
    """Deeper than calls can be."""
    deep = pa.array(["[" * 900 + "]" * 900])
    assert told(tensor("x", "INT64", -1), (-1,), deep) == [("an integer at /0", "a list of 1")]


def test_what_nothing_is_found_wrong_with_is_told_all_the_same() -> None:
    """A row that is left out never goes unsaid."""
    assert told(tensor("x", "FP32", 1), (), pa.array([1.5])) == [("a number that FP32 can hold", "1.5")]


def test_many_cells_are_told_each_in_its_row() -> None:
    """Also where one is told as another was, and where two that are equal are not."""
    column = pa.array([None, math.nan, 1e39, math.nan, 0.0, None])
    cell = Cell("x", tensor("x", "FP32", 1), ())
    faults = list(faults_of(cell, column, np.array([0, 1, 3, 5]), np.array([10, 11, 13, 15]), takes_words=False))
    assert [(fault.row, fault.got) for fault in faults] == [(10, "null"), (11, "nan"), (13, "nan"), (15, "null")]
