"""The rules for values: what a tensor of each datatype may hold, whichever wire or file it came by.

The `from_…` functions are fast: they build a valid array or return None. Why a value is refused is found by
`find_faults`, the slow second look.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

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
}

_PYTHON_TYPES: dict[str, type] = {"b": bool, "i": int, "u": int, "f": float}
_SINGULAR = {bool: "true or false", int: "an integer", float: "a number"}
_PLURAL = {bool: "booleans", int: "integers", float: "numbers"}
_LONGEST_QUOTE = 40


class Inputs(NamedTuple):
    """What one request brings to a model: valid arrays in the manifest's order, each of `rows` rows."""

    arrays: tuple[Array, ...]
    rows: int


def element_type(datatype: Datatype) -> type:
    """The Python type of one element, as JSON has it: bool, int or float."""
    return _PYTHON_TYPES[DTYPES[datatype].kind]


def from_lists(spec: TensorSpec, values: Any, shape: Sequence[int]) -> Array | None:  # noqa: ANN401  # JSON
    """The array of nested lists of `element_type`; None where an element or the shape (-1: any but 0) does not fit."""
    try:
        array = _cast(values, DTYPES[spec.datatype])
    except (ValueError, OverflowError, TypeError):
        return None
    fits = len(array.shape) == len(shape) and all(
        got == wanted or (wanted == VARIABLE and got > 0) for wanted, got in zip(shape, array.shape, strict=True)
    )
    return array if fits and is_finite(array) and _names_words(spec, array) else None


def from_doubles(spec: TensorSpec, values: npt.NDArray[np.float64]) -> Array | None:
    """The doubles as an array of `spec`'s datatype; None where one of them does not fit it."""
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        array = _cast(values, dtype)
        kept = np.isfinite(array) == (np.isfinite(values) if spec.allow_non_finite else True)
        return array if kept.all() else None
    if dtype.kind == "b":
        fits = (values == 0.0) | (values == 1.0)
    else:
        least, most = _limits(spec)
        # The largest 64-bit integer is no double; the power of two above it is, and is itself too large.
        fits = (values >= float(least)) & (values < float(most) + 1.0) & (values == np.floor(values))
    return values.astype(dtype) if fits.all() else None


def from_bytes(spec: TensorSpec, blob: memoryview, shape: Sequence[int]) -> Array | None:
    """The little-endian, row-major array in `blob`, which has just its bytes, without a copy where it is aligned.

    None where a boolean is neither 0 nor 1, a number is not finite and `spec` does not allow that, or an id is
    that of no word.
    """
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "b":
        octets = np.frombuffer(blob, np.uint8)
        return octets.view(np.bool_).reshape(shape) if (octets <= 1).all() else None
    array = np.require(np.frombuffer(blob, dtype.newbyteorder("<")), dtype, "A").reshape(shape)
    return array if (spec.allow_non_finite or is_finite(array)) and _names_words(spec, array) else None


def to_bytes(array: Array) -> bytes:
    """The array's elements, little-endian and row-major."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def is_finite(array: Array) -> bool:
    """Whether no element is NaN or infinite."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


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
        return [with_integers(spec, value) for value in values]
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
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def _limits(spec: TensorSpec) -> tuple[int, int]:
    """The least and the largest integer of the tensor: of its datatype, or the ids of its words."""
    if spec.vocabulary is not None:
        return 0, len(spec.vocabulary) - 1
    limits = np.iinfo(DTYPES[spec.datatype])
    return int(limits.min), int(limits.max)


def _names_words(spec: TensorSpec, array: Array) -> bool:
    """Whether the tensor holds ids of its vocabulary only, if it has one."""
    return spec.vocabulary is None or bool(((array >= 0) & (array < len(spec.vocabulary))).all())


def _unmet(spec: TensorSpec, value: Any) -> str:  # noqa: ANN401  # JSON
    """What an element should be and is not; empty where it is."""
    wanted, dtype = element_type(spec.datatype), DTYPES[spec.datatype]
    if wanted is bool or isinstance(value, bool) or not isinstance(value, int | float):
        return "" if wanted is bool and isinstance(value, bool) else _SINGULAR[wanted]
    if wanted is int:
        if isinstance(value, float) and not value.is_integer():
            return _SINGULAR[int]
        least, most = _limits(spec)
        return "" if least <= value <= most else f"an integer from {least} to {most}"
    try:
        fits = math.isfinite(_cast(float(value), dtype))
    except OverflowError:
        fits = False
    return "" if fits else f"a number within ±{np.finfo(dtype).max:.4g}"


def _cast(values: Any, dtype: np.dtype[Any]) -> Array:  # noqa: ANN401  # lists or an array
    # A double too large for the datatype becomes infinite, which the callers look for.
    with np.errstate(over="ignore"):
        return np.array(values, dtype)
