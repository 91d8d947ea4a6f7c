"""The rules for values: what a tensor of each datatype may hold, whichever wire or file it came by.

The `from_…` functions are fast: they build a valid array or return None. Why a value is refused is found by
`find_faults`, the slow second look.
"""

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from service.codec import texts
from service.errors import ElementError, RequestError, ShapeError
from service.manifest import VARIABLE, Datatype, TensorSpec

Array = npt.NDArray[Any]

DTYPES: dict[Datatype, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    # numpy has no such type: the upper halves of single floats, as they travel.
    "BF16": np.dtype(np.uint16),
    # `str` elements.
    "BYTES": np.dtype(np.object_),
}

_TEXTS = DTYPES["BYTES"]
_WIRE_DTYPES = {datatype: dtype.newbyteorder("<") for datatype, dtype in DTYPES.items()}
_PYTHON_TYPES: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float, "O": str}
_ELEMENT_TYPES = {name: float if name == "BF16" else _PYTHON_TYPES[dtype.kind] for name, dtype in DTYPES.items()}
_LIMITS = {
    name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for name, dtype in DTYPES.items() if dtype.kind in "iu"
}
_PACKED: dict[Datatype, str] = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""The letter by which `struct` knows the datatype."""
_SINGULAR = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_PLURAL = {bool: "booleans", int: "integers", float: "numbers", str: "strings"}
_LONGEST_QUOTE = 40
_FEW = 1024
_CLOSE = 1024
"""Elements that are looked at one by one when not all of them fit: so many for each fault that is told, or fewer."""
_BLOCK = 1 << 14
"""Elements of a large array that are looked at together: what is made of them to tell is small, and quick to read."""
_SAFE_SQUARES = {
    DTYPES[datatype]: float(np.finfo(DTYPES[datatype]).max) ** 2 if datatype != "FP64" else float(np.finfo("f8").max)
    for datatype in ("FP16", "FP32", "FP64")
}
"""Doubles whose squares sum up to no more than this are finite, and stay so in the datatype."""
_OVERFLOWS = {"FP16": 65520.0, "FP32": float(2**128 - 2**103), "FP64": math.inf}
"""The least double that is infinite in the datatype, half a step above its largest number."""
_TOO_LARGE_FOR_A_DOUBLE = 2**1024 - 2**970
_BF16_EXPONENT = np.uint16(0x7F80)
"""All its bits are set in the infinities and in NaN, and only there."""


class Inputs(msgspec.Struct, frozen=True, gc=False):
    """What one request brings to a model: valid arrays in the manifest's order, each of `rows` rows.

    A model without a batch dimension has one row a request, whatever its arrays' shapes.
    """

    arrays: tuple[Array, ...]
    rows: int

    @property
    def size(self) -> int:
        """How many bytes the arrays hold, of texts their characters counted with the references to them."""
        total = 0
        for array in self.arrays:
            total += array.nbytes
            if array.dtype is _TEXTS:
                total += sum(map(len, array.reshape(-1).tolist()))
        return total


class RowPacker:
    """Makes the array of one row of numbers, in a part of the time that `from_lists` takes for as little."""

    def __init__(self, spec: TensorSpec) -> None:
        (width,) = spec.row_shape
        self._pack = struct.Struct(f"={width}{_PACKED[spec.datatype]}").pack
        self._shape = (1, width)
        self._dtype = DTYPES[spec.datatype]

    @classmethod
    def of(cls, spec: TensorSpec) -> Self | None:
        """The packer of a tensor's rows; None where a row is more than a short list of numbers of a known length."""
        row_shape = spec.shape[1:]
        is_short = len(row_shape) == 1 and 0 < row_shape[0] <= _FEW
        return cls(spec) if is_short and spec.datatype in _PACKED and spec.vocabulary is None else None

    def pack(self, values: Sequence[Any]) -> Array | None:
        """The array of one row, of finite elements of `element_type`; None where their number or one does not fit."""
        try:
            return np.ndarray(self._shape, self._dtype, self._pack(*values))
        except (struct.error, OverflowError):
            return None


