"""Behaviour of service.codec.tensors."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec.tensors import (
    DTYPES,
    Array,
    Inputs,
    RowPacker,
    all_fit,
    describe,
    element_type,
    find_faults,
    find_misfit,
    first_uneven,
    from_bytes,
    from_doubles,
    from_lists,
    is_finite,
    labels_of,
    limits,
    numbers_of,
    suspects,
    to_bytes,
    with_integers,
)
from service.errors import ElementError, ShapeError
from service.manifest import VARIABLE, Datatype, TensorSpec
from tests.service.codec import draws
from tests.service.codec.draws import DATATYPES, JSON_DATATYPES, same_bits

INTEGERS: tuple[Datatype, ...] = tuple(name for name in DATATYPES if "INT" in name)
FLOATS: tuple[Datatype, ...] = ("FP16", "FP32", "FP64")
LARGEST = {"FP16": 65504.0, "FP32": float(np.finfo(np.float32).max), "FP64": float(np.finfo(np.float64).max)}


def spec_of(datatype: Datatype, *, allow_non_finite: bool = False) -> TensorSpec:
    """A tensor of a datatype."""
    return TensorSpec(name="x", datatype=datatype, shape=(VARIABLE,), allow_non_finite=allow_non_finite)


def range_of(datatype: Datatype) -> tuple[int, int]:
    """The smallest and the largest integer of a datatype, from its name."""
    bits = int(datatype.removeprefix("U").removeprefix("INT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def faults(datatype: Datatype, values: object, shape: tuple[int, ...]) -> list[tuple[str, str, str]]:
    """What the second look finds, as pointers, expectations and what came."""
    found = [fault for error in find_faults(spec_of(datatype), values, shape, "/x") for fault in error.faults]
    return [(fault.pointer, fault.expected, fault.got) for fault in found]


@st.composite
def arrays(draw: st.DrawFn, *, finite: bool = True) -> tuple[Datatype, Array]:
    """Draw an array of any shape, of values that JSON can write, or else of any whose elements have one size."""
    datatypes = JSON_DATATYPES if finite else [name for name in DATATYPES if name != "BYTES"]
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    return datatype, draw(draws.arrays(datatype, shape, finite=finite))


def test_every_datatype_has_its_element() -> None:
    """The protocol's name, numpy's type and JSON's type belong together."""
    assert set(DTYPES) == set(DATATYPES)
    for datatype, dtype in DTYPES.items():
        plain = {"BF16": "uint16", "BYTES": "object"}.get(datatype, datatype.lower().replace("fp", "float"))
        assert dtype.name == plain
        types = {"BOOL": bool, "BF16": float, "FP16": float, "FP32": float, "FP64": float, "BYTES": str}
        assert element_type(datatype) is types.get(datatype, int)


@given(case=arrays())
@settings(deadline=None)
def test_lists_become_the_array_they_were(case: tuple[Datatype, Array]) -> None:
    """Nested lists of an array give its bits back, with the shape said or left open."""
    datatype, array = case
    for shape in (array.shape, (VARIABLE,) * array.ndim):
        read = from_lists(spec_of(datatype), array.tolist(), shape)
        assert read is not None
        assert same_bits(read, array)


@given(case=arrays(finite=False), offset=st.integers(0, 9))
@settings(deadline=None)
def test_bytes_become_the_array_they_were(case: tuple[Datatype, Array], offset: int) -> None:
    """An array's bytes give its bits back from any place in a body, aligned or not."""
    datatype, array = case
    content = b"\xff" * offset + to_bytes(array) + b"\xff"
    blob = memoryview(content)[offset:-1]
    read = from_bytes(spec_of(datatype, allow_non_finite=True), blob, array.shape)
    assert read is not None
    assert same_bits(read, array)
    assert read.flags.aligned


