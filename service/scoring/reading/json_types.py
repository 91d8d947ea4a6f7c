"""The columns that lines of JSON have, and the types that their values make."""

import json
from collections.abc import Sequence
from functools import reduce
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa

_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), type(None): pa.null()}
_NUMBERS = [pa.int64(), pa.uint64(), pa.float64()]
"""Each with those behind it makes a column of theirs."""
_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)
_DEEPEST = 32
"""What is nested deeper is not looked at for its type."""
_DECODER = msgspec.json.Decoder()


def infer(text: bytes) -> pa.Schema | None:
    """The columns of some lines, in the order in which they appear; None where no line is an object with a name.

    Not by pyarrow, which takes some texts for times and long integers for doubles, and ends the process where lists
    are nested deeply. Faulty lines are passed over.
    """
    objects = [value for value in map(_read, text.split(b"\n")) if isinstance(value, dict)]
    names = dict.fromkeys(chain.from_iterable(objects))
    return pa.schema([(name, column_type([one.get(name) for one in objects])) for name in names]) if names else None


def column_type(values: Sequence[Any]) -> pa.DataType:
    """The type of a column of these values; of text where they do not tell."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) == 1 and kinds <= {bool, float, str}:
        return _TYPES[kinds.pop()]
    if kinds == {int}:
        there = [value for value in values if value is not None]
        if min(there) in _INT64 and max(there) in _INT64:
            return pa.int64()
    return _settled(reduce(merged, map(type_of, values), pa.null()))


def type_of(value: Any, depth: int = 0) -> pa.DataType:  # noqa: ANN401  # JSON
    """The type of a column that holds this value. An integer that none holds makes it a column of doubles."""
    if depth > _DEEPEST:
        return pa.null()
    if isinstance(value, list):
        return pa.list_(reduce(merged, (type_of(item, depth + 1) for item in value), pa.null()))
    if isinstance(value, dict):
        return pa.struct([(name, type_of(own, depth + 1)) for name, own in value.items()])
    if type(value) is int and value not in _INT64:
        return pa.uint64() if value in _UINT64 else pa.float64()
    return _TYPES[type(value)]


def merged(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type of a column that holds values of both types; where there is none, the first."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first) or (first in _NUMBERS and second in _NUMBERS[_NUMBERS.index(first) :]):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(merged(first.value_type, second.value_type))
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        fields = {field.name: field.type for field in first}
        for field in second:
            fields[field.name] = merged(fields.get(field.name, pa.null()), field.type)
        return pa.struct(list(fields.items()))
    return first


def _settled(datatype: pa.DataType) -> pa.DataType:
    """The type with text for what is not known."""
    if pa.types.is_list(datatype):
        return pa.list_(_settled(datatype.value_type))
    if pa.types.is_struct(datatype):
        return pa.struct([pa.field(field.name, _settled(field.type)) for field in datatype])
    return pa.string() if pa.types.is_null(datatype) else datatype


def _read(line: bytes) -> Any:  # noqa: ANN401  # JSON
    """The value of a line; None where it has none. NaN is a number here, as it is to pyarrow."""
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None
