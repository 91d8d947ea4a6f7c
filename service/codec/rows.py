"""Version 1: the bytes of a predict request, one instance a row by position or by name, and of its reply."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from service.codec import tensors
from service.codec.body import LARGE, below, nested_lists
from service.codec.faults import all_fit, describe, find_faults, first_uneven, suspects, with_integers
from service.codec.instances import read_instances, refuse_floods
from service.codec.replies import MAX_REPLY, json_bytes, too_large
from service.codec.tensors import Array, Inputs, RowPacker
from service.codec.texts import MOST_TEXTS
from service.errors import MAX_FAULTS, FeatureError, RequestError, ShapeError, StructureError, UnsupportedError, merge
from service.manifest import VARIABLE, ModelManifest, TensorSpec

_ENCODER = msgspec.json.Encoder()


class _Column(NamedTuple):
    """What a reply holds of one output."""

    key: str
    label_key: str | None
    """The key of its label."""
    labels: tuple[str, ...] | None
    is_flat: bool
    """Whether a row holds just one number, which then stands there without a list."""
    is_named: bool
    """Whether labels name its columns."""


class RowsCodec:
    """Reads predict requests of at most `max_rows` rows for one model and writes their replies.

    An instance for a model with one input is that input's row: a (nested) list, or an object with every named
    feature. An instance for a model with several inputs is an object with a row for each input. A request whose
    reply would have more than about `max_reply` bytes is refused before it is computed, where the model says how
    long a row of its outputs is.
    """

    def __init__(self, manifest: ModelManifest, max_rows: int, max_reply: int = MAX_REPLY) -> None:
        self._max_rows = max_rows
        self._expected = f"a list of 1 to {max_rows} rows"
        self._without_json = [spec.name for spec in (*manifest.inputs, *manifest.outputs) if spec.datatype == "BF16"]
        self._inputs = manifest.inputs
        self._listed = self._inputs[0] if len(self._inputs) == 1 else None
        self._cells = _named_cells(manifest)
        self._pick = itemgetter(*self._cells) if self._cells else None
        self._row_elements = sum(math.prod(max(length, 1) for length in spec.row_shape) for spec in self._inputs)
        self._most_values = _most_values(manifest, max_rows)
        self._has_texts = any(spec.datatype == "BYTES" for spec in manifest.inputs)
        self._max_reply = max_reply
        self._reply_bytes = _reply_bytes(manifest)
        self._packer = RowPacker.of(self._listed) if self._listed is not None else None
        self._columns = tuple(
            _Column(
                spec.name,
                label_key,
                spec.labels,
                spec.row_shape == (1,),
                spec.labels is not None and len(spec.labels) == spec.shape[-1],
            )
            for spec, label_key in manifest.output_columns
        )
        self._outputs = manifest.outputs
        self._keys = [key for column in self._columns for key in (column.key, column.label_key) if key is not None]
        self._named_row = _named_row(self._cells)
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
        if len(body) > LARGE and self._most_values is not None:
            refuse_floods(body, self._most_values, self._expected)
        try:
            arrays = self._arrays(self._requests.decode(body).instances)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            arrays = None
        if arrays is None:
            arrays = self._second_look(body)
        if self._has_texts:
            self._refuse_too_many_texts(arrays)
        rows = len(arrays[0])
        if rows * self._reply_bytes > self._max_reply:
            raise too_large("/instances", rows, rows * self._reply_bytes, self._max_reply)
        return Inputs(arrays, rows)

    def encode(self, request: Inputs, outputs: Sequence[Array]) -> bytes:
        """The reply to a request with the model's `outputs`, which stand in the manifest's order.

        A prediction is the plain value of a model's one unlabelled output, else an object by output name in
        which a labelled output has its label beside it and names its columns.
        """
        del request
        if len(self._columns) == 1:
            column = self._columns[0]
            if column.is_flat and outputs[0].size == 1:
                value = outputs[0].item()
                if column.labels is not None:
                    (label,) = tensors.labels_of_second(column.labels, [value])
                    value = {column.key: value, column.label_key: label}
                return _ENCODER.encode({"predictions": [value]})
            values, labels = self._values(0, outputs[0])
            if labels is not None:
                key, label_key = self._keys
                values = [{key: value, label_key: label} for value, label in zip(values, labels, strict=True)]
            return _ENCODER.encode({"predictions": values})
        named: list[list[Any]] = []
        for place, output in enumerate(outputs):
            values, labels = self._values(place, output)
            named += (values,) if labels is None else (values, labels)
        keys = self._keys
        predictions = [dict(zip(keys, row, strict=True)) for row in zip(*named, strict=True)]
        return _ENCODER.encode({"predictions": predictions})

    def _values(self, place: int, array: Array) -> tuple[list[Any], list[str] | None]:
        """One value a row of an output, and the rows' labels where it has them."""
        _, _, labels, is_flat, is_named = self._columns[place]
        values = (array.reshape(-1) if is_flat else array).tolist()
        if labels is None:
            return values, None
        if is_flat:
            return values, tensors.labels_of_second(labels, values)
        if is_named:
            values = [dict(zip(labels, row, strict=True)) for row in values]
        return values, tensors.labels_of(self._outputs[place], array)

    def _refuse_too_many_texts(self, arrays: Sequence[Array]) -> None:
        for array in arrays:
            if array.dtype.kind == "O" and array.size > MOST_TEXTS:
                expected = f"a list of rows of {MOST_TEXTS} texts together or fewer"
                raise ShapeError.at("/instances", expected=expected, got=f"one of {array.size}")

    def _arrays(self, instances: list[Any]) -> tuple[Array, ...] | None:
        """The arrays of instances whose elements have the right types; None where they do not make any."""
        if not 0 < len(instances) <= self._max_rows:
            return None
        if len(instances) == 1 and self._packer is not None:
            row = instances[0]
            packed = self._packer.pack(row if type(row) is list else msgspec.structs.astuple(row))
            return None if packed is None else (packed,)
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
        near = suspects(instances, (self._row_elements,), self._all_fit)
        faults = (fault for index, instance in near for fault in self._faults(instance, f"/instances/{index}"))
        found = list(islice(faults, MAX_FAULTS))
        if found:
            raise merge(found)
        rows = [self._by_position(instance) for instance in instances]
        arrays = self._arrays(rows)
        if arrays is None:
            raise self._unevenness(rows)
        return arrays

    def _unevenness(self, rows: Sequence[Any]) -> RequestError:
        """The fault of each input whose rows are sound, each by itself, but not of one shape: where the first is."""
        columns = {"": rows} if self._listed else dict(zip(self._cells, zip(*rows, strict=True), strict=True))
        found = [(*uneven, name) for name, column in columns.items() if (uneven := first_uneven(column))]
        errors: list[RequestError] = []
        for (row, *steps), expected, got, name in sorted(found):
            pointer = below(f"/instances/{row}", name) if name else f"/instances/{row}"
            whose = "list there" if steps else "row"
            errors.append(
                ShapeError.at(
                    "/".join([pointer, *map(str, steps)]),
                    expected=f"a list of {expected}, as the first {whose} has",
                    got=f"a list of {got}",
                )
            )
        return merge(errors)

    def _all_fit(self, instances: Sequence[Any]) -> bool:
        """Whether `_faults` would find none in any of the instances, told without looking at each."""
        named = [one for one in instances if type(one) is dict]
        listed = [one for one in instances if type(one) is not dict] if len(named) < len(instances) else []
        if listed and (self._listed is None or not all_fit(self._listed, listed, self._listed.row_shape)):
            return False
        if not named:
            return True
        if self._pick is None or set(map(len, named)) != {len(self._cells)}:
            return False
        try:
            rows = list(map(self._pick, named))
        except KeyError:
            return False
        if self._listed is not None:
            values = list(chain.from_iterable(rows)) if len(self._cells) > 1 else rows
            return all_fit(self._listed, values, ())
        return all(
            all_fit(spec, column, shape)
            for (spec, shape), column in zip(self._cells.values(), zip(*rows, strict=True), strict=True)
        )

    def _faults(self, instance: Any, pointer: str) -> Iterator[RequestError]:  # noqa: ANN401  # JSON
        if isinstance(instance, dict) and self._cells:
            for name in (name for name in self._cells if name not in instance):
                yield FeatureError.at(pointer, expected=f"an object with {name!r}", got="one without")
            for name, value in instance.items():
                place = below(pointer, name)
                if name in self._cells:
                    spec, shape = self._cells[name]
                    yield from find_faults(spec, value, shape, place)
                else:
                    hint = f"the names are {', '.join(self._cells)}"
                    got = f"{describe(name)}, a name the model does not know"
                    yield FeatureError.at(place, expected="absent", got=got, hint=hint)
        elif self._listed is not None:
            yield from find_faults(self._listed, instance, self._listed.row_shape, pointer)
        else:
            expected = f"an object with {', '.join(self._cells)}"
            yield StructureError.at(pointer, expected=expected, got=describe(instance))

    def _by_position(self, instance: Any) -> Any:  # noqa: ANN401  # JSON
        if isinstance(instance, dict):
            return [with_integers(spec, instance[name]) for name, (spec, _) in self._cells.items()]
        return with_integers(self._inputs[0], instance)