@given(case=arrays(finite=False))
@settings(deadline=None)
def test_bytes_that_are_not_finite_are_refused_unless_allowed(case: tuple[Datatype, Array]) -> None:
    """Without leave, an array comes in just if all its elements are finite."""
    datatype, array = case
    read = from_bytes(spec_of(datatype), memoryview(to_bytes(array)), array.shape)
    assert (read is not None) == is_finite(datatype, array) == bool(np.isfinite(numbers_of(datatype, array)).all())


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_bytes_are_little_endian_and_row_major(datatype: Datatype) -> None:
    """However an array lies in memory, its bytes are the wire's."""
    dtype = DTYPES[datatype]
    array = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    expected = b"".join(np.array(value, dtype.newbyteorder("<")).tobytes() for value in array.ravel())
    assert to_bytes(array) == expected
    assert to_bytes(np.asfortranarray(array)) == expected
    assert to_bytes(array.astype(dtype.newbyteorder(">"))) == expected
    assert to_bytes(np.repeat(array, 2, axis=1)[:, ::2]) == expected


@given(array=draws.arrays("BYTES", hnp.array_shapes(min_dims=0, max_side=3)))
@settings(deadline=None)
def test_the_size_of_inputs_counts_their_texts(array: Array) -> None:
    """An array of texts holds its references and their characters, another one its elements."""
    numbers = np.zeros((2, 3), np.float32)
    assert Inputs((numbers,), 2).size == 24
    assert Inputs((array, numbers), 2).size == 24 + array.size * 8 + len("".join(array.reshape(-1).tolist()))


@pytest.mark.parametrize(
    ("datatype", "bounds"),
    [
        ("INT8", (-128, 127)),
        ("UINT64", (0, 2**64 - 1)),
        ("BOOL", None),
        ("BF16", None),
        ("FP32", None),
        ("BYTES", None),
    ],
)
def test_integers_have_limits(datatype: Datatype, bounds: tuple[int, int] | None) -> None:
    """And nothing else has them."""
    assert limits(spec_of(datatype)) == bounds


@pytest.mark.parametrize("datatype", ["BF16", "BYTES"])
def test_there_are_no_doubles_of_what_is_no_number_of_numpys(datatype: Datatype) -> None:
    """Texts and BF16 do not come in as doubles."""
    assert from_doubles(spec_of(datatype), np.array([1.0])) is None


def test_the_upper_half_of_a_single_float_is_its_number() -> None:
    """Of BF16 the numbers are known, those of any other datatype are the array itself."""
    singles = np.array([1.5, -2.0, np.inf], np.float32)
    halves = (singles.view(np.uint32) >> 16).astype(np.uint16)
    assert numbers_of("BF16", halves).tolist() == singles.tolist()
    assert numbers_of("FP32", singles) is singles


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


def test_many_bytes_are_written_from_where_they_lie() -> None:
    """What is large is not copied before it is sent; what lies otherwise is."""
    many = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    assert np.shares_memory(np.frombuffer(to_bytes(many), np.float32), many)
    assert to_bytes(many) == many.tobytes()
    assert to_bytes(many.T) == many.T.tobytes()


@pytest.mark.parametrize("wrong", [-1, 3])
def test_of_ids_the_first_that_is_no_words_is_found(wrong: int) -> None:
    """Below or above those of the vocabulary."""
    spec = TensorSpec(name="x", datatype="INT64", shape=(VARIABLE,), vocabulary=("a", "b", "c"))
    blob = memoryview(np.array([0, 2, wrong, 9]).tobytes())
    assert from_bytes(spec, blob, (4,)) is None
    assert find_misfit(spec, blob) == (2, wrong)


@given(octets=st.binary(min_size=1, max_size=8))
def test_a_boolean_is_a_byte_of_zero_or_one(octets: bytes) -> None:
    """Any other byte is no boolean."""
    read = from_bytes(spec_of("BOOL"), memoryview(octets), (len(octets),))
    if max(octets) > 1:
        assert read is None
    else:
        assert read is not None
        assert read.tolist() == [octet == 1 for octet in octets]


def test_aligned_bytes_are_not_copied() -> None:
    """The array is a view of the body."""
    content = np.arange(4, dtype=np.float32).tobytes()
    read = from_bytes(spec_of("FP32"), memoryview(content), (4,))
    assert read is not None
    assert np.shares_memory(read, np.frombuffer(content, np.uint8))


