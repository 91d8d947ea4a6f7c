"""List columns as tensors, of one shape for all rows or of each row's own."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.codec.body import nested_lists
from service.codec.faults import all_fit, with_integers
from service.codec.tensors import Array, element_type
from service.codec.words import LONGEST_CONTEXT
from service.manifest import VARIABLE, TensorSpec
from service.scoring.arrow_types import holds_texts, is_list, nested, widest_type
from service.scoring.layout import Cell
from service.scoring.values import Mask, elements_of

Places = npt.NDArray[np.int64]

_NO_WORD = -1
"""In the place of the id of a word that the vocabulary lacks."""


class Ragged(NamedTuple):
    """The rows of a tensor of which each has a shape of its own."""

    flat: Array
    """The elements of all rows."""
    starts: Places
    """Where in them each row begins."""
    shapes: Places
    """The shape of each row: (rows, dimensions)."""

    def rows(self, places: Places) -> Array:
        """The rows at these places, which have one shape, as one array."""
        shape = self.shapes[places[0]].tolist()
        size = math.prod(shape)
        return self.flat[self.starts[places, None] + np.arange(size)].reshape(len(places), *shape)

    def at(self, places: Places) -> "Ragged":
        """Only the rows at these places."""
        return self._replace(starts=self.starts[places], shapes=self.shapes[places])

    def spread(self, marks: Mask) -> pa.Array:
        """Of each row the places in it that are marked, as lists; the rows have one dimension."""
        lengths = self.shapes[:, 0]
        rows = np.repeat(np.arange(len(lengths)), lengths)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        chosen = marks[np.repeat(self.starts, lengths) + places]
        ends = np.cumsum(np.bincount(rows[chosen], minlength=len(lengths)))
        offsets = np.concatenate(([0], ends)).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(places[chosen].astype(np.int32)))


class Lists(NamedTuple):
    """A list column as a tensor."""

    values: Array | Ragged
    """With (rows, *shape), where the shape is one."""
    misfits: Mask
    """The rows that do not fit, in whose place stands any."""
    unknown: Mask | None = None
    """Of contexts of words which of the elements are of words that the vocabulary lacks."""


def read_lists(cell: Cell, column: pa.Array, *, takes_words: bool) -> Lists:
    """The lists of a column, or of text that is lists as JSON; of words their ids, where the tensor takes words."""
    spec, shape, rows = cell.spec, cell.shape, len(column)
    if holds_texts(column.type):
        column = _from_json(spec, shape, column, takes_words=takes_words)
    kept, leaves, shapes = _take_apart(column, shape)
    if takes_words:
        flat, fits = _ids(spec, leaves)
    else:
        flat, fits = elements_of(spec, leaves)
    sizes = shapes.prod(axis=1)
    starts = np.cumsum(sizes) - sizes
    misfits = np.ones(rows, np.bool_)
    misfits[kept] = np.logical_or.reduceat(~fits, starts) if len(kept) else False
    if VARIABLE not in shape:
        if len(kept) == rows:
            return Lists(flat.reshape(rows, *shape), misfits)
        array = np.zeros((rows, *shape), flat.dtype)
        array[kept] = flat.reshape(len(kept), *shape)
        return Lists(array, misfits)
    all_starts, all_shapes = np.zeros(rows, np.int64), np.zeros((rows, len(shape)), np.int64)
    all_starts[kept], all_shapes[kept] = starts, shapes
    if not takes_words:
        return Lists(Ragged(flat, all_starts, all_shapes), misfits)
    misfits |= all_shapes[:, 0] > LONGEST_CONTEXT
    unknown = flat == _NO_WORD
    return Lists(Ragged(np.where(unknown, 0, flat), all_starts, all_shapes), misfits, unknown)


def group(tensors: Sequence[Array | Ragged], places: Places) -> list[Places]:
    """The rows at these places, parted into those that have one shape in every tensor."""
    shapes = [tensor.shapes[places] for tensor in tensors if isinstance(tensor, Ragged)]
    if not shapes or not len(places):
        return [places] if len(places) else []
    _, inverse = np.unique(np.concatenate(shapes, axis=1), axis=0, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    edges = np.flatnonzero(np.diff(inverse.reshape(-1)[order])) + 1
    return [places[part] for part in np.split(order, edges)]


def _take_apart(column: pa.Array, shape: Sequence[int]) -> tuple[Places, pa.Array, Places]:
    """The rows whose lists have the shape (-1: any but 0, the same within a row), their elements and their shapes."""
    kept = np.arange(len(column))
    shapes = np.empty((len(column), len(shape)), np.int64)
    counts = np.ones(len(column), np.int64)
    items = column
    for axis, wanted in enumerate(shape):
        items, lengths = _lengths(items)
        starts = np.cumsum(counts) - counts
        fits = lengths == wanted
        if wanted == VARIABLE:
            fits = (lengths > 0) & (lengths == np.repeat(lengths[starts], counts))
        if not fits.all():
            sound = np.logical_and.reduceat(fits, starts)
            items, lengths = items.filter(pa.array(np.repeat(sound, counts))), lengths[np.repeat(sound, counts)]
            kept, shapes, counts = kept[sound], shapes[sound], counts[sound]
            starts = np.cumsum(counts) - counts
        if not len(kept):
            return kept, _leaves(items), shapes
        shapes[:, axis] = lengths[starts]
        counts = counts * lengths[starts]
        items = _inner(items)
    return kept, items, shapes


def _lengths(items: pa.Array) -> tuple[pa.Array, Places]:
    """Lists, laid out one behind the other, and how long each is: -1 where there is none."""
    datatype = items.type
    if not is_list(datatype):
        # Nothing but null.
        return items, np.full(len(items), VARIABLE, np.int64)
    if pa.types.is_list_view(datatype) or pa.types.is_large_list_view(datatype):
        items = items.cast(pa.large_list(datatype.value_type))
    lengths = pc.list_value_length(items).cast(pa.int64())
    return items, pc.fill_null(lengths, VARIABLE).to_numpy()


def _inner(items: pa.Array) -> pa.Array:
    """What is in the lists, one list behind the other."""
    if pa.types.is_fixed_size_list(items.type) and not items.null_count:
        # Without a copy.
        size = items.type.list_size
        return items.values.slice(items.offset * size, len(items) * size)
    return items.flatten()


def _leaves(items: pa.Array) -> pa.Array:
    """No elements, of the lists' own type."""
    datatype = items.type
    while is_list(datatype):
        datatype = datatype.value_type
    return pa.array([], datatype)