def _named_cells(manifest: ModelManifest) -> dict[str, tuple[TensorSpec, tuple[int, ...]]]:
    """What a row by names is made of: for each name the tensor it belongs to and the shape of its value."""
    if len(manifest.inputs) > 1:
        return {spec.name: (spec, spec.row_shape) for spec in manifest.inputs}
    (spec,) = manifest.inputs
    features = spec.features if len(spec.row_shape) == 1 else None
    return {feature.name: (spec, ()) for feature in features or ()}


def _named_row(cells: dict[str, tuple[TensorSpec, tuple[int, ...]]]) -> type[msgspec.Struct]:
    """A row by names, as it is decoded."""
    # Field names must be identifiers, which the names of features and inputs need not be.
    fields = [f"cell_{index}" for index in range(len(cells))]
    return msgspec.defstruct(
        "NamedRow",
        [(field, _json_type(spec, shape)) for field, (spec, shape) in zip(fields, cells.values(), strict=True)],
        rename=dict(zip(fields, cells, strict=True)),
        forbid_unknown_fields=True,
    )


def _most_values(manifest: ModelManifest, max_rows: int) -> int | None:
    """The most values that a request's instances can be written with, as `count_values` counts; None if any number."""
    shapes = [spec.row_shape for spec in manifest.inputs]
    if any(VARIABLE in shape for shape in shapes):
        return None
    # A row has an element, a comma and a bracket at most for each element at each depth, and is an object at most.
    return max_rows * sum((len(shape) + 2) * math.prod(shape) + 2 for shape in shapes) + 1


def _json_type(spec: TensorSpec, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  # a type made of data
    return nested_lists(tensors.element_type(spec.datatype), len(shape))


def _reply_bytes(manifest: ModelManifest) -> int:
    """About how many bytes a row of the reply has; 0 for an output whose rows are of no known length."""
    columns = manifest.output_columns
    plain = len(columns) == 1 and columns[0][1] is None
    total = 0
    for spec, label_key in columns:
        total += json_bytes(spec.datatype, spec.row_shape)
        if not plain:
            total += len(spec.name) + 4
        if label_key is not None:
            labels = spec.labels or ()
            total += len(label_key) + 4 + max(map(len, labels))
            total += sum(len(label) + 4 for label in labels) if len(labels) == spec.shape[-1] else 0
    return total
