"""The rules for values: what a tensor of each datatype may hold, whichever wire or file it came by.

The `from_…` functions are fast: they build a valid array or return None. Why a value is refused is found by
`find_faults`, the slow second look.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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

_WIRE_DTYPES = {datatype: dtype.newbyteorder("<") for datatype, dtype in DTYPES.items()}
_PYTHON_TYPES: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float, "O": str}
_SINGULAR = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_PLURAL = {bool: "booleans", int: "integers", float: "numbers", str: "strings"}
_LONGEST_QUOTE = 40
_FEW = 1024
_SAFE_SQUARES = {
    DTYPES[datatype]: float(np.finfo(DTYPES[datatype]).max) ** 2 if datatype != "FP64" else float(np.finfo("f8").max)
    for datatype in ("FP16", "FP32", "FP64")
}
"""Doubles whose squares sum up to no more than this are finite, and stay so in the datatype."""
_BF16_EXPONENT = np.uint16(0x7F80)
"""All its bits are set in the infinities and in NaN, and only there."""


class Inputs(NamedTuple):
    """What one request brings to a model: valid arrays in the manifest's order, each of `rows` rows.

    A model without a batch dimension has one row a request, whatever its arrays' shapes.
    """

    arrays: tuple[Array, ...]
    rows: int

    @property
    def size(self) -> int:
        """How many bytes the arrays hold, of texts their characters counted with the references to them."""
        return sum(
            array.nbytes + (sum(map(len, array.flat)) if array.dtype.kind == "O" else 0) for array in self.arrays
        )


def element_type(datatype: Datatype) -> type:
    """The Python type of one element, as JSON has it: bool, int, float or str."""
    return float if datatype == "BF16" else _PYTHON_TYPES[DTYPES[datatype].kind]


def limits(spec: TensorSpec) -> tuple[int, int] | None:
    """The least and the largest integer of the tensor: of its datatype, or the ids of its words; None if of no such."""
    if element_type(spec.datatype) is not int:
        return None
    if spec.vocabulary is not None:
        return 0, len(spec.vocabulary) - 1
    bounds = np.iinfo(DTYPES[spec.datatype])
    return int(bounds.min), int(bounds.max)


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
        return octets.view(np.bool_).reshape(shape) if np.count_nonzero(octets > 1) == 0 else None
    array = np.frombuffer(blob, _WIRE_DTYPES[spec.datatype]).astype(dtype, copy=False)
    if not array.flags.aligned:
        array = array.copy()
    valid = (spec.allow_non_finite or is_finite(spec.datatype, array)) and _names_words(spec, array)
    return array.reshape(shape) if valid else None


def find_misfit(spec: TensorSpec, blob: memoryview) -> tuple[int, object]:
    """The first element of bytes that `from_bytes` refuses for what they hold: its place, row-major, and itself."""
    if spec.datatype == "BOOL":
        array: Array = np.frombuffer(blob, np.uint8)
        wrong = array > 1
    else:
        array = numbers_of(spec.datatype, np.frombuffer(blob, _WIRE_DTYPES[spec.datatype]))
        wrong = ~np.isfinite(array)
        if spec.vocabulary is not None:
            # Not the other way round: what is no number is neither below nor above.
            wrong |= ~((array >= 0) & (array < len(spec.vocabulary)))
    place = int(np.flatnonzero(wrong)[0])
    return place, array[place].item()


def to_bytes(array: Array) -> bytes:
    """The array's elements, little-endian and row-major."""
    if array.dtype.kind == "O":
        return texts.to_bytes(array)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def is_finite(datatype: Datatype, array: Array) -> bool:
    """Whether no element is NaN or infinite."""
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
        return [labels[probability > 0.5] for probability in array.reshape(-1).tolist()]  # noqa: PLR2004  # evens
    return [labels[column] for column in array.argmax(axis=-1).tolist()]


def with_integers(spec: TensorSpec, values: Any) -> Any:  # noqa: ANN401  # JSON
    """`values`, with each float that is an integer written as one where `spec` holds integers: 1.0 is a valid 1."""
    if element_type(spec.datatype) is not int:
        return values
    if isinstance(values, list):
        return [with_integers(spec, value) if isinstance(value, float | list) else value for value in values]
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
        if inner or not _all_fit(spec, values):
            for index, value in enumerate(values):
                yield from find_faults(spec, value, inner, f"{pointer}/{index}")
        return
    what = "lists" if inner else _PLURAL[element_type(spec.datatype)]
    count = "1 or more" if length == VARIABLE else length
    yield ShapeError.at(pointer, expected=f"a list of {count} {what}", got=describe(values))


def describe(value: Any) -> str:  # noqa: ANN401  # JSON
    """A JSON value in a few words, for a person."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    # Cut before it is quoted, since it may be as long as a body.
    text = repr(value[: _LONGEST_QUOTE + 1] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _has_shape(array: Array, shape: Sequence[int]) -> bool:
    return len(array.shape) == len(shape) and all(
        got == wanted or (wanted == VARIABLE and got > 0) for wanted, got in zip(shape, array.shape, strict=True)
    )


def _names_words(spec: TensorSpec, array: Array) -> bool:
    """Whether the tensor holds ids of its vocabulary only, if it has one."""
    return spec.vocabulary is None or bool(((array >= 0) & (array < len(spec.vocabulary))).all())


def _all_fit(spec: TensorSpec, values: list[Any]) -> bool:
    """Whether these are many values and all of them elements of the tensor: told without looking at each."""
    return (
        len(values) >= _FEW
        and set(map(type, values)) == {element_type(spec.datatype)}
        and from_lists(spec, values, (len(values),)) is not None
    )


def _unmet(spec: TensorSpec, value: Any) -> str:  # noqa: ANN401  # JSON
    """What an element should be and is not; empty where it is."""
    wanted, dtype = element_type(spec.datatype), DTYPES[spec.datatype]
    if wanted in (bool, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return "" if wanted in (bool, str) and isinstance(value, wanted) else _SINGULAR[wanted]
    bounds = limits(spec)
    if bounds is not None:
        if isinstance(value, float) and not value.is_integer():
            return _SINGULAR[int]
        least, most = bounds
        return "" if least <= value <= most else f"an integer from {least} to {most}"
    return "" if from_lists(spec, value, ()) is not None else f"a number within ±{np.finfo(dtype).max:.4g}"


def _from_floats(values: Any, dtype: np.dtype[Any]) -> Array | None:  # noqa: ANN401  # JSON
    """The array of nested lists of numbers; None where one of them is not finite, or would not be in `dtype`."""
    doubles = np.array(values, np.float64)
    # For a few numbers this takes less time than either of the two steps below.
    if doubles.size <= _FEW and np.vdot(doubles, doubles) <= _SAFE_SQUARES[dtype]:
        return doubles.astype(dtype)
    with np.errstate(over="ignore"):
        array = doubles.astype(dtype, copy=False)
    return array if np.count_nonzero(np.isfinite(array)) == array.size else None
