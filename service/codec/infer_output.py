"""What the reply to an infer request shall hold, and the classes that stand in it for numbers."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from service.codec import tensors
from service.codec.envelope import Envelope, Output
from service.codec.faults import describe
from service.codec.ranking import largest_columns
from service.codec.tensors import Array
from service.errors import MAX_FAULTS, RequestError, ShapeError, TensorError, UnsupportedError, merge
from service.manifest import ModelManifest, TensorSpec

MOST_CLASSES = 1 << 16
"""Classes of all rows of a reply, each of which is a text of its own."""


class Wanted(NamedTuple):
    """One output that the reply shall hold: its place in the manifest, and in which form."""

    place: int
    binary: bool
    classes: int | None = None
    """How many of the largest elements of a row shall stand there, named, in place of them all."""


class OutputReader:
    """Reads which outputs of a model a request wants."""

    def __init__(self, manifest: ModelManifest) -> None:
        self._manifest = manifest
        self._places = {spec.name: place for place, spec in enumerate(manifest.outputs)}
        self._every = {
            binary: tuple(Wanted(place, binary) for place in range(len(manifest.outputs))) for binary in (False, True)
        }
        self._binary_only = [spec.name for spec in manifest.outputs if spec.datatype == "BF16"]

    def read(self, envelope: Envelope) -> tuple[Wanted, ...]:
        """The outputs that are named, or every one; raises a `RequestError` with every fault."""
        binary = envelope.parameters is not None and envelope.parameters.binary_data_output is True
        if not envelope.outputs and (binary or not self._binary_only):
            return self._every[binary]
        found = list(islice(self.find_faults(envelope), MAX_FAULTS))
        if found:
            raise merge(found)
        return tuple(self._wanted(output, default=binary) for output in envelope.outputs or ())

    def too_many_classes(self, envelope: Envelope, rows: int) -> Iterator[RequestError]:
        """The fault of each output whose classes are too many for a request of so many rows."""
        for position, output in enumerate(envelope.outputs or ()):
            count = output.parameters.classification if output.parameters else None
            if count is None:
                continue
            spec = self._manifest.outputs[self._places[output.name]]
            width = math.prod(spec.row_shape if self._manifest.batching == "rows" else spec.shape)
            if rows * (count if width < 0 else min(count, width)) > MOST_CLASSES:
                expected = f"{MOST_CLASSES // rows} or fewer for {rows} row{'' if rows == 1 else 's'}"
                place = f"/outputs/{position}/parameters/classification"
                yield ShapeError.at(place, expected=expected, got=str(count))

    def every_raw(self) -> tuple[Wanted, ...]:
        """All outputs as raw bytes."""
        return self._every[True]

    def find_faults(self, envelope: Envelope) -> Iterator[RequestError]:
        """Every fault of the outputs that are named, in order."""
        binary = envelope.parameters is not None and envelope.parameters.binary_data_output is True
        if not envelope.outputs and not binary:
            for name in self._binary_only:
                yield _needs_bytes("", name)
        seen: set[str] = set()
        for position, output in enumerate(envelope.outputs or ()):
            pointer = f"/outputs/{position}"
            if output.name in seen or output.name not in self._places:
                expected = "named once" if output.name in seen else f"one of {', '.join(self._places)}"
                yield TensorError.at(f"{pointer}/name", expected=expected, got=describe(output.name))
                continue
            seen.add(output.name)
            yield from self._wrong_form(output, pointer, default=binary)

    def _wanted(self, output: Output, *, default: bool) -> Wanted:
        given = output.parameters
        if given is None:
            return Wanted(self._places[output.name], default)
        binary = default if given.binary_data is None else given.binary_data
        return Wanted(self._places[output.name], binary, given.classification)

    def _wrong_form(self, output: Output, pointer: str, *, default: bool) -> Iterator[RequestError]:
        """What keeps an output of the model from being given in the form that is asked for."""
        wanted, given = self._wanted(output, default=default), output.parameters
        spec = self._manifest.outputs[wanted.place]
        if given is not None and given.shared_memory_region is not msgspec.UNSET:
            place = f"{pointer}/parameters/shared_memory_region"
            yield UnsupportedError.at(place, expected="absent", got="a parameter that is not offered")
        if wanted.classes is None:
            if spec.datatype == "BF16" and not wanted.binary:
                yield _needs_bytes(pointer, spec.name)
        elif not self._has_classes(spec):
            got = f"on {spec.datatype} {list(spec.shape)}"
            expected = "on an output with one list of numbers a row"
            yield UnsupportedError.at(f"{pointer}/parameters/classification", expected=expected, got=got)

    def _has_classes(self, spec: TensorSpec) -> bool:
        if spec.datatype in ("BOOL", "BYTES"):
            return False
        if self._manifest.batching == "rows":
            return len(spec.row_shape) == 1
        return sum(length != 1 for length in spec.shape) <= 1 <= len(spec.shape)


def largest_classes(spec: TensorSpec, array: Array, count: int, *, rows: bool) -> Array:
    """The `count` largest elements of each row, or of the whole array: texts `value:index[:label]`.

    Of equal ones the first comes first; what is no number comes last.
    """
    numbers = tensors.numbers_of(spec.datatype, array)
    table = numbers if rows else numbers.reshape(1, -1)
    order = largest_columns(table, count)
    labels = _labels_by_column(spec, table.shape[1])
    # As numpy writes them: with the digits that the datatype has, not those of a double.
    values = map(str, np.take_along_axis(table, order, axis=1).reshape(-1))
    texts = [
        f"{value}:{column}{labels[column]}" for value, column in zip(values, order.reshape(-1).tolist(), strict=True)
    ]
    named = np.array(texts, np.object_).reshape(order.shape)
    return named if rows else named.reshape(-1)


def _labels_by_column(spec: TensorSpec, width: int) -> Sequence[str]:
    labels = spec.labels or ()
    # A single probability with two labels is the second's.
    ends = labels[-width:] if width else ()
    return [f":{label}" for label in ends] or [""] * width


def _needs_bytes(pointer: str, name: str) -> RequestError:
    hint = "ask for it with parameters.binary_data"
    expected = f"asking for the raw bytes of {name!r}"
    return UnsupportedError.at(pointer, expected=expected, got="asking for JSON, which has no BF16", hint=hint)