@pytest.mark.parametrize("datatype", INTEGERS)
@given(value=st.integers(-(2**70), 2**70))
def test_an_integer_comes_in_exactly_or_not_at_all(datatype: Datatype, value: int) -> None:
    """Lists take an integer of the datatype's range as it is and refuse every other; so says the second look."""
    lowest, highest = range_of(datatype)
    for number in (value, lowest, lowest - 1, highest, highest + 1):
        read = from_lists(spec_of(datatype), [number], (1,))
        if lowest <= number <= highest:
            assert read is not None
            assert read.tolist() == [number]
            assert faults(datatype, number, ()) == []
        else:
            assert read is None
            assert faults(datatype, number, ()) == [("/x", f"an integer from {lowest} to {highest}", str(number))]


@pytest.mark.parametrize("datatype", INTEGERS)
@given(
    values=st.lists(st.floats() | st.integers(-(2**65), 2**65).map(float), min_size=1, max_size=4),
)
@settings(deadline=None)
def test_doubles_are_integers_exactly_or_refused(datatype: Datatype, values: list[float]) -> None:
    """A double comes in just if it is a whole number of the datatype's range, and is then that number."""
    lowest, highest = range_of(datatype)
    read = from_doubles(spec_of(datatype), np.array(values))
    if all(math.isfinite(value) and value.is_integer() and lowest <= int(value) <= highest for value in values):
        assert read is not None
        assert read.dtype == DTYPES[datatype]
        assert read.tolist() == [int(value) for value in values]
    else:
        assert read is None


@pytest.mark.parametrize(
    ("datatype", "value", "read"),
    [
        ("INT64", 2.0**63, None),
        ("INT64", np.nextafter(2.0**63, 0), 2**63 - 1024),
        ("INT64", -(2.0**63), -(2**63)),
        ("INT64", np.nextafter(-(2.0**63), -np.inf), None),
        ("UINT64", 2.0**64, None),
        ("UINT64", np.nextafter(2.0**64, 0), 2**64 - 2048),
        ("UINT64", -1.0, None),
        ("UINT8", -1.0, None),
        ("UINT8", -0.0, 0),
        ("UINT8", 255.0, 255),
        ("UINT8", 256.0, None),
        ("INT8", 127.5, None),
        ("INT8", 0.5, None),
        ("INT32", np.nan, None),
        ("INT32", np.inf, None),
        ("BOOL", 0.0, False),
        ("BOOL", 1.0, True),
        ("BOOL", 0.5, None),
        ("BOOL", 2.0, None),
        ("BOOL", np.nan, None),
        ("FP16", 65504.0, 65504.0),
        ("FP16", 70000.0, None),
        ("FP32", 1e39, None),
        ("FP32", np.nan, None),
        ("FP64", 1e308, 1e308),
        ("FP64", -np.inf, None),
    ],
)
def test_doubles_at_the_edges(datatype: Datatype, value: float, read: float | None) -> None:
    """What lies just inside a datatype comes in exactly; what lies just outside is refused."""
    array = from_doubles(spec_of(datatype), np.array([value]))
    assert (None if array is None else array.tolist()) == (None if read is None else [read])


@pytest.mark.parametrize("datatype", FLOATS)
@given(values=hnp.arrays(np.float64, 3, elements=st.floats()), allowed=st.booleans())
@settings(deadline=None)
def test_doubles_are_rounded_to_the_nearest(datatype: Datatype, values: Array, *, allowed: bool) -> None:
    """Finite doubles stay finite or are refused; the others come in where the tensor allows them."""
    read = from_doubles(spec_of(datatype, allow_non_finite=allowed), values)
    with np.errstate(over="ignore"):
        rounded = values.astype(DTYPES[datatype])
    overflows = np.isfinite(values) & ~np.isfinite(rounded)
    if overflows.any() or not (allowed or np.isfinite(values).all()):
        assert read is None
    else:
        assert read is not None
        assert same_bits(read, rounded)


