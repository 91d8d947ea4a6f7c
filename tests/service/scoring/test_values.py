"""Behaviour of service.scoring.values."""

import io
import math
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv

from service.codec.tensors import DTYPES, Array, from_lists
from service.manifest import Datatype
from service.scoring.values import stack
from tests.service.codec.draws import FLOATS, INTEGERS, range_of, same_bits
from tests.service.conftest import tensor

SPELLINGS = st.from_regex(
    r"[ \t]?[+-]{0,2}"
    r"([nN][aA][nN](\([a-z0-9_]*\))?|[iI][nN][fF](inity)?|[0-9]{0,5}\.?[0-9]{0,5}([eE][+-]?[0-9]{0,4})?)[ \t]?",
    fullmatch=True,
)
TEXTS = st.one_of(
    SPELLINGS, st.floats().map(repr), st.integers().map(str), st.text(max_size=6), st.sampled_from(["0x1F"])
)
WHOLE = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"[ \t]?[+-]?[0-9]{1,22}(\.0{0,3})?[ \t]?", fullmatch=True),
    SPELLINGS,
)


def read_by_pyarrow(text: str) -> float | None:
    """What pyarrow reads a CSV cell as, where a number is wanted; None where it is none."""
    file = io.BytesIO()
    csv.write_csv(pa.table({"x": [text]}), file)
    options = csv.ConvertOptions(column_types={"x": pa.float64()}, null_values=[])
    try:
        table = csv.read_csv(
            pa.BufferReader(file.getvalue()),
            csv.ReadOptions(use_threads=False),
            csv.ParseOptions(newlines_in_values=True),
            options,
        )
    except pa.ArrowInvalid:
        return None
    value: float = table["x"][0].as_py()
    return value


def column_of(datatype: Datatype, column: pa.Array, **more: Any) -> tuple[Array, list[bool]]:  # noqa: ANN401  # a spec's own fields
    """The elements that a column becomes, and which of its cells fit."""
    array, misfits = stack(tensor("x", datatype, 1, **more), [column])
    assert array.dtype == DTYPES[datatype]
    assert misfits.keys() <= {0}
    return array[:, 0], (~misfits.get(0, np.zeros(len(column), np.bool_))).tolist()


def direct(datatype: Datatype, value: Any) -> Any:  # noqa: ANN401  # JSON
    """What a JSON value becomes over HTTP; None where it is refused."""
    array = from_lists(tensor("x", datatype, 1), [value], (1,))
    return None if array is None else array[0]


@given(texts=st.lists(TEXTS, min_size=1, max_size=8))
@example(texts=["1e999", "nan", "-inf", "+infinity", "NAN(1)", "1e-999", ".", "-.5", "1.", "", "1_0", "\u0661"])
@example(texts=["x", "\v1", "\u00a01", "1\n", "i\u0307nf", "1,5", "0" * 400 + "1", "0." + "0" * 400 + "1"])
def test_texts_are_numbers_just_where_pyarrow_reads_them_so(texts: list[str]) -> None:
    """No spelling is taken that a clean file would be refused for, or the other way round, and all bits agree."""
    wanted = [read_by_pyarrow(text) for text in texts]
    array, fits = column_of("FP64", pa.array(texts), allow_non_finite=True)
    assert fits == [one is not None for one in wanted]
    for value, one in zip(array.tolist(), wanted, strict=True):
        assert one is None or math.isnan(one) or (value, math.copysign(1, value)) == (one, math.copysign(1, one))
    _, fits = column_of("FP64", pa.array(texts))
    assert fits == [one is not None and math.isfinite(one) for one in wanted]


@given(texts=st.lists(WHOLE, min_size=1, max_size=8), datatype=st.sampled_from(INTEGERS))
@example(texts=["9223372036854775807", "9223372036854775808", "-9223372036854775808", "x"], datatype="INT64")
@example(texts=["18446744073709551615", "18446744073709551616", "-0", "-1", "1e3"], datatype="UINT64")
@example(texts=["+9007199254740993", "9007199254740993.000", "007", "7.", "7.5", "0x10", "1" * 5000], datatype="INT64")
def test_texts_are_integers_of_all_their_bits(texts: list[str], datatype: Datatype) -> None:
    """Digits are exact; another spelling of a number is one where its double is whole and fits."""
    least, most = range_of(datatype)
    array, fits = column_of(datatype, pa.array(texts))
    for text, value, fit in zip(texts, array.tolist(), fits, strict=True):
        digits = text.strip(" \t").partition(".")[0] if text.rstrip("0 \t").endswith(".") else text.strip(" \t")
        if digits.removeprefix("-").removeprefix("+").isdecimal() and digits.isascii() and len(digits) < 4000:
            wanted: float | None = int(digits) if not digits.startswith(("-+", "+-")) else None
        else:
            wanted = read_by_pyarrow(text)
        is_whole = wanted is not None and math.isfinite(wanted) and wanted == int(wanted)
        assert fit == (is_whole and least <= int(wanted or 0) <= most), text
        assert not fit or value == wanted


