"""The rules for values: what a tensor of each datatype may hold, whichever wire or file it came by.

The `from_…` functions are fast: they build a valid array or return None. Why they did not is found by `faults`.
"""

import struct
from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from service.codec import texts
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

WIRE_DTYPES = {datatype: dtype.newbyteorder("<") for datatype, dtype in DTYPES.items()}
"""The same as they travel."""
BLOCK = 1 << 14
"""Elements of a large array that are looked at together: what is made of them to tell is small, and quick to read."""

_TEXTS = DTYPES["BYTES"]
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
_FEW = 1024
_SAFE_SQUARES = {
    DTYPES[datatype]: float(np.finfo(DTYPES[datatype]).max) ** 2 if datatype != "FP64" else float(np.finfo("f8").max)
    for datatype in ("FP16", "FP32", "FP64")
}
"""Doubles whose squares sum up to no more than this are finite, and stay so in the datatype."""
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
    if spec.datatype in ("BF16", "BYTES"):
        return None
    array, fits = cast_doubles(spec, values)
    return array if fits.all() else None


def cast_doubles(spec: TensorSpec, values: npt.NDArray[np.float64]) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The doubles as an array of `spec`'s datatype, which has doubles, and which of them fit it: the others are any."""
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = values.astype(dtype)
        return array, np.isfinite(array) == (np.isfinite(values) if spec.allow_non_finite else True)
    bounds = limits(spec)
    if bounds is None:
        fits = (values == 0.0) | (values == 1.0)
    else:
        least, most = bounds
        # The largest 64-bit integer is no double; the power of two above it is, and is itself too large.
        fits = (values >= float(least)) & (values < float(most) + 1.0) & (values == np.floor(values))
    with np.errstate(invalid="ignore"):
        return values.astype(dtype), fits


def from_bytes(spec: TensorSpec, blob: memoryview, shape: Sequence[int]) -> Array | None:
    """The little-endian, row-major array in `blob`, which has just its bytes, without a copy where it is aligned.

    None where a boolean is neither 0 nor 1, a number is not finite and `spec` does not allow that, or an id is
    that of no word. BYTES, whose elements have no one size, are read by `texts`.
    """
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "b":
        octets = np.frombuffer(blob, np.uint8)
        return octets.view(np.bool_).reshape(shape) if octets.max(initial=0) <= 1 else None
    array = np.frombuffer(blob, WIRE_DTYPES[spec.datatype]).astype(dtype, copy=False)
    if not array.flags.aligned:
        array = array.copy()
    valid = (spec.allow_non_finite or is_finite(spec.datatype, array)) and _names_words(spec, array)
    return array.reshape(shape) if valid else None


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
    if array.size > BLOCK:
        flat = array.reshape(-1)
        return all(is_finite(datatype, flat[start : start + BLOCK]) for start in range(0, flat.size, BLOCK))
    if datatype == "BF16":
        return not np.count_nonzero(array & _BF16_EXPONENT == _BF16_EXPONENT)
    return array.dtype.kind != "f" or bool(np.count_nonzero(np.isfinite(array)) == array.size)


def numbers_of(datatype: Datatype, array: Array) -> Array:
    """The array, of BF16 as the single floats that its elements are."""
    return (array.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else array


def label_places(spec: TensorSpec, array: Array) -> Array:
    """Which label each row has: that of its largest column, or of a single probability above one half the second."""
    if spec.shape[-1] == 1:
        likelier: Array = array.reshape(-1) > 0.5  # noqa: PLR2004  # evens
        return likelier
    largest: Array = array.argmax(axis=-1)
    return largest


def labels_of(spec: TensorSpec, array: Array) -> list[str]:
    """The label of each row."""
    labels = spec.labels or ()
    return [labels[place] for place in label_places(spec, array).tolist()]


def labels_of_second(labels: Sequence[str], probabilities: Sequence[Any]) -> list[str]:
    """For each probability of the second of two labels, the label that it makes the likelier one."""
    return [labels[probability > 0.5] for probability in probabilities]  # noqa: PLR2004  # evens


def _has_shape(array: Array, shape: Sequence[int]) -> bool:
    return len(array.shape) == len(shape) and all(
        got == wanted or (wanted == VARIABLE and got > 0) for wanted, got in zip(shape, array.shape, strict=True)
    )


def _names_words(spec: TensorSpec, array: Array) -> bool:
    """Whether the tensor holds ids of its vocabulary only, if it has one."""
    if spec.vocabulary is None:
        return True
    return bool(array.min(initial=0) >= 0 and array.max(initial=0) < len(spec.vocabulary))


def _from_floats(values: Any, dtype: np.dtype[Any]) -> Array | None:  # noqa: ANN401  # JSON
    """The array of nested lists of numbers; None where one of them is not finite, or would not be in `dtype`."""
    doubles = np.array(values, np.float64)
    # For a few numbers this takes less time than either of the two steps below.
    if doubles.size <= _FEW and np.vdot(doubles, doubles) <= _SAFE_SQUARES[dtype]:
        return doubles.astype(dtype)
    with np.errstate(over="ignore"):
        array = doubles.astype(dtype, copy=False)
    return array if np.count_nonzero(np.isfinite(array)) == array.size else None
