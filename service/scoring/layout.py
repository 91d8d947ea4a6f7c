"""Which column of a file is which element of which tensor: by the manifest's names, or those it is told."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from service.codec.tensors import element_type
from service.errors import ScoreError
from service.manifest import VARIABLE, ModelManifest, TensorSpec
from service.scoring.arrow_types import holds_texts, is_list, nested, widest_type
from service.scoring.predictions import fields_of, refuse_twins
from service.scoring.reading.formats import Form

ALL = "*"
"""Instead of a column's name: every column."""
_CONTEXT = "context"
"""What a list of words is called, whatever the input's name is."""
_OTHER_COMMAS = ";\t"
"""What some programs write between the cells of CSV."""
_MOST_NAMES = 24
"""No more names are told at once."""
_WANTED = {bool: "booleans, or 0 and 1", int: "integers", float: "numbers", str: "texts"}


class Cell(NamedTuple):
    """A column, and what of a row its cells are."""

    column: str
    spec: TensorSpec
    shape: tuple[int, ...]
    """Of a cell's value: () where it is one element, else that of the tensor's whole row, which it then is."""


class Layout(NamedTuple):
    """The columns that hold one row of all inputs, and those that are carried through."""

    cells: tuple[Cell, ...]
    """In the order of the elements in the row, one input after the other."""
    keep: tuple[str, ...]


class _Columns:
    """The columns of a file, which may be very many."""

    def __init__(self, schema: pa.Schema, where: str, form: Form) -> None:
        self.names: list[str] = schema.names
        self.types: dict[str, pa.DataType] = dict(zip(self.names, schema.types, strict=True))
        self.where, self._form = where, form
        self._counts = Counter(self.names)

    def require(self, column: str, expected: str) -> None:
        """Raise `ScoreError`, with what is expected, for a column that is not there, or there more than once."""
        count = self._counts[column]
        sign = next((sign for sign in _OTHER_COMMAS if sign in self.names[0]), "") if len(self.names) == 1 else ""
        if sign and not count and self._form.format == "csv":
            raise ScoreError(
                f"{self.where}: its cells are separated by {sign!r}: expected are commas, and points in numbers"
            )
        if count != 1:
            times = "twice" if count == 2 else f"{count} times"  # noqa: PLR2004  # the word for it
            fault = f"there {times}" if count else "missing"
            there = _some(self.names) or "none"
            raise ScoreError(f"{self.where}: the column {column!r} is {fault}: {expected}; there are {there}")


def match(  # noqa: PLR0913  # a model, a file, and what is wanted of it
    manifest: ModelManifest, there: pa.Schema, names: Mapping[str, str], keep: Sequence[str], *, where: str, form: Form
) -> Layout:
    """The layout of a file of this form that has the columns `there`; `where` names it in errors.

    `names` says under which name a column stands that the manifest calls otherwise. `keep` are the columns to carry
    through, `ALL` for every one. An input is a list column of its name, or one column for each element: named by the
    features, or by the input and the element's place in the row. Raises `ScoreError` for what is missing, there twice
    or of a type that can never be read, and where a name would stand for two columns of the output.
    """
    for spec in (*manifest.inputs, *manifest.outputs):
        if spec.datatype == "BF16":
            raise ScoreError(f"{manifest.name}: {spec.name!r} is BF16, which no column can hold")
    known = {name for spec in manifest.inputs for name in (*_list_names(spec, manifest), *_element_names(spec))}
    for name in names:
        if name not in known:
            takes = _some(_all_names(manifest))
            raise ScoreError(f"{manifest.name} has no input or feature {name!r} to map a column to: it takes {takes}")
    columns = _Columns(there, where, form)
    cells = tuple(cell for spec in manifest.inputs for cell in _cells(spec, manifest, columns, names))
    refuse_twins([cell.column for cell in cells], f"{manifest.name} takes")
    for cell in cells:
        # What is read as another type than it has may have any: that tells each row.
        if pa.types.is_null(_type_of(cell, form)):
            _refuse_other_types(cell, columns, takes_words=manifest.kind == "next_word")
    kept = tuple(dict.fromkeys(name for one in keep for name in (columns.names if one == ALL else [one])))
    for name in kept:
        columns.require(name, "it is to be kept")
    refuse_twins([*kept, *fields_of(manifest).names], "the output would have")
    return Layout(cells, kept)