@pytest.mark.parametrize(
    ("datatype", "values", "shape"),
    [
        ("FP32", [1.0, 2.0], (3,)),
        ("FP32", [1.0, 2.0], (1, 2)),
        ("FP32", [[1.0, 2.0]], (2,)),
        ("FP32", [[1.0], [2.0, 3.0]], (2, VARIABLE)),
        ("FP32", [[]], (1, VARIABLE)),
        ("FP32", [], (VARIABLE,)),
        ("FP32", [1e39], (1,)),
        ("FP32", [-1e39], (1,)),
        ("FP16", [70000.0], (1,)),
        ("FP32", [math.inf], (1,)),
        ("FP64", [10**400], (1,)),
    ],
)
def test_lists_that_do_not_fit_make_no_array(datatype: Datatype, values: list[Any], shape: tuple[int, ...]) -> None:
    """Another length or depth, lists of unequal length, and numbers beyond the datatype, even where infinity is one."""
    assert from_lists(spec_of(datatype, allow_non_finite=True), values, shape) is None


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


@given(data=st.data(), datatype=st.sampled_from([*FLOATS, *INTEGERS]), width=st.integers(1, 5))
@settings(deadline=None)
def test_a_row_is_packed_into_the_array_it_was(data: st.DataObject, datatype: Datatype, width: int) -> None:
    """Bit for bit as from lists; and where an element does not fit, or there are others than a row has, not at all."""
    spec = TensorSpec(name="x", datatype=datatype, shape=(VARIABLE, width))
    packer = RowPacker.of(spec)
    assert packer is not None
    array = data.draw(draws.arrays(datatype, (1, width)))
    packed = packer.pack(array[0].tolist())
    assert packed is not None
    assert same_bits(packed, array)
    numbers = st.integers(-(2**65), 2**65) if datatype in INTEGERS else st.floats(allow_nan=False, allow_infinity=False)
    values = data.draw(st.lists(numbers, min_size=width - 1, max_size=width + 1))
    packed, listed = packer.pack(values), from_lists(spec, [values], (1, width))
    assert (packed is None) == (listed is None)
    assert packed is None or listed is None or same_bits(packed, listed)


@pytest.mark.parametrize(
    ("datatype", "shape"),
    [
        ("BF16", (VARIABLE, 2)),
        ("BOOL", (VARIABLE, 2)),
        ("BYTES", (VARIABLE, 2)),
        ("FP32", (VARIABLE,)),
        ("FP32", (VARIABLE, VARIABLE)),
        ("FP32", (VARIABLE, 2, 2)),
        ("FP32", (VARIABLE, 1025)),
    ],
)
def test_only_a_short_row_of_numbers_is_packed(datatype: Datatype, shape: tuple[int, ...]) -> None:
    """Every other one is made of lists; ids of words too, which have limits of their own."""
    assert RowPacker.of(TensorSpec(name="x", datatype=datatype, shape=shape)) is None
    assert RowPacker.of(TensorSpec(name="x", datatype="INT64", shape=(VARIABLE, 2), vocabulary=("a", "b"))) is None


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


def test_half_is_still_the_first_label() -> None:
    """A single probability has to be above one half for the second."""
    spec = TensorSpec(name="p", datatype="FP32", shape=(VARIABLE, 1), labels=("no", "yes"))
    column = np.array([[0.0], [0.5], [np.nextafter(np.float32(0.5), np.float32(1))], [1.0]], np.float32)
    assert labels_of(spec, column) == ["no", "no", "yes", "yes"]


@given(rows=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(0, 1, width=32)))
@settings(deadline=None)
def test_the_label_of_a_row_is_its_largest_columns(rows: Array) -> None:
    """Of equal columns it is the first."""
    spec = TensorSpec(name="p", datatype="FP32", shape=(VARIABLE, 3), labels=("a", "b", "c"))
    assert labels_of(spec, rows) == ["abc"[row.index(max(row))] for row in rows.tolist()]
