"""What is wrong with the cells that do not fit: where, what was expected and what stands there."""

import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

import pyarrow as pa

from service.codec.faults import describe, find_faults, first_uneven
from service.codec.tensors import element_type
from service.codec.words import LONGEST_CONTEXT, find_context_faults
from service.errors import MAX_FAULTS, RequestError
from service.manifest import TensorSpec
from service.scoring.arrow_types import holds_texts
from service.scoring.layout import Cell
from service.scoring.lists import Places, json_value
from service.scoring.reading.blocks import RowFault

_Said = tuple[str, str]
"""What was expected, and what is there."""
_NOUNS = {bool: "0 or 1", int: "an integer", float: "a number", str: "a string"}


def faults_of(cell: Cell, column: pa.Array, places: Places, rows: Places, *, takes_words: bool) -> Iterator[RowFault]:
    """The faults of the cells at these places of a column, all of which have some; they are in these rows."""
    column = column.take(pa.array(places))
    is_text = holds_texts(column.type)
    # The usual dirty file has very many, most of them alike.
    known: dict[object, list[_Said]] = {}
    for row, value in zip(rows.tolist(), column.to_pylist(), strict=True):
        # NaN is not equal to itself, nor 1 to the text "1"; lists may be large.
        key = None if isinstance(value, list) else (type(value), value) if value == value else "nan"  # noqa: PLR0124  # the same
        parts = known.get(key)
        if parts is None:
            parts = list(islice(_errors(cell, value, is_text=is_text, takes_words=takes_words), MAX_FAULTS))
            # Whatever it is: a row that is left out is one that is told.
            parts = parts or [(_expected(cell.spec), describe(value))]
            if key is not None:
                known[key] = parts
        for expected, got in parts:
            yield RowFault(row, cell.column, expected, got)


def _errors(cell: Cell, value: Any, *, is_text: bool, takes_words: bool) -> Iterator[_Said]:  # noqa: ANN401  # JSON
    """What was expected and what is there, for each fault of a value."""
    if is_text and value is not None:
        if not cell.shape:
            yield _expected(cell.spec), describe(value)
            return
        value = json_value(value)
    are_ids = isinstance(value, list) and any(isinstance(one, int) for one in value)
    if takes_words and (not are_ids or len(value) > LONGEST_CONTEXT):
        yield from map(_told, find_context_faults(value, ""))
        return
    value = _as_json(cell.spec, value, len(cell.shape))
    faults = [_told(error) for error in islice(find_faults(cell.spec, value, cell.shape, ""), MAX_FAULTS)]
    yield from faults
    if not faults and cell.shape and (uneven := first_uneven([value])) is not None:
        steps, expected, got = uneven
        place = "".join(f"/{step}" for step in steps[1:])
        yield f"a list of {expected}, as the first list there has, at {place}", f"a list of {got}"


def _expected(spec: TensorSpec) -> str:
    """What a text should be that is no element of the tensor."""
    if spec.vocabulary is not None:
        return f"an integer from 0 to {len(spec.vocabulary) - 1}"
    return f"{_NOUNS[element_type(spec.datatype)]} that {spec.datatype} can hold"


def _told(error: RequestError) -> _Said:
    (fault,) = error.faults
    return f"{fault.expected} at {fault.pointer}" if fault.pointer else fault.expected, fault.got


def _as_json(spec: TensorSpec, value: Any, depth: int) -> Any:  # noqa: ANN401  # JSON
    """The value as JSON would have it, in which a file's own kinds of numbers are no faults.

    Lists are looked into so deep as the tensor has them: those of text may be nested deeper than calls can be.
    """
    if isinstance(value, list):
        return [_as_json(spec, one, depth - 1) for one in value] if depth else value
    if isinstance(value, Decimal):
        value = float(value)
    if element_type(spec.datatype) is bool and value in (0, 1):
        return bool(value)
    if spec.allow_non_finite and isinstance(value, float) and not math.isfinite(value):
        return 0.0
    return value
