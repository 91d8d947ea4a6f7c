"""The second look at values that did not fit: what is wrong with them, where, and what was expected."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.codec.tensors import BLOCK, DTYPES, WIRE_DTYPES, element_type, from_lists, limits, numbers_of
from service.errors import ElementError, RequestError, ShapeError
from service.manifest import VARIABLE, TensorSpec

_SINGULAR = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}
_PLURAL = {bool: "booleans", int: "integers", float: "numbers", str: "strings"}
_LONGEST_QUOTE = 40
_CLOSE = 1024
"""Elements that are looked at one by one when not all of them fit: so many for each fault that is told, or fewer."""
_OVERFLOWS = {"FP16": 65520.0, "FP32": float(2**128 - 2**103), "FP64": math.inf}
"""The least double that is infinite in the datatype, half a step above its largest number."""
_TOO_LARGE_FOR_A_DOUBLE = 2**1024 - 2**970


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


def find_misfit(spec: TensorSpec, blob: memoryview) -> tuple[int, object]:
    """The first element of bytes that `from_bytes` refuses for what they hold: its place, row-major, and itself."""
    raw = np.frombuffer(blob, np.uint8 if spec.datatype == "BOOL" else WIRE_DTYPES[spec.datatype])
    for start in range(0, raw.size, BLOCK):
        array = numbers_of(spec.datatype, raw[start : start + BLOCK])
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


def _are_elements(spec: TensorSpec, values: Sequence[Any]) -> bool:
    """Whether each JSON value is an element of the tensor, whatever its neighbours are."""
    wanted, types = element_type(spec.datatype), set(map(type, values))
    if wanted in (bool, str) or not types <= {int, float}:
        return types == {wanted}
    bounds = limits(spec)
    if bounds is not None:
        is_whole = all(map(float.is_integer, [value for value in values if isinstance(value, float)]))
        return is_whole and bool(bounds[0] <= min(values) and max(values) <= bounds[1])
    return from_lists(spec, values, (len(values),)) is not None


def _unmet(spec: TensorSpec, value: Any) -> str:  # noqa: ANN401  # JSON
    """What an element should be and is not; empty where it is."""
    wanted = element_type(spec.datatype)
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