def _ids(spec: TensorSpec, leaves: pa.Array) -> tuple[Array, Mask]:
    """The ids of words, which may be given themselves, and which of them are any; `_NO_WORD` that of an unknown one."""
    if not holds_texts(leaves.type):
        return elements_of(spec, leaves)
    ids = pc.index_in(leaves.cast(pa.string()), pa.array(spec.vocabulary or (), pa.string()))
    flat = pc.fill_null(ids, _NO_WORD).to_numpy().astype(np.int64)
    return flat, leaves.is_valid().to_numpy(zero_copy_only=False)


def _from_json(spec: TensorSpec, shape: Sequence[int], texts: pa.Array, *, takes_words: bool) -> pa.Array:
    """Lists of the JSON in each cell; null where it is none, or none of the tensor's."""
    datatype = nested(pa.string() if takes_words else widest_type(spec), len(shape))
    read = _words_in if takes_words else _value_in
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
        nested_lists(str if takes_words else element_type(spec.datatype), len(shape))
    )
    values = [None if text is None else read(decoder, spec, shape, text) for text in texts.to_pylist()]
    try:
        return pa.array(values, datatype)
    except (OverflowError, pa.ArrowInvalid):
        # An integer beyond all that 64 bits can hold.
        sound = [value if value is not None and all_fit(spec, [value], shape) else None for value in values]
        return pa.array(sound, datatype)


def _value_in(decoder: msgspec.json.Decoder[Any], spec: TensorSpec, shape: Sequence[int], text: str) -> Any:  # noqa: ANN401  # JSON
    """The lists that a text is as JSON; None where it is none that fits."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        value = json_value(text)
        return with_integers(spec, value) if isinstance(value, list) and all_fit(spec, [value], shape) else None


def _words_in(decoder: msgspec.json.Decoder[Any], spec: TensorSpec, shape: Sequence[int], text: str) -> Any:  # noqa: ANN401  # JSON
    """The words that a text is as JSON, of which their ids are another form; None where it is none."""
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):
        words, value = spec.vocabulary or (), json_value(text)
        if not isinstance(value, list) or not all_fit(spec, [value], shape):
            return None
        return [words[place] for place in with_integers(spec, value)]


def json_value(text: str) -> Any:  # noqa: ANN401  # JSON
    """What a text is as JSON; the text itself where it is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
