"""One input of an infer request made an array: from JSON, from its bytes, or from a body that is nothing else."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from service.codec import tensors, texts
from service.codec.body import LARGE, count_values, nested_lists, read_anything
from service.codec.envelope import Input
from service.codec.faults import describe, find_faults, find_misfit, with_integers
from service.codec.tensors import Array, RowPacker
from service.codec.words import LONGEST_CONTEXT, MOST_WORDS
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    DatatypeError,
    ElementError,
    RequestError,
    ShapeError,
    TensorError,
    UnsupportedError,
    merge,
)
from service.manifest import VARIABLE, TensorSpec

_NESTED = re.compile(rb"\[\s*\[")


class InputReader:
    """Reads one input of a model. `max_rows` is the most that its first dimension counts, None where it counts none."""

    def __init__(self, spec: TensorSpec, max_rows: int | None) -> None:
        self.spec = spec
        self._max_rows = max_rows
        self._most_elements = {"BYTES": texts.MOST_TEXTS}.get(spec.datatype)
        if spec.vocabulary is not None:
            self._most_elements = MOST_WORDS
        self._fixed_tail = None if VARIABLE in spec.shape[1:] else list(spec.shape[1:])
        self._most_common_rows = max_rows or 0
        if self._fixed_tail is not None and self._most_elements is not None:
            self._most_common_rows = min(self._most_common_rows, self._most_elements // math.prod(self._fixed_tail))
        self._packer = RowPacker.of(spec) if max_rows is not None else None
        self._row_bytes = -1
        """Of a row of a fixed shape, where its elements have one size; else such that no bytes are as many."""
        if spec.datatype != "BYTES" and self._fixed_tail is not None:
            self._row_bytes = math.prod(self._fixed_tail) * tensors.DTYPES[spec.datatype].itemsize
        element = tensors.element_type(spec.datatype)
        self._flat: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[element])  # type: ignore[valid-type]  # a type made of data
        self._nested: msgspec.json.Decoder[Any] = msgspec.json.Decoder(nested_lists(element, len(spec.shape)))

    def read_plain(self, given: Input, blob: memoryview) -> Array | None:
        """The array of an input that is as most are: rows of a fixed shape, as a flat list or as all of the `blob`.

        None for any other, and for one with faults: `read` takes the former and tells the latter.
        """
        spec, shape, parameters = self.spec, given.shape, given.parameters
        if given.datatype != spec.datatype or not self._has_common_shape(shape):
            return None
        if parameters is None:
            return self._row_of(given.data) if shape[0] == 1 and not blob else None
        size = parameters.binary_data_size
        if (
            size != len(blob)
            or size != shape[0] * self._row_bytes
            or given.data is not msgspec.UNSET
            or parameters.shared_memory_region is not msgspec.UNSET
        ):
            return None
        return tensors.from_bytes(spec, blob, shape)

    def _row_of(self, data: msgspec.Raw | msgspec.UnsetType) -> Array | None:
        """The row in a short flat list; None where it is not there, or is none."""
        if not isinstance(data, msgspec.Raw) or self._packer is None or len(memoryview(data)) > LARGE:
            return None
        try:
            return self._packer.pack(self._flat.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def read(self, given: Input, blob: memoryview, pointer: str) -> Array:
        """The array of the input that stands at `pointer`, whose raw bytes, if it has any, are `blob`.

        Raises a `RequestError` with the faults that can be told of it.
        """
        spec, shape = self.spec, given.shape
        size = given.parameters.binary_data_size if given.parameters else None
        if (
            given.datatype != spec.datatype
            or not self._has_common_shape(shape)
            or (size is None) == (given.data is msgspec.UNSET)
            or (given.parameters and given.parameters.shared_memory_region is not msgspec.UNSET)
        ):
            wrong = list(islice(self._faults(given, pointer), MAX_FAULTS))
            if wrong:
                raise merge(wrong)
        if isinstance(given.data, msgspec.Raw):
            return self._from_json(given.data, tuple(shape), f"{pointer}/data")
        return self._from_blob(size or 0, blob, tuple(shape), pointer)

    def read_alone(self, body: bytes) -> Array:
        """The array in a body that is its bytes alone, which say how long its one open dimension is.

        One text stands without its length. Raises a `RequestError`.
        """
        spec, blob = self.spec, memoryview(body)
        shape = list(spec.shape)
        open_axes = [axis for axis, length in enumerate(shape) if length == VARIABLE]
        if self._max_rows is not None and len(open_axes) > 1:
            shape[0] = 1
            del open_axes[0]
        if len(open_axes) > 1:
            hint = f"the shape {list(spec.shape)} is open in more than one dimension"
            raise UnsupportedError.at("", expected="described by a JSON part", got="one raw tensor alone", hint=hint)
        fixed = math.prod(length for length in shape if length != VARIABLE)
        if spec.datatype == "BYTES":
            if fixed != 1:
                hint = f"one text alone does not fill the shape {list(spec.shape)}"
                raise UnsupportedError.at("", expected="described by a JSON part", got="one text alone", hint=hint)
            return texts.from_one(blob, [abs(length) for length in shape], "")
        width = fixed * tensors.DTYPES[spec.datatype].itemsize
        count, rest = divmod(len(blob), width)
        most = self._most(open_axes[0]) if open_axes else 1
        if self._most_elements is not None and most is not None:
            most = max(min(most, self._most_elements // fixed), 1)
        if rest or not 1 <= count <= (count if most is None else most):
            times = "" if most == 1 else " times 1 or more" if most is None else f" times 1 to {most}"
            raise BinaryError.at("", expected=f"{width} bytes{times}, a tensor alone", got=f"{len(blob)} bytes")
        for axis in open_axes:
            shape[axis] = count
        return _from_bytes(spec, blob, shape, "")

    def _has_common_shape(self, shape: list[int]) -> bool:
        """Whether this is rows of a fixed shape: most requests are, and all others are looked at in `_faults`."""
        return shape[1:] == self._fixed_tail and bool(shape) and 1 <= shape[0] <= self._most_common_rows

    def _faults(self, given: Input, pointer: str) -> Iterator[RequestError]:
        """What is wrong with an input before its elements are looked at."""
        parameters = given.parameters
        if parameters and parameters.shared_memory_region is not msgspec.UNSET:
            place = f"{pointer}/parameters/shared_memory_region"
            yield UnsupportedError.at(place, expected="absent", got="a parameter that is not offered")
        if given.datatype != self.spec.datatype:
            got = describe(given.datatype)
            yield DatatypeError.at(f"{pointer}/datatype", expected=self.spec.datatype, got=got)
        yield from self._wrong_dimensions(given.shape, f"{pointer}/shape")
        has_size = parameters is not None and parameters.binary_data_size is not None
        if has_size != (given.data is msgspec.UNSET):
            expected = "an input with either data or parameters.binary_data_size"
            yield TensorError.at(pointer, expected=expected, got="with both" if has_size else "with neither")

    def _wrong_dimensions(self, shape: Sequence[int], pointer: str) -> Iterator[RequestError]:
        wanted_shape = self.spec.shape
        if len(shape) != len(wanted_shape):
            expected = f"{len(wanted_shape)} dimensions {list(wanted_shape)}"
            yield ShapeError.at(pointer, expected=expected, got=f"{len(shape)} dimensions")
            return
        sound = True
        for axis, (wanted, got) in enumerate(zip(wanted_shape, shape, strict=True)):
            most = self._most(axis)
            if wanted != VARIABLE:
                fits, expected = got == wanted, str(wanted)
            elif most is None:
                fits, expected = got >= 1, "1 or more"
            else:
                fits, expected = 1 <= got <= most, f"1 to {most}"
            if not fits:
                sound = False
                yield ShapeError.at(f"{pointer}/{axis}", expected=expected, got=str(got))
        if sound and self._most_elements is not None and math.prod(shape) > self._most_elements:
            what = "texts" if self.spec.vocabulary is None else "words"
            expected = f"that of {self._most_elements} {what} or fewer"
            yield ShapeError.at(pointer, expected=expected, got=f"{list(shape)}, which is {math.prod(shape)}")

    def _most(self, axis: int) -> int | None:
        """The most that a variable dimension counts; None where any number will do."""
        if axis == 0 and self._max_rows is not None:
            return self._max_rows
        return None if self.spec.vocabulary is None else LONGEST_CONTEXT

    def _from_json(self, text: msgspec.Raw, shape: tuple[int, ...], pointer: str) -> Array:
        """The tensor that stands as JSON, flat or nested; a scalar as a list of one or as it is."""
        spec = self.spec
        if spec.datatype == "BF16":
            hint = "send its bytes, with parameters.binary_data_size"
            raise UnsupportedError.at(
                pointer, expected="absent for BF16", got="JSON, which has no such numbers", hint=hint
            )
        octets = memoryview(text)
        nested = _NESTED.match(text) if len(shape) > 1 else not shape and octets[0] != ord("[")
        decoder, layout = (self._nested, shape) if nested else (self._flat, (math.prod(shape),))
        if len(octets) > LARGE and count_values(bytes(octets)) > _layout_cost(layout):
            raise ShapeError.at(pointer, expected=f"data of {math.prod(shape)} elements", got="far more than that")
        try:
            values = decoder.decode(text)
            if shape[:1] == (1,) and self._packer is not None and not nested:
                array = self._packer.pack(values)
            else:
                array = tensors.from_lists(spec, values, layout)
        except (msgspec.DecodeError, UnicodeDecodeError):
            array = None
        if array is None:
            array = _second_look(spec, read_anything(text, pointer), layout, pointer)
        return array.reshape(shape)

    def _from_blob(self, size: int, blob: memoryview, shape: tuple[int, ...], pointer: str) -> Array:
        spec, place = self.spec, f"{pointer}/parameters/binary_data_size"
        count = math.prod(shape)
        needed = size if spec.datatype == "BYTES" else count * tensors.DTYPES[spec.datatype].itemsize
        if size != needed or size < 0:
            hint = f"{count} elements of {spec.datatype}"
            raise BinaryError.at(
                place, expected="0 or more" if size == needed else str(needed), got=str(size), hint=hint
            )
        if len(blob) < needed:
            raise BinaryError.at(place, expected=f"{len(blob)} bytes or fewer, as are left", got=str(needed))
        if spec.datatype == "BYTES":
            return texts.from_bytes(blob, shape, place)
        return _from_bytes(spec, blob, shape, pointer)


def _layout_cost(shape: Sequence[int]) -> int:
    """The most commas and brackets that nested lists of a shape are written with."""
    return (len(shape) + 1) * math.prod(shape) + len(shape)


def _from_bytes(spec: TensorSpec, blob: memoryview, shape: Sequence[int], pointer: str) -> Array:
    """The array in `blob`, which has just its bytes, or the error that they are no values of the tensor."""
    array = tensors.from_bytes(spec, blob, shape)
    if array is None:
        place, value = find_misfit(spec, blob)
        numbers = "finite numbers" if spec.vocabulary is None else f"ids from 0 to {len(spec.vocabulary) - 1}"
        expected = "bytes 0 and 1" if spec.datatype == "BOOL" else numbers
        raise ElementError.at(pointer, expected=expected, got=f"a tensor with others: element {place} is {value}")
    return array


def _second_look(spec: TensorSpec, values: Any, layout: tuple[int, ...], pointer: str) -> Array:  # noqa: ANN401  # JSON
    """The array of values that the fast way did not take, or the error with every fault that explains it."""
    found = list(islice(find_faults(spec, values, layout, pointer), MAX_FAULTS))
    array = tensors.from_lists(spec, with_integers(spec, values), layout) if not found else None
    if array is None:
        raise merge(found)
    return array
