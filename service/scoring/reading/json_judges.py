"""Which JSON values a column of a type takes, and how others are told."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from service.codec.faults import describe

MISFIT = object()
"""Stands for a value that no column of the type takes."""


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
