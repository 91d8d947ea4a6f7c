"""Behaviour of service.scoring.lists."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.codec.tensors import from_lists
from service.codec.words import LONGEST_CONTEXT
from service.manifest import TensorSpec
from service.scoring.layout import Cell
from service.scoring.lists import Lists, Ragged, group, json_value, read_lists
from tests.service.conftest import tensor

WORDS = ("<unknown>", "the", "value", "of")
CONTEXT = TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=WORDS)
NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.floats(width=32))


def nested(depth: int, element: st.SearchStrategy[Any] = NUMBERS) -> st.SearchStrategy[Any]:
    """Lists nested so deep, or None at any depth; lengths are mostly equal."""
    inner = element if depth == 1 else nested(depth - 1, element)
    return st.one_of(st.lists(inner, max_size=3), st.lists(inner, min_size=2, max_size=2), st.none())


def column_of(values: Any, depth: int, element: pa.DataType) -> pa.Array:  # noqa: ANN401  # JSON
    """A column of lists."""
    datatype = element
    for _ in range(depth):
        datatype = pa.list_(datatype)
    return pa.array(values, datatype)


def read(spec: TensorSpec, column: pa.Array, *, takes_words: bool = False) -> Lists:
    """What the lists of a column become."""
    return read_lists(Cell("x", spec, spec.row_shape), column, takes_words=takes_words)


def rows_of(lists: Lists) -> list[Any]:
    """The rows by themselves; None for one that does not fit."""
    return [
        None
        if misfit
        else (lists.values.rows(np.array([place]))[0] if isinstance(lists.values, Ragged) else lists.values[place])
        for place, misfit in enumerate(lists.misfits.tolist())
    ]


SHAPES = st.sampled_from([(2,), (-1,), (2, 2), (-1, 2), (2, -1), (-1, -1), (2, -1, 2), (-1, 1, -1)])


@given(data=st.data(), shape=SHAPES)
def test_lists_are_those_of_http(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """A row fits just where it would be taken as JSON, and is the same array then."""
    spec = tensor("x", "FP32", *shape)
    values = data.draw(st.lists(nested(len(shape)), max_size=6))
    found = rows_of(read(spec, column_of(values, len(shape), pa.float64())))
    for value, own in zip(values, found, strict=True):
        wanted = None if value is None else from_lists(spec, [value], (1, *shape))
        assert (own is None) == (wanted is None)
        assert wanted is None or (own.shape, own.tobytes()) == (wanted.shape[1:], wanted.tobytes())


@given(data=st.data(), shape=SHAPES)
def test_text_is_read_as_json(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """Where a file has no lists, they are JSON in a cell."""
    spec = tensor("x", "INT64", *shape)
    numbers = st.one_of(st.none(), st.integers(-3, 3), st.just(2**70), st.floats(-2, 2), st.booleans(), st.just("a"))
    values = data.draw(st.lists(nested(len(shape), numbers), max_size=6))
    found = rows_of(read(spec, pa.array(list(map(json.dumps, values)), pa.string())))
    for value, own in zip(values, found, strict=True):
        wanted = None if not _is_whole(value) else from_lists(spec, [value], (1, *shape))
        assert (own is None) == (wanted is None)
        assert wanted is None or own.tolist() == wanted[0].tolist()


def _is_whole(value: Any) -> bool:  # noqa: ANN401  # JSON
    """Whether a JSON value is made of lists and integers, which may be written with a point."""
    if isinstance(value, list):
        return all(map(_is_whole, value))
    return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)


@pytest.mark.parametrize(
    ("spec", "text", "row"),
    [
        (tensor("x", "FP32", 2), "[1, 2.5]", [1.0, 2.5]),
        (tensor("x", "FP32", 2), ' [1e0,\n"2"] ', None),
        (tensor("x", "FP32", 2), "1,2", None),
        (tensor("x", "FP32", 2), "[1,2],[3,4]", None),
        (tensor("x", "FP32", 2), "", None),
        (tensor("x", "FP32", 2), None, None),
        (tensor("x", "FP32", 2), "[NaN, 1]", None),
        (tensor("x", "FP32", 2), "[1e39, 1]", None),
        (tensor("x", "BOOL", 2), "[true, false]", [True, False]),
        (tensor("x", "BYTES", 2), '["a", ""]', ["a", ""]),
        (tensor("x", "BYTES", 2), '["a", 1]', None),
        (tensor("x", "UINT64", 1), "[18446744073709551615]", [18446744073709551615]),
        (tensor("x", "UINT64", 1), "[18446744073709551616]", None),
        (tensor("x", "INT8", 1), "[128]", None),
        (tensor("x", "INT8", -1), "[127, 1.0]", [127, 1]),
        (tensor("x", "FP32", -1), "[" * 5000, None),
    ],
)
def test_a_cell_of_json_is_a_row(spec: TensorSpec, text: str, row: list[Any] | None) -> None:
    """And what is none fits in no row, whatever its neighbours are."""
    (found,) = rows_of(read(spec, pa.array([text], pa.string())))
    assert (None if found is None else found.tolist()) == row


@pytest.mark.parametrize(
    "datatype",
    [
        pa.list_(pa.float32()),
        pa.large_list(pa.float64()),
        pa.list_(pa.int16(), 2),
        pa.list_view(pa.float64()),
        pa.large_list_view(pa.int8()),
        pa.list_(pa.decimal128(22, 3)),
    ],
    ids=str,
)
def test_lists_may_be_laid_out_in_any_way(datatype: pa.DataType) -> None:
    """Also in a part of a column."""
    values = [[9, 9], [1, 2], None, [3, 4], [9, 9]]
    is_decimal = pa.types.is_decimal(datatype.value_type)
    column = pa.array(values, pa.list_(pa.int64()) if is_decimal else datatype).cast(datatype)
    found = rows_of(read(tensor("x", "FP32", 2), column.slice(1, 3)))
    assert [None if one is None else one.tolist() for one in found] == [[1, 2], None, [3, 4]]
    found = rows_of(read(tensor("x", "FP32", 2), column.slice(3, 1)))
    assert [one.tolist() for one in found] == [[3, 4]]


@pytest.mark.parametrize("datatype", [pa.null(), pa.list_(pa.null()), pa.list_(pa.list_(pa.null()))], ids=str)
def test_a_column_of_nothing_fits_nowhere(datatype: pa.DataType) -> None:
    """As JSON Lines may have it where no row has a value."""
    values: list[Any] = [None, None] if pa.types.is_null(datatype) else [None, []]
    column = pa.array(values, datatype)
    for shape in ((2, 2), (-1, 2), (2, -1)):
        assert read(tensor("x", "FP32", *shape), column).misfits.tolist() == [True, True]


def test_words_are_their_ids() -> None:
    """Those that the vocabulary lacks are the first, which stands for them; ids may be given themselves."""
    column = pa.array([["the", "zebra", "of"], None, ["<unknown>"], ["of", None], []], pa.list_(pa.string()))
    lists = read(CONTEXT, column, takes_words=True)
    found = rows_of(lists)
    assert [None if one is None else one.tolist() for one in found] == [[1, 0, 3], None, [0], None, None]
    assert isinstance(lists.values, Ragged)
    assert lists.unknown is not None
    assert lists.values.at(np.array([0, 2])).spread(lists.unknown).to_pylist() == [[1], []]
    lists = read(CONTEXT, pa.array([[3, 0], [4], [-1], [None]], pa.list_(pa.int32())), takes_words=True)
    found = rows_of(lists)
    assert [None if one is None else one.tolist() for one in found] == [[3, 0], None, None, None]
    assert lists.unknown is not None
    assert not lists.unknown[:2].any()
    texts = ['["the","zebra"]', "[3,0]", "[4]", '["the",1]', "the", "[]"]
    found = rows_of(read(CONTEXT, pa.array(texts), takes_words=True))
    assert [None if one is None else one.tolist() for one in found] == [[1, 0], [3, 0], None, None, None, None]


def test_a_context_has_no_more_words_than_over_http() -> None:
    """One more does not fit."""
    column = pa.array([["the"] * LONGEST_CONTEXT, ["the"] * (LONGEST_CONTEXT + 1)])
    assert read(CONTEXT, column, takes_words=True).misfits.tolist() == [False, True]


@given(lengths=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=12), data=st.data())
@example(lengths=[(1, 1)] * 3, data=None)
def test_rows_of_one_shape_are_grouped(lengths: list[tuple[int, int]], data: st.DataObject | None) -> None:
    """Each row is in one group, with those that have its shape in every tensor, and in order."""
    tensors = [
        read(tensor("x", "FP32", -1), pa.array([[1.0] * own[place] for own in lengths], pa.list_(pa.float64()))).values
        for place in (0, 1)
    ]
    count = len(lengths)
    places = sorted(data.draw(st.sets(st.integers(0, count - 1)))) if data is not None and count else list(range(count))
    groups = [one.tolist() for one in group([*tensors, np.zeros((count, 2))], np.array(places, np.int64))]
    assert sorted(place for one in groups for place in one) == places
    assert all(one == sorted(one) and len({lengths[place] for place in one}) == 1 for one in groups)
    assert len({lengths[one[0]] for one in groups}) == len(groups)


def test_rows_that_all_have_one_shape_are_one_group() -> None:
    """Or none, where there are none."""
    places = np.arange(3)
    assert [one.tolist() for one in group([np.zeros((3, 2))], places)] == [[0, 1, 2]]
    assert group([np.zeros((3, 2))], places[:0]) == []


def test_what_is_no_json_is_the_text_itself() -> None:
    """So that it can be told."""
    assert (json_value("[1]"), json_value("[1"), json_value("[" * 5000)) == ([1], "[1", "[" * 5000)