def element_type(datatype: Datatype) -> type:
    """The Python type of one element, as JSON has it: bool, int, float or str."""
    return _ELEMENT_TYPES[datatype]


def limits(spec: TensorSpec) -> tuple[int, int] | None:
    """The least and the largest integer of the tensor: of its datatype, or the ids of its words; None if of no such."""
    if element_type(spec.datatype) is not int:
        return None
    if spec.vocabulary is not None:
        return 0, len(spec.vocabulary) - 1
    return _LIMITS[spec.datatype]


def from_lists(spec: TensorSpec, values: Any, shape: Sequence[int]) -> Array | None:  # noqa: ANN401  # JSON
    """The array of nested lists of `element_type`; None where an element or the shape (-1: any but 0) does not fit.

    BF16 has no form in lists.
    """
    dtype = DTYPES[spec.datatype]
    try:
        array = _from_floats(values, dtype) if dtype.kind == "f" else np.array(values, dtype)
    except (ValueError, OverflowError, TypeError):
        return None
    if array is None or spec.datatype == "BF16" or not _names_words(spec, array):
        return None
    return array if array.shape == shape or _has_shape(array, shape) else None


def from_doubles(spec: TensorSpec, values: npt.NDArray[np.float64]) -> Array | None:
    """The doubles as an array of `spec`'s datatype; None where one of them does not fit it, or it has no doubles."""
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = values.astype(dtype)
        kept = np.isfinite(array) == (np.isfinite(values) if spec.allow_non_finite else True)
        return array if kept.all() else None
    if dtype.kind == "b":
        fits = (values == 0.0) | (values == 1.0)
    else:
        bounds = limits(spec)
        if bounds is None:
            return None
        least, most = bounds
        # The largest 64-bit integer is no double; the power of two above it is, and is itself too large.
        fits = (values >= float(least)) & (values < float(most) + 1.0) & (values == np.floor(values))
    return values.astype(dtype) if fits.all() else None


def from_bytes(spec: TensorSpec, blob: memoryview, shape: Sequence[int]) -> Array | None:
    """The little-endian, row-major array in `blob`, which has just its bytes, without a copy where it is aligned.

    None where a boolean is neither 0 nor 1, a number is not finite and `spec` does not allow that, or an id is
    that of no word. BYTES, whose elements have no one size, are read by `texts`.
    """
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "b":
        octets = np.frombuffer(blob, np.uint8)
        return octets.view(np.bool_).reshape(shape) if octets.max(initial=0) <= 1 else None
    array = np.frombuffer(blob, _WIRE_DTYPES[spec.datatype]).astype(dtype, copy=False)
    if not array.flags.aligned:
        array = array.copy()
    valid = (spec.allow_non_finite or is_finite(spec.datatype, array)) and _names_words(spec, array)
    return array.reshape(shape) if valid else None


def find_misfit(spec: TensorSpec, blob: memoryview) -> tuple[int, object]:
    """The first element of bytes that `from_bytes` refuses for what they hold: its place, row-major, and itself."""
    raw = np.frombuffer(blob, np.uint8 if spec.datatype == "BOOL" else _WIRE_DTYPES[spec.datatype])
    for start in range(0, raw.size, _BLOCK):
        array = numbers_of(spec.datatype, raw[start : start + _BLOCK])
        if spec.datatype == "BOOL":
            wrong = array > 1
        elif spec.vocabulary is not None:
            # Not the other way round: what is no number is neither below nor above.
            wrong = ~((array >= 0) & (array < len(spec.vocabulary)))
        else:
            wrong = ~np.isfinite(array)
        if wrong.any():
            place = int(wrong.argmax())
            return start + place, array[place].item()
    raise ValueError("all of it fits")


