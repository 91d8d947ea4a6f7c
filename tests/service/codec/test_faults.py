"""Behaviour of service.codec.faults."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codec.faults import all_fit, describe, find_faults, find_misfit, first_uneven, suspects, with_integers
from service.codec.tensors import DTYPES, Array, from_bytes, from_lists
from service.errors import ElementError, ShapeError
from service.manifest import VARIABLE, Datatype, TensorSpec
from tests.service.codec.draws import FLOATS, INTEGERS, JSON_DATATYPES, range_of, spec_of

LARGEST = {"FP16": 65504.0, "FP32": float(np.finfo(np.float32).max), "FP64": float(np.finfo(np.float64).max)}


def faults(datatype: Datatype, values: object, shape: tuple[int, ...]) -> list[tuple[str, str, str]]:
    """What the second look finds, as pointers, expectations and what came."""
    found = [fault for error in find_faults(spec_of(datatype), values, shape, "/x") for fault in error.faults]
    return [(fault.pointer, fault.expected, fault.got) for fault in found]


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
def test_a_long_list_is_looked_at_as_closely_as_a_short_one(datatype: Datatype) -> None:
    """One wrong element is found among thousands, wherever it stands."""
    right: Any = {"BOOL": True, "BYTES": "a"}.get(datatype, 1.0 if "FP" in datatype else 1)
    for place in (0, 2_999):
        values = [right] * 3_000
        assert faults(datatype, values, (3_000,)) == []
        values[place] = None
        assert [pointer for pointer, _, _ in faults(datatype, values, (3_000,))] == [f"/x/{place}"]


@pytest.mark.parametrize(
    ("datatype", "values", "misfit"),
    [
        ("FP32", np.array([1, 2, np.nan, np.inf], np.float32), (2, "nan")),
        ("FP64", np.array([-np.inf, 2]), (0, "-inf")),
        ("BF16", np.array([0x3F80, 0xFF80], np.uint16), (1, "-inf")),
        ("BOOL", np.array([0, 1, 7], np.uint8), (2, "7")),
    ],
)
def test_of_bytes_that_are_refused_the_first_wrong_element_is_found(
    datatype: Datatype, values: Array, misfit: tuple[int, str]
) -> None:
    """With its place and its value, also where the bytes are not aligned."""
    blob = memoryview(b"\xff" + values.tobytes())[1:]
    assert from_bytes(spec_of(datatype), blob, values.shape) is None
    place, value = find_misfit(spec_of(datatype), blob)
    assert (place, str(value)) == misfit


@pytest.mark.parametrize("datatype", ["BOOL", "FP16", "FP32", "FP64", "BF16"])
@pytest.mark.parametrize("place", [0, 16_383, 16_384, 40_000, 49_999])
def test_of_many_elements_the_wrong_one_is_found(place: int, datatype: Datatype) -> None:
    """Wherever it stands."""
    many = np.zeros(50_000, np.uint8 if datatype == "BOOL" else DTYPES[datatype])
    assert from_bytes(spec_of(datatype), many.data.cast("B"), (50_000,)) is not None
    many[place] = {"BOOL": 2, "BF16": 0x7F80}.get(datatype, np.inf)
    assert from_bytes(spec_of(datatype), many.data.cast("B"), (50_000,)) is None
    assert find_misfit(spec_of(datatype), many.data.cast("B"))[0] == place


@pytest.mark.parametrize("wrong", [-1, 3])
def test_of_ids_the_first_that_is_no_words_is_found(wrong: int) -> None:
    """Below or above those of the vocabulary."""
    spec = TensorSpec(name="x", datatype="INT64", shape=(VARIABLE,), vocabulary=("a", "b", "c"))
    blob = memoryview(np.array([0, 2, wrong, 9]).tobytes())
    assert from_bytes(spec, blob, (4,)) is None
    assert find_misfit(spec, blob) == (2, wrong)


@pytest.mark.parametrize("datatype", INTEGERS)
@given(value=st.integers(-(2**70), 2**70))
def test_an_integer_is_refused_just_where_its_datatype_ends(datatype: Datatype, value: int) -> None:
    """And told between which it should lie."""
    lowest, highest = range_of(datatype)
    for number in (value, lowest, lowest - 1, highest, highest + 1):
        fault = ("/x", f"an integer from {lowest} to {highest}", str(number))
        assert faults(datatype, number, ()) == ([] if lowest <= number <= highest else [fault])


@pytest.mark.parametrize("datatype", FLOATS)
def test_the_largest_number_is_a_number(datatype: Datatype) -> None:
    """The second look takes the largest finite value and refuses the next power of ten."""
    assert faults(datatype, LARGEST[datatype], ()) == []
    ((_, expected, _),) = faults(datatype, LARGEST[datatype] * 10, ())
    assert expected == f"a number within ±{LARGEST[datatype]:.4g}"
    assert faults(datatype, 10**400, ())[0][1] == expected
    assert faults(datatype, math.inf, ())[0][1] == expected


@pytest.mark.parametrize(
    ("datatype", "value", "expected"),
    [
        ("INT64", 1.0, None),
        ("INT64", -0.0, None),
        ("INT64", 1.5, "an integer"),
        ("INT64", math.inf, "an integer"),
        ("INT64", True, "an integer"),
        ("INT64", "1", "an integer"),
        ("INT64", None, "an integer"),
        ("UINT8", -1.0, "an integer from 0 to 255"),
        ("INT64", 2.0**63, f"an integer from {-(2**63)} to {2**63 - 1}"),
        ("FP32", 1, None),
        ("FP32", False, "a number"),
        ("FP32", "1", "a number"),
        ("FP32", {}, "a number"),
        ("FP32", [1], "a number"),
        ("BOOL", True, None),
        ("BOOL", False, None),
        ("BOOL", 1, "true or false"),
        ("BOOL", 0.0, "true or false"),
        ("BOOL", "true", "true or false"),
        ("BOOL", None, "true or false"),
    ],
)
def test_an_element_is_of_its_datatype(datatype: Datatype, value: object, expected: str | None) -> None:
    """1.0 is an integer and 1.5 is not; true is no number and 1 is no boolean."""
    assert faults(datatype, value, ()) == ([] if expected is None else [("/x", expected, describe(value))])


def test_faults_are_found_in_reading_order_with_their_places() -> None:
    """Each wrong element and each wrong list is told once."""
    assert faults("INT8", [[1, "a"], 5, [300, 1.5], [1]], (VARIABLE, 2)) == [
        ("/x/0/1", "an integer", "'a'"),
        ("/x/1", "a list of 2 integers", "5"),
        ("/x/2/0", "an integer from -128 to 127", "300"),
        ("/x/2/1", "an integer", "1.5"),
        ("/x/3", "a list of 2 integers", "a list of 1"),
    ]


@pytest.mark.parametrize(
    ("values", "shape", "expected"),
    [
        ([], (VARIABLE,), "a list of 1 or more booleans"),
        (None, (VARIABLE, 2), "a list of 1 or more lists"),
        ([[True]], (2, 1), "a list of 2 lists"),
        ({}, (3,), "a list of 3 booleans"),
    ],
)
def test_a_list_of_another_length_is_told_by_what_it_should_hold(
    values: object, shape: tuple[int, ...], expected: str
) -> None:
    """A variable dimension takes any length but none."""
    ((pointer, told, got),) = faults("BOOL", values, shape)
    assert (pointer, told, got) == ("/x", expected, describe(values))


def test_a_look_can_stop_at_any_fault() -> None:
    """Faults are found one at a time, so that whoever has seen enough pays for no more."""
    found = find_faults(spec_of("FP32"), ["a"] * 1_000_000, (VARIABLE,), "/x")
    assert isinstance(next(found), ElementError)
    assert isinstance(next(find_faults(spec_of("FP32"), 5, (VARIABLE,), "/x")), ShapeError)


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "UINT64", "BOOL", "BYTES"])
@pytest.mark.parametrize("shape", [(2_500,), (50, 50), (VARIABLE, VARIABLE), (2, 1250, 1), (3, VARIABLE, 2)])
@given(
    wrong=st.dictionaries(
        st.integers(0, 2_499),
        st.sampled_from([None, "a", True, 1, 1.0, 1.5, 300, -1, 2**70, 1e300, math.inf, [], [1], [[1, 1]], {}]),
        max_size=4,
    )
)
@settings(deadline=None, max_examples=20)
def test_many_values_are_looked_at_as_closely_as_one(
    datatype: Datatype, shape: tuple[int, ...], wrong: dict[int, object]
) -> None:
    """The faults among thousands, in lists of any depth, are those of each element and list looked at by itself."""
    spec = spec_of(datatype)
    right: Any = {"BOOL": True, "BYTES": "a", "FP32": 0.5}.get(datatype, 1)
    lengths = [50 if length == VARIABLE else length for length in shape]
    values: list[Any] = [wrong.get(place, right) for place in range(math.prod(lengths))]
    for length in reversed(lengths[1:]):
        values = [values[start : start + length] for start in range(0, len(values), length)]
    if len(wrong) == 3:
        values[-1] = values[0][:1] if len(shape) > 1 else None

    def each(value: Any, shape: tuple[int, ...], pointer: str) -> list[tuple[str, str, str]]:  # noqa: ANN401  # JSON
        if not shape or not isinstance(value, list) or not (len(value) == shape[0] or (shape[0] == VARIABLE and value)):
            found = [fault for error in find_faults(spec, value, shape, pointer) for fault in error.faults]
            return [(fault.pointer, fault.expected, fault.got) for fault in found]
        return [fault for place, inner in enumerate(value) for fault in each(inner, shape[1:], f"{pointer}/{place}")]

    expected = each(values, shape, "/x")
    assert faults(datatype, values, shape) == expected
    assert all_fit(spec, [values], shape) == (not expected)


@given(places=st.sets(st.integers(0, 9_999), max_size=5), width=st.sampled_from([1, 20, 5_000]))
@settings(deadline=None)
def test_only_what_is_near_a_fault_is_looked_at_closely(places: set[int], width: int) -> None:
    """Every value is asked about once, together with others; of those with a faulty one about a thousand elements."""
    asked: list[int] = []

    def fit(few: Any) -> bool:  # noqa: ANN401  # a part of the range
        asked.extend(few)
        return places.isdisjoint(few)

    close = list(suspects(range(10_000), (width,), fit))
    assert asked == list(range(10_000))
    assert places <= {value for _, value in close}
    assert all(place == value for place, value in close)
    assert len(close) <= len(places) * max(1024 // width, 1)


@pytest.mark.parametrize("datatype", FLOATS)
@given(value=st.floats(allow_nan=False) | st.integers(-(2**1025), 2**1025), step=st.integers(-3, 3))
@settings(deadline=None)
def test_a_number_is_refused_just_where_it_would_be_infinite(datatype: Datatype, value: float, step: int) -> None:
    """The second look says of a number what the fast way says of it, to the last digit."""
    edge = {"FP16": 65520, "FP32": 2**128 - 2**103, "FP64": 2**1024 - 2**970}[datatype]
    near: list[float] = [edge + step, -edge - step, edge - 2**74 * step, edge - 2**969 * step]
    near += [math.nextafter(float(edge - 2**970), math.inf), math.nextafter(float(edge), 0) if edge < 2**1023 else 1]
    for number in (value, *near):
        fits = from_lists(spec_of(datatype), [number], (1,)) is not None
        assert (faults(datatype, number, ()) == []) == fits
        assert all_fit(spec_of(datatype), [number], ()) == fits


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 2], None),
        ([[1], [2]], None),
        ([[1, 2], [3, 4], [5]], ([2], 2, 1)),
        ([[[1], [2]], [[3], [4, 5]]], ([1, 1], 1, 2)),
        ([[[[1]], [[2]], [[3]]], [[[4]], [[5]], [[6, 7]]]], ([1, 2, 0], 1, 2)),
        ([[[1], [2, 3]], [[4]]], ([1], 2, 1)),
    ],
)
def test_the_first_list_of_another_length_is_found(values: list[Any], found: tuple[list[int], int, int] | None) -> None:
    """The outer lists before the inner ones."""
    assert first_uneven(values) == found


def test_whole_floats_become_integers_where_integers_are_meant() -> None:
    """At any depth, and nothing else is touched."""
    values = [[1.0, 2], [1.5, "a", True, None, math.inf]]
    written = with_integers(spec_of("INT64"), values)
    assert repr(written) == repr([[1, 2], [1.5, "a", True, None, math.inf]])
    assert with_integers(spec_of("FP32"), values) is values
    assert with_integers(spec_of("BOOL"), values) is values


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (math.inf, "a number too large"),
        (-math.inf, "a number too large"),
        ("a", "'a'"),
    ],
)
def test_a_value_is_described_in_a_few_words(value: object, words: str) -> None:
    """In JSON's words."""
    assert describe(value) == words


@given(value=st.text(max_size=100) | st.integers(-(10**100), 10**100))
def test_a_description_is_short(value: object) -> None:
    """However long a value is, what is told of it is not."""
    assert len(describe(value)) <= 41