def types_of(layout: Layout, form: Form) -> dict[str, pa.DataType]:
    """What a file's columns are to be read as; null where a column is taken as it is.

    Of CSV only numbers are converted, the rest is text; a column that is kept too stays text, so that it is carried
    through unchanged.
    """
    types = dict.fromkeys(layout.keep, pa.null())
    for cell in layout.cells:
        if form.format != "csv" or cell.column not in types:
            types[cell.column] = _type_of(cell, form)
    return types


def as_read(there: pa.Schema, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of a file once they are read as these types."""
    found = dict(zip(there.names, there.types, strict=True))
    return pa.schema([(name, found[name] if pa.types.is_null(own) else own) for name, own in types.items()])


def _type_of(cell: Cell, form: Form) -> pa.DataType:
    element = element_type(cell.spec.datatype)
    if form.format == "csv":
        return pa.float64() if element is float and not cell.shape else pa.string()
    # Whether a context is words or their ids shows in the file alone.
    if form.format != "jsonl" or (cell.spec.vocabulary is not None and cell.shape):
        return pa.null()
    return nested(widest_type(cell.spec), len(cell.shape))


def _list_names(spec: TensorSpec, manifest: ModelManifest) -> list[str]:
    """What the manifest calls the column of all the input's elements, the first the likelier."""
    return list(dict.fromkeys([_CONTEXT, spec.name] if manifest.kind == "next_word" else [spec.name]))


def _element_names(spec: TensorSpec) -> list[str]:
    """What the manifest calls the columns of single elements; none where a row has no certain number of them."""
    shape = spec.row_shape
    if not shape:
        return [spec.name]
    if VARIABLE in shape:
        return []
    if spec.features is not None and len(shape) == 1:
        return [feature.name for feature in spec.features]
    return [f"{spec.name}_{place}" for place in range(math.prod(shape))]


def _all_names(manifest: ModelManifest) -> Iterator[str]:
    for spec in manifest.inputs:
        yield from _element_names(spec) or _list_names(spec, manifest)


def _cells(spec: TensorSpec, manifest: ModelManifest, there: _Columns, names: Mapping[str, str]) -> list[Cell]:
    """The columns that hold one input: one of lists, or one for each element, which are preferred where all are."""
    lists = [column for name in _list_names(spec, manifest) if (column := names.get(name, name)) in there.types]
    elements = [names.get(name, name) for name in _element_names(spec)]
    if lists and spec.row_shape:
        # One element may have the input's own name, as a list of it has.
        is_whole = elements == lists[:1] and is_list(there.types[lists[0]])
        if is_whole or not elements or not there.types.keys() >= set(elements):
            there.require(lists[0], "expected is one")
            return [Cell(lists[0], spec, spec.row_shape)]
    if not elements:
        name = _list_names(spec, manifest)[0]
        there.require(names.get(name, name), "expected is one of lists")
    expected = f"expected are {_some([names.get(name, name) for name in _all_names(manifest)])}"
    for column in elements:
        there.require(column, expected)
    return [Cell(column, spec, ()) for column in elements]


def _refuse_other_types(cell: Cell, there: _Columns, *, takes_words: bool) -> None:
    """Raise `ScoreError` for a column of which no cell could ever be what it should be."""
    declared = datatype = there.types[cell.column]
    depth = 0
    while is_list(datatype):
        datatype, depth = datatype.value_type, depth + 1
    wanted = element_type(cell.spec.datatype)
    expected = _WANTED[wanted]
    if takes_words:
        expected = "words, or of their ids"
    if cell.shape:
        expected = f"lists of {'lists of ' * (len(cell.shape) - 1)}{expected}"
    # Of null nothing is known yet: a later row may have a value.
    if pa.types.is_null(datatype) and depth <= len(cell.shape):
        return
    fits = _holds(datatype, wanted) or (takes_words and holds_texts(datatype))
    if depth != len(cell.shape) or not fits:
        raise ScoreError(f"{there.where}: the column {cell.column!r} is of type {declared}: expected are {expected}")


def _holds(datatype: pa.DataType, wanted: type) -> bool:
    """Whether elements of a column can be what the tensor wants."""
    if wanted is str:
        return holds_texts(datatype)
    types = pa.types
    if wanted is bool and types.is_boolean(datatype):
        return True
    return bool(types.is_integer(datatype) or types.is_floating(datatype) or types.is_decimal(datatype))


def _some(names: Sequence[str] | Iterator[str]) -> str:
    """The names, the first of them where they are very many."""
    names = list(names)
    told = ", ".join(islice(names, _MOST_NAMES))
    more = len(names) - _MOST_NAMES
    return f"{told} and {more} more" if more > 0 else told