def to_bytes(array: Array) -> bytes | memoryview:
    """The array's elements, little-endian and row-major; of many, in the memory where they lie so."""
    if array.dtype.kind == "O":
        return texts.to_bytes(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.size <= _FEW:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def is_finite(datatype: Datatype, array: Array) -> bool:
    """Whether no element is NaN or infinite."""
    if array.size > _BLOCK:
        flat = array.reshape(-1)
        return all(is_finite(datatype, flat[start : start + _BLOCK]) for start in range(0, flat.size, _BLOCK))
    if datatype == "BF16":
        return not np.count_nonzero(array & _BF16_EXPONENT == _BF16_EXPONENT)
    return array.dtype.kind != "f" or bool(np.count_nonzero(np.isfinite(array)) == array.size)


def numbers_of(datatype: Datatype, array: Array) -> Array:
    """The array, of BF16 as the single floats that its elements are."""
    return (array.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else array


def labels_of(spec: TensorSpec, array: Array) -> list[str]:
    """The label of each row: of its largest column, or of a single probability above one half the second."""
    labels = spec.labels or ()
    if spec.shape[-1] == 1:
        return labels_of_second(labels, array.reshape(-1).tolist())
    return [labels[column] for column in array.argmax(axis=-1).tolist()]


def labels_of_second(labels: Sequence[str], probabilities: Sequence[Any]) -> list[str]:
    """For each probability of the second of two labels, the label that it makes the likelier one."""
    return [labels[probability > 0.5] for probability in probabilities]  # noqa: PLR2004  # evens


def with_integers(spec: TensorSpec, values: Any) -> Any:  # noqa: ANN401  # JSON
    """`values`, with each float that is an integer written as one where `spec` holds integers: 1.0 is a valid 1."""
    if element_type(spec.datatype) is not int:
        return values
    if isinstance(values, list):
        return [
            int(value)
            if isinstance(value, float) and value.is_integer()
            else with_integers(spec, value)
            if isinstance(value, list)
            else value
            for value in values
        ]
    return int(values) if isinstance(values, float) and values.is_integer() else values


def find_faults(
    spec: TensorSpec,
    values: Any,  # noqa: ANN401  # JSON
    shape: Sequence[int],
    pointer: str,
) -> Iterator[RequestError]:
    """Every fault of a JSON value against `spec`'s elements and the shape (-1: any but 0) it should have, in order.

    `pointer` is the JSON pointer of `values` itself. Lists of unequal length below a variable dimension are
    no fault of any one element: they alone are refused by `from_lists` and not found here.
    """
    if not shape:
        expected = _unmet(spec, values)
        if expected:
            yield ElementError.at(pointer, expected=expected, got=describe(values))
        return
    length, inner = shape[0], shape[1:]
    if isinstance(values, list) and (len(values) == length or (length == VARIABLE and values)):
        # Of large lists each is looked at by itself, in parts, and not twice.
        is_large = len(inner) > 0 and math.prod(inner) >= _CLOSE
        near = enumerate(values) if is_large else suspects(values, inner, lambda few: all_fit(spec, few, inner))
        for index, value in near:
            yield from find_faults(spec, value, inner, f"{pointer}/{index}")
        return
    what = "lists" if inner else _PLURAL[element_type(spec.datatype)]
    count = "1 or more" if length == VARIABLE else length
    yield ShapeError.at(pointer, expected=f"a list of {count} {what}", got=describe(values))


def suspects(
    values: Sequence[Any], shape: Sequence[int], fit: Callable[[Sequence[Any]], bool]
) -> Iterator[tuple[int, Any]]:
    """The values, with their places, among which a faulty one is: those next to each other that do not all `fit`.

    A value has a `shape`, which decides how many are looked at together. So most of a large body is looked at with
    all the speed there is, and closely only what is near a fault: who stops at some number of faults knows the cost.
    """
    size = max(_CLOSE // math.prod(max(length, 1) for length in shape), 1)
    for start in range(0, len(values), size):
        few = values[start : start + size]
        if not fit(few):
            yield from enumerate(few, start)


def all_fit(spec: TensorSpec, values: Sequence[Any], shape: Sequence[int]) -> bool:
    """Whether `find_faults` would find none in any of the JSON values, told without looking at each."""
    for length in shape:
        if set(map(type, values)) != {list}:
            return False
        lengths = set(map(len, values))
        if lengths != {length} if length != VARIABLE else 0 in lengths:
            return False
        values = list(chain.from_iterable(values))
    return _are_elements(spec, values)


def first_uneven(values: Sequence[Any]) -> tuple[list[int], int, int] | None:
    """The first list that has another length than the first one of its depth: its place, that length and its own.

    The values are lists, nested to one depth.
    """
    before: list[int] = []
    while values and isinstance(values[0], list):
        lengths = list(map(len, values))
        for place, length in enumerate(lengths):
            if length != lengths[0]:
                steps: list[int] = []
                for width in reversed(before):
                    place, step = divmod(place, width)  # noqa: PLW2901  # taken apart
                    steps.append(step)
                return [place, *reversed(steps)], lengths[0], length
        before.append(lengths[0])
        values = list(chain.from_iterable(values))
    return None


def describe(value: Any) -> str:  # noqa: ANN401  # JSON
    """A JSON value in a few words, for a person."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and math.isinf(value):
        # As JSON has no infinity, this is how a number with too many digits or too large an exponent was read.
        return "a number too large"
    # Cut before it is quoted, since it may be as long as a body.
    text = repr(value[: _LONGEST_QUOTE + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _has_shape(array: Array, shape: Sequence[int]) -> bool:
    return len(array.shape) == len(shape) and all(
        got == wanted or (wanted == VARIABLE and got > 0) for wanted, got in zip(shape, array.shape, strict=True)
    )


def _names_words(spec: TensorSpec, array: Array) -> bool:
    """Whether the tensor holds ids of its vocabulary only, if it has one."""
    if spec.vocabulary is None:
        return True
    return bool(array.min(initial=0) >= 0 and array.max(initial=0) < len(spec.vocabulary))


def _are_elements(spec: TensorSpec, values: Sequence[Any]) -> bool:
    """Whether each JSON value is an element of the tensor, whatever its neighbours are."""
    wanted, types = _ELEMENT_TYPES[spec.datatype], set(map(type, values))
    if wanted in (bool, str) or not types <= {int, float}:
        return types == {wanted}
    bounds = limits(spec)
    if bounds is not None:
        is_whole = all(map(float.is_integer, [value for value in values if isinstance(value, float)]))
        return is_whole and bool(bounds[0] <= min(values) and max(values) <= bounds[1])
    try:
        return _from_floats(values, DTYPES[spec.datatype]) is not None
    except OverflowError:
        return False


def _unmet(spec: TensorSpec, value: Any) -> str:  # noqa: ANN401  # JSON
    """What an element should be and is not; empty where it is."""
    wanted = _ELEMENT_TYPES[spec.datatype]
    if wanted in (bool, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return "" if wanted in (bool, str) and isinstance(value, wanted) else _SINGULAR[wanted]
    bounds = limits(spec)
    if bounds is not None:
        if isinstance(value, float) and not value.is_integer():
            return _SINGULAR[int]
        least, most = bounds
        return "" if least <= value <= most else f"an integer from {least} to {most}"
    if abs(value) < _TOO_LARGE_FOR_A_DOUBLE and abs(float(value)) < _OVERFLOWS[spec.datatype]:
        return ""
    return f"a number within ±{np.finfo(DTYPES[spec.datatype]).max:.4g}"


def _from_floats(values: Any, dtype: np.dtype[Any]) -> Array | None:  # noqa: ANN401  # JSON
    """The array of nested lists of numbers; None where one of them is not finite, or would not be in `dtype`."""
    doubles = np.array(values, np.float64)
    # For a few numbers this takes less time than either of the two steps below.
    if doubles.size <= _FEW and np.vdot(doubles, doubles) <= _SAFE_SQUARES[dtype]:
        return doubles.astype(dtype)
    with np.errstate(over="ignore"):
        array = doubles.astype(dtype, copy=False)
    return array if np.count_nonzero(np.isfinite(array)) == array.size else None
