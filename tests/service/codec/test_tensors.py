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
    cast_doubles,
    element_type,
    from_bytes,
    from_doubles,
    from_lists,
    is_finite,
    labels_of,
    limits,
    numbers_of,
    to_bytes,
)
from service.manifest import VARIABLE, Datatype, TensorSpec
from tests.service.codec import draws
from tests.service.codec.draws import DATATYPES, FLOATS, INTEGERS, JSON_DATATYPES, range_of, same_bits, spec_of


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


def test_many_bytes_are_written_from_where_they_lie() -> None:
    """What is large is not copied before it is sent; what lies otherwise is."""
    many = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    assert np.shares_memory(np.frombuffer(to_bytes(many), np.float32), many)
    assert to_bytes(many) == many.tobytes()
    assert to_bytes(many.T) == many.T.tobytes()


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
    """Lists take an integer of the datatype's range as it is and refuse every other."""
    lowest, highest = range_of(datatype)
    for number in (value, lowest, lowest - 1, highest, highest + 1):
        read = from_lists(spec_of(datatype), [number], (1,))
        if lowest <= number <= highest:
            assert read is not None
            assert read.tolist() == [number]
        else:
            assert read is None


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


@given(data=st.data(), datatype=st.sampled_from([*FLOATS, *INTEGERS, "BOOL"]), allowed=st.booleans())
@settings(deadline=None)
def test_each_double_fits_as_it_would_alone(data: st.DataObject, datatype: Datatype, allowed: bool) -> None:  # noqa: FBT001  # drawn
    """Whatever its neighbours are; and is the same element then."""
    spec = spec_of(datatype, allow_non_finite=allowed)
    values = np.array(data.draw(st.lists(st.one_of(st.floats(), st.integers(-3, 300).map(float)), max_size=6)))
    array, fits = cast_doubles(spec, values)
    for value, own, fit in zip(values, array, fits, strict=True):
        alone = from_doubles(spec, np.array([value]))
        assert fit == (alone is not None)
        assert alone is None or same_bits(alone, np.array([own]))
