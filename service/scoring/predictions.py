"""A model's outputs as columns, of names and types that its manifest tells."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from service.codec.tensors import DTYPES, Array, label_places
from service.codec.words import likeliest_words
from service.errors import ComputeError, ScoreError
from service.manifest import VARIABLE, ModelManifest, TensorSpec
from service.scoring.arrow_types import nested

_WORD = pa.struct([("word", pa.string()), ("probability", pa.float32())])


def fields_of(manifest: ModelManifest) -> pa.Schema:
    """The columns that a model's outputs become. Raises `ScoreError` where two have one name.

    An output is a column for each element of a row, by its label or place, or one where it has no more; or one of
    lists, where a row is no list of a known length. Behind it stands the column of its label. A `next_word` model
    gives, as over HTTP, the likeliest words, and the places of the words it does not know.
    """
    if manifest.kind == "next_word":
        return pa.schema([("next", pa.list_(_WORD)), ("unknown", pa.list_(pa.int32()))])
    fields: list[pa.Field] = []
    for spec, label in manifest.output_columns:
        datatype = nested(_type_of(spec), 0 if _is_flat(spec) else len(spec.row_shape))
        fields += [pa.field(name, datatype) for name in _names_of(spec)]
        if label is not None:
            fields.append(pa.field(label, pa.string()))
    refuse_twins([field.name for field in fields], f"{manifest.name} gives")
    return pa.schema(fields)


def refuse_twins(names: Sequence[str], who: str) -> None:
    """Raise `ScoreError` where a name stands there twice."""
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ScoreError(f"{who} two columns {twins[0]!r}, which a file cannot tell apart")


def columns_of(manifest: ModelManifest, outputs: Sequence[Array]) -> list[pa.Array]:
    """The columns of one run's outputs, as `fields_of` says, but for the places of unknown words.

    Raises `ComputeError` for an output of another shape than the manifest's.
    """
    for spec, output in zip(manifest.outputs, outputs, strict=True):
        shape = output.shape[1:]
        fits = all(length in (VARIABLE, own) for length, own in zip(spec.row_shape, shape, strict=False))
        if len(shape) != len(spec.row_shape) or not fits:
            raise ComputeError(f"output {spec.name!r} has shape {list(output.shape)}, not {list(spec.shape)}")
    if manifest.kind == "next_word":
        return [_next_words(manifest, outputs[0])]
    return [
        column
        for (spec, label), output in zip(manifest.output_columns, outputs, strict=True)
        for column in _columns(spec, output, labelled=label is not None)
    ]


def _columns(spec: TensorSpec, output: Array, *, labelled: bool) -> Iterator[pa.Array]:
    if _is_flat(spec):
        flat = output.reshape(len(output), math.prod(spec.row_shape))
        for place in range(flat.shape[1]):
            yield pa.array(np.ascontiguousarray(flat[:, place]), _type_of(spec))
    else:
        yield _nested(output, _type_of(spec))
    if labelled:
        places = np.asarray(label_places(spec, output), np.int32)
        yield pa.array(spec.labels, pa.string()).take(pa.array(places))


def _next_words(manifest: ModelManifest, probabilities: Array) -> pa.Array:
    ids, numbers = likeliest_words(probabilities)
    words = pa.array(manifest.inputs[0].vocabulary, pa.string()).take(pa.array(ids.reshape(-1)))
    pairs = pa.StructArray.from_arrays([words, pa.array(numbers.reshape(-1))], fields=list(_WORD))
    return _lists(pairs, ids.shape)


def _nested(output: Array, datatype: pa.DataType) -> pa.Array:
    return _lists(pa.array(output.reshape(-1), datatype), output.shape)


def _lists(elements: pa.Array, shape: Sequence[int]) -> pa.Array:
    """The elements, row-major, in lists that are nested as the shape says; its first length counts rows."""
    for axis in range(len(shape) - 1, 0, -1):
        offsets = np.arange(math.prod(shape[:axis]) + 1, dtype=np.int32) * shape[axis]
        elements = pa.ListArray.from_arrays(offsets.astype(np.int32), elements)
    return elements


def _is_flat(spec: TensorSpec) -> bool:
    """Whether each element of a row has its column."""
    return len(spec.row_shape) <= 1 and VARIABLE not in spec.row_shape


def _names_of(spec: TensorSpec) -> list[str]:
    if not _is_flat(spec) or math.prod(spec.row_shape) == 1:
        return [spec.name]
    return [f"{spec.name}_{suffix}" for suffix in spec.labels or range(spec.row_shape[0])]


def _type_of(spec: TensorSpec) -> pa.DataType:
    return pa.string() if spec.datatype == "BYTES" else pa.from_numpy_dtype(DTYPES[spec.datatype])