@given(values=st.lists(st.floats(), min_size=1, max_size=8), datatype=st.sampled_from(FLOATS))
@example(
    values=[1e-45, 7e-46, 7.1e-46, -0.0, 3.4028235677973366e38, 3.4028235677973362e38, 65519.99, 65520.0],
    datatype="FP32",
)
@example(values=[16777217.0, 16777219.0, 9007199254740993.0, 0.1, 1 + 2**-24, 1 + 2**-24 + 2**-50], datatype="FP32")
def test_doubles_are_cast_as_over_http(values: list[float], datatype: Datatype) -> None:
    """Rounded once, to the nearest; what is not finite there is refused."""
    array, fits = column_of(datatype, pa.array(values, pa.float64()))
    for value, own, fit in zip(values, array, fits, strict=True):
        wanted = direct(datatype, value)
        assert fit == (wanted is not None)
        assert not fit or own.tobytes() == wanted.tobytes()


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8),
    datatype=st.sampled_from(INTEGERS + FLOATS),
)
def test_integers_are_those_of_http(values: list[int], datatype: Datatype) -> None:
    """Exact where the tensor has integers, by way of doubles where it has floats, as JSON's are."""
    array, fits = column_of(datatype, pa.array(values, pa.int64()))
    for value, own, fit in zip(values, array, fits, strict=True):
        wanted = direct(datatype, value)
        assert fit == (wanted is not None)
        assert not fit or own.tobytes() == wanted.tobytes()


TYPES: list[Any] = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view()),
    *(pa.decimal32(5, 2), pa.decimal64(8, 2), pa.decimal128(20, 5), pa.decimal256(50, 30), pa.decimal128(5, -1)),
]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT64", "INT64"])
@pytest.mark.parametrize("column_type", TYPES, ids=str)
def test_numbers_come_in_columns_of_any_type(column_type: pa.DataType, datatype: Datatype) -> None:
    """And a missing one does not fit, whatever lies in its place; also in a part of a column."""
    values = [10, 20, None, 30]
    if pa.types.is_integer(column_type) or pa.types.is_floating(column_type):
        column = pa.array(values, column_type)
    else:
        column = pa.array([None if one is None else str(one) for one in values]).cast(column_type)
    array, fits = column_of(datatype, column)
    assert (array[[0, 1, 3]].tolist(), fits) == ([10, 20, 30], [True, True, False, True])
    array, fits = column_of(datatype, column.slice(1, 1))
    assert (array.tolist(), fits) == ([20], [True])


def test_decimals_are_rounded_once() -> None:
    """To the double that is nearest to them, as their digits are in text."""
    texts = ["0.1", "123456789.123456789012345678", "0.000000000000000000001", "-9007199254740993"]
    column = pa.array([Decimal(text) for text in texts], pa.decimal256(60, 21))
    array, fits = column_of("FP64", column)
    assert array.tolist() == [float(text) for text in texts]
    assert all(fits)
    assert column_of("INT64", column)[0].tolist()[3] == -9007199254740993
    assert column_of("INT64", column)[1] == [False, False, False, True]


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([1, 0, 2, -1, None]), [True, False, None, None, None]),
        (pa.array([1.0, -0.0, 0.5, math.nan]), [True, False, None, None]),
        (pa.array(["1", " 0.0", "1e0", "true", "2", ""]), [True, False, True, None, None, None]),
        (pa.array([Decimal("1.0"), Decimal("0.5")]), [True, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_booleans_are_booleans_or_0_and_1(column: pa.Array, wanted: list[bool | None]) -> None:
    """Nothing else is true or false."""
    array, fits = column_of("BOOL", column)
    assert [own if fit else None for own, fit in zip(array.tolist(), fits, strict=True)] == wanted


@pytest.mark.parametrize("datatype", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts_are_taken_as_they_stand(datatype: pa.DataType) -> None:
    """A missing one is none, an empty one is."""
    array, fits = column_of("BYTES", pa.array([" a ", "", None, "ü\n"], datatype))
    assert (array[[0, 1, 3]].tolist(), fits) == ([" a ", "", "ü\n"], [True, True, False, True])


@pytest.mark.parametrize("column", [pa.array([True]), pa.nulls(1)], ids=["bool", "null"])
@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BYTES"])
def test_what_is_no_number_and_no_text_fits_nowhere(column: pa.Array, datatype: Datatype) -> None:
    """A boolean is no number, and nothing is none."""
    assert column_of(datatype, column)[1] == [False]


def test_ids_are_those_of_words_there_are() -> None:
    """A vocabulary has as many as it has words."""
    words = ("<unknown>", "a", "b")
    for column in (pa.array([0, 2, 3, -1]), pa.array(["0", "2.0", "3", "-1"]), pa.array([0.0, 2.0, 3.0, -1.0])):
        array, fits = column_of("INT64", column, vocabulary=words)
        assert (array[:2].tolist(), fits) == ([0, 2], [True, True, False, False])


def test_what_is_not_finite_is_taken_where_it_may_be() -> None:
    """But nothing that becomes so for being too large; and none is missing."""
    values = [math.nan, math.inf, 1e39, 1.0, None]
    for column in (pa.array(values, pa.float64()), pa.array(["nan", "inf", "1e39", "1", None])):
        array, fits = column_of("FP32", column, allow_non_finite=True)
        assert fits == [True, True, False, True, False]
        assert array[[1, 3]].tolist() == [math.inf, 1.0]
    # Where none is missing, they are looked at in another way.
    assert column_of("FP32", pa.array(values[:4]), allow_non_finite=True)[1] == [True, True, False, True]
    assert column_of("FP32", pa.array(values[:4]))[1] == [False, False, False, True]


def test_columns_stand_side_by_side() -> None:
    """In their order; each knows its own misfits."""
    columns = [pa.array([1.0, math.nan]), pa.array([3, 4]), pa.array([None, 6.0]), pa.array(["7", "x"])]
    array, misfits = stack(tensor("x", "FP32", 4), columns)
    assert {place: mask.tolist() for place, mask in misfits.items()} == {
        0: [False, True],
        2: [True, False],
        3: [False, True],
    }
    assert [array[0, 0], array[1, 2], *array[:, 1], array[0, 3]] == [1, 6, 3, 4, 7]
    none: npt.NDArray[Any] = np.zeros((0, 4), np.float32)
    assert same_bits(stack(tensor("x", "FP32", 4), [column.slice(0, 0) for column in columns])[0], none)
