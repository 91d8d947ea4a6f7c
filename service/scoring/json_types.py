"""The types of columns for JSON values: which one a value makes, which values one takes, how others are told."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce
from itertools import chain
from typing import Any

import pyarrow as pa

from service.codec.faults import describe

_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string(), type(None): pa.null()}
_NUMBERS = [pa.int64(), pa.uint64(), pa.float64()]
"""Each with those behind it makes a column of theirs."""
_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)
_DEEPEST = 32
"""What is nested deeper is not looked at for its type."""
MISFIT = object()
"""Stands for a value that no column of the type takes."""


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


class Judge(ABC):
    """The values of a type. null is one of every type: whether it may be there is decided elsewhere."""

    plural: str

    @abstractmethod
    def fits(self, values: Sequence[Any]) -> bool:
        """Whether all values are fine as they are, told without looking at each where they are."""

    @abstractmethod
    def fitting(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        """The value itself, or what is written for it, or `MISFIT`."""

    @abstractmethod
    def fault(self, value: Any) -> tuple[str, str]:  # noqa: ANN401  # JSON
        """What was expected and what came, of a value that is `MISFIT`."""


def judge_of(datatype: pa.DataType) -> Judge:
    """The judge of a column's type."""
    if pa.types.is_list(datatype):
        return _Lists(judge_of(datatype.value_type))
    if pa.types.is_integer(datatype):
        return _Integers(datatype)
    if pa.types.is_floating(datatype):
        return _Scalars({int, float}, "a number", "numbers")
    if pa.types.is_boolean(datatype):
        return _Scalars({bool}, "true or false", "booleans")
    if pa.types.is_string(datatype):
        return _Scalars({str}, "a string", "strings")
    return _Anything()


class _Scalars(Judge):
    def __init__(self, types: set[type], singular: str, plural: str) -> None:
        self._types, self._singular, self.plural = types | {type(None)}, singular, plural

    def fits(self, values: Sequence[Any]) -> bool:
        return set(map(type, values)) <= self._types

    def fitting(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        return value if type(value) in self._types else MISFIT

    def fault(self, value: Any) -> tuple[str, str]:  # noqa: ANN401  # JSON
        return self._singular, describe(value)


class _Integers(_Scalars):
    def __init__(self, datatype: pa.DataType) -> None:
        super().__init__({int}, "an integer", "integers")
        bits = datatype.bit_width
        self._least, self._most = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if pa.types.is_unsigned_integer(datatype):
            self._least, self._most = 0, 2**bits - 1

    def fits(self, values: Sequence[Any]) -> bool:
        if not super().fits(values):
            return False
        there = [value for value in values if value is not None]
        return not there or (self._least <= min(there) and max(there) <= self._most)

    def fitting(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if super().fitting(value) is MISFIT:
            return MISFIT
        return value if value is None or self._least <= value <= self._most else MISFIT

    def fault(self, value: Any) -> tuple[str, str]:  # noqa: ANN401  # JSON
        is_whole = type(value) is int or (isinstance(value, float) and value.is_integer())
        expected = f"an integer from {self._least} to {self._most}" if is_whole else "an integer"
        return expected, describe(value)


class _Lists(Judge):
    def __init__(self, items: Judge) -> None:
        self._items, self.plural = items, f"lists of {items.plural}"

    def fits(self, values: Sequence[Any]) -> bool:
        there = [value for value in values if value is not None]
        return set(map(type, there)) <= {list} and self._items.fits(list(chain.from_iterable(there)))

    def fitting(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        if value is None or (isinstance(value, list) and self._items.fits(value)):
            return value
        if not isinstance(value, list):
            return MISFIT
        items = [self._items.fitting(item) for item in value]
        return MISFIT if any(item is MISFIT for item in items) else items

    def fault(self, value: Any) -> tuple[str, str]:  # noqa: ANN401  # JSON
        expected = f"a list of {self._items.plural}"
        if not isinstance(value, list):
            return expected, describe(value)
        first = next(item for item in value if self._items.fitting(item) is MISFIT)
        return expected, f"one with {describe(first)}"


class _Anything(Judge):
    """What is left to pyarrow."""

    plural = "values"

    def fits(self, values: Sequence[Any]) -> bool:  # noqa: ARG002  # the judges' common form
        return True

    def fitting(self, value: Any) -> Any:  # noqa: ANN401  # JSON
        return value

    def fault(self, value: Any) -> tuple[str, str]:  # noqa: ANN401  # JSON
        return "a value", describe(value)
