"""Version 1: the bytes of a predict request, one instance a row by position or by name, and of its reply."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from service.codec import tensors
from service.codec.body import below, nested_lists
from service.codec.instances import read_instances, refuse_floods
from service.codec.tensors import Array, Inputs
from service.errors import MAX_FAULTS, FeatureError, RequestError, ShapeError, StructureError, UnsupportedError, merge
from service.manifest import VARIABLE, ModelManifest, TensorSpec


class RowsCodec:
    """Reads predict requests of at most `max_rows` rows for one model and writes their replies.

    An instance for a model with one input is that input's row: a (nested) list, or an object with every named
    feature. An instance for a model with several inputs is an object with a row for each input.
    """

    def __init__(self, manifest: ModelManifest, max_rows: int) -> None:
        self._manifest = manifest
        self._max_rows = max_rows
        self._expected = f"a list of 1 to {max_rows} rows"
        self._without_json = [spec.name for spec in (*manifest.inputs, *manifest.outputs) if spec.datatype == "BF16"]
        self._inputs = manifest.inputs
        self._listed = self._inputs[0] if len(self._inputs) == 1 else None
        self._cells = _named_cells(manifest)
        self._most_values = _most_values(manifest, max_rows)
        # Field names must be identifiers, which the names of features and inputs need not be.
        fields = [f"cell_{index}" for index in range(len(self._cells))]
        self._named_row = msgspec.defstruct(
            "NamedRow",
            [
                (field, _json_type(spec, shape))
                for field, (spec, shape) in zip(fields, self._cells.values(), strict=True)
            ],
            rename=dict(zip(fields, self._cells, strict=True)),
            forbid_unknown_fields=True,
        )
        instance: Any = self._named_row
        if self._listed is not None:
            listed = _json_type(self._listed, self._listed.row_shape)
            instance = listed | self._named_row if self._cells else listed
        request: Any = msgspec.defstruct("Request", [("instances", list[instance])])
        self._requests: msgspec.json.Decoder[Any] = msgspec.json.Decoder(request)

    def decode(self, body: bytes) -> Inputs:
        """The rows in `body`; raises a `RequestError` with every fault, `MAX_FAULTS` at most."""
        if self._without_json:
            got = f"one of version 1, whose JSON has no BF16, for a model with it in {', '.join(self._without_json)}"
            raise UnsupportedError.at("", expected="a request of version 2 with binary tensors", got=got)
        if self._most_values is not None:
            refuse_floods(body, self._most_values, self._expected)
        try:
            arrays = self._arrays(self._requests.decode(body).instances)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            arrays = None
        if arrays is None:
            arrays = self._second_look(body)
        return Inputs(arrays, len(arrays[0]))

    def encode(self, request: Inputs, outputs: Sequence[Array]) -> bytes:
        """The reply to a request with the model's `outputs`, which stand in the manifest's order.

        A prediction is the plain value of a model's one unlabelled output, else an object by output name in
        which a labelled output has its label beside it and names its columns.
        """
        del request
        columns = self._manifest.output_columns
        if len(columns) == 1 and columns[0][1] is None:
            return msgspec.json.encode({"predictions": _values(columns[0][0], outputs[0])})
        named: dict[str, list[Any]] = {}
        for (spec, label), array in zip(columns, outputs, strict=True):
            named[spec.name] = _values(spec, array)
            if label is not None:
                named[label] = tensors.labels_of(spec, array)
        predictions = [dict(zip(named, row, strict=True)) for row in zip(*named.values(), strict=True)]
        return msgspec.json.encode({"predictions": predictions})

    def _arrays(self, instances: list[Any]) -> tuple[Array, ...] | None:
        """The arrays of instances whose elements have the right types; None where they do not make any."""
        if not 0 < len(instances) <= self._max_rows:
            return None
        named_row = self._named_row
        rows = [msgspec.structs.astuple(row) if type(row) is named_row else row for row in instances]
        columns: list[Any] = [rows] if self._listed else [list(column) for column in zip(*rows, strict=True)]
        arrays: list[Array] = []
        for spec, column in zip(self._inputs, columns, strict=True):
            array = tensors.from_lists(spec, column, (len(rows), *spec.row_shape))
            if array is None:
                return None
            arrays.append(array)
        return tuple(arrays)

    def _second_look(self, body: bytes) -> tuple[Array, ...]:
        """The arrays of a body that the fast way did not take, or the error with every fault that explains it."""
        instances = read_instances(body, self._expected, self._max_rows)
        faults = (
            fault for index, instance in enumerate(instances) for fault in self._faults(instance, f"/instances/{index}")
        )
        found = list(islice(faults, MAX_FAULTS))
        if found:
            raise merge(found)
        arrays = self._arrays([self._by_position(instance) for instance in instances])
        if arrays is None:
            raise ShapeError.at("/instances", expected="a list of rows of one shape", got="one with several")
        return arrays

    def _faults(self, instance: Any, pointer: str) -> Iterator[RequestError]:  # noqa: ANN401  # JSON
        if isinstance(instance, dict) and self._cells:
            for name in (name for name in self._cells if name not in instance):
                yield FeatureError.at(pointer, expected=f"an object with {name!r}", got="one without")
            for name, value in instance.items():
                place = below(pointer, name)
                if name in self._cells:
                    spec, shape = self._cells[name]
                    yield from tensors.find_faults(spec, value, shape, place)
                else:
                    hint = f"the names are {', '.join(self._cells)}"
                    got = f"{tensors.describe(name)}, a name the model does not know"
                    yield FeatureError.at(place, expected="absent", got=got, hint=hint)
        elif self._listed is not None:
            yield from tensors.find_faults(self._listed, instance, self._listed.row_shape, pointer)
        else:
            expected = f"an object with {', '.join(self._cells)}"
            yield StructureError.at(pointer, expected=expected, got=tensors.describe(instance))

    def _by_position(self, instance: Any) -> Any:  # noqa: ANN401  # JSON
        if isinstance(instance, dict):
            return [tensors.with_integers(spec, instance[name]) for name, (spec, _) in self._cells.items()]
        return tensors.with_integers(self._inputs[0], instance)


def _named_cells(manifest: ModelManifest) -> dict[str, tuple[TensorSpec, tuple[int, ...]]]:
    """What a row by names is made of: for each name the tensor it belongs to and the shape of its value."""
    if len(manifest.inputs) > 1:
        return {spec.name: (spec, spec.row_shape) for spec in manifest.inputs}
    (spec,) = manifest.inputs
    features = spec.features if len(spec.row_shape) == 1 else None
    return {feature.name: (spec, ()) for feature in features or ()}


def _most_values(manifest: ModelManifest, max_rows: int) -> int | None:
    """The most values that a request's instances can be written with, as `count_values` counts; None if any number."""
    shapes = [spec.row_shape for spec in manifest.inputs]
    if any(VARIABLE in shape for shape in shapes):
        return None
    # A row has an element, a comma and a bracket at most for each element at each depth, and is an object at most.
    return max_rows * sum((len(shape) + 2) * math.prod(shape) + 2 for shape in shapes) + 1


def _json_type(spec: TensorSpec, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  # a type made of data
    return nested_lists(tensors.element_type(spec.datatype), len(shape))


def _values(spec: TensorSpec, array: Array) -> list[Any]:
    """One value a row: a number where a row holds just one, an object where labels name its columns."""
    values: list[Any] = (array.reshape(-1) if spec.row_shape == (1,) else array).tolist()
    if spec.labels is not None and len(spec.labels) == spec.shape[-1]:
        return [dict(zip(spec.labels, row, strict=True)) for row in values]
    return values
