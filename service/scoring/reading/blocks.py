"""What is read from a file at a time: a block of rows, read fast, and a second time closely where that fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.errors import ScoreError

BLOCK_BYTES = 8 << 20
"""About so many bytes of text, or of decoded columns, are a block."""
BLOCK_ROWS = 1 << 16
"""No more rows are in a block of columns."""
MOST_COLUMNS = 1 << 16


class RowFault(NamedTuple):
    """What is wrong with a row."""

    row: int
    """In the block, from 0; blank lines are no rows."""
    column: str
    """Empty where it is the row as a whole."""
    expected: str
    got: str


@dataclass(frozen=True)
class Loose:
    """A block after the close look."""

    batch: pa.RecordBatch
    """The rows that could be taken apart; of CSV their cells as text."""
    rows: npt.NDArray[np.int64]
    """Which rows of the block these are."""
    count: int
    """Rows of the block, with those that could not."""
    faults: tuple[RowFault, ...]
    """Of those that could not, in their order."""


class UnfitError(Exception):
    """A block cannot be read as the types asked for: some of its rows are faulty, and a close look finds them."""


class Block(Protocol):
    """Some consecutive rows of a file. Reading them keeps nothing, so that it can be done again, on any thread."""

    @property
    def size(self) -> int:
        """How many bytes of the file it is, or stands for."""

    def strictly(self) -> pa.RecordBatch:
        """All rows, fast. Raises `UnfitError` where one is faulty, `ScoreError` where the file cannot be read."""

    def loosely(self) -> Loose:
        """The rows that can be taken apart, and what is wrong with the others. Raises `ScoreError` as above."""


class Decoded(NamedTuple):
    """A block of what is decoded already, as Parquet and Arrow are."""

    batch: pa.RecordBatch
    size: int

    def strictly(self) -> pa.RecordBatch:
        """All rows: types are the file's own, so no row can be faulty."""
        return self.batch

    def loosely(self) -> Loose:
        """All rows."""
        return Loose(self.batch, np.arange(self.batch.num_rows), self.batch.num_rows, ())


def refuse_many_columns(count: int, name: str) -> None:
    """Raise `ScoreError` where the file of this name has more columns than any may have."""
    if count > MOST_COLUMNS:
        raise ScoreError(f"{name}: expected are at most {MOST_COLUMNS:,} columns, got {count:,}")


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with columns that are encoded, or laid out in views, written out: not all can be done with those.

    Raises `pa.ArrowInvalid` for a column whose parts contradict each other, or whose texts are not UTF-8: to read on
    in it could end the process.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise pa.ArrowInvalid(f"the column {name!r} is damaged: {error}") from None
    schema = plain_schema(batch.schema)
    arrays = [_written_out(column, own) for column, own in zip(batch.columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `plain` batches. What else is said of the columns, such as another program's notes, is left out."""
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(datatype: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(datatype) or types.is_run_end_encoded(datatype):
        return datatype.value_type
    if types.is_list_view(datatype) or types.is_large_list_view(datatype):
        return pa.list_(datatype.value_type)
    if types.is_string_view(datatype):
        return pa.string()
    return pa.binary() if types.is_binary_view(datatype) else datatype


def _written_out(column: pa.Array, datatype: pa.DataType) -> pa.Array:
    if column.type == datatype:
        return column
    if pa.types.is_run_end_encoded(column.type):
        return pc.run_end_decode(column)
    if pa.types.is_list(datatype):
        # pyarrow's own cast of a view in which a list is missing is no sound array.
        return pa.array(column.to_pylist(), datatype)
    return column.cast(datatype)


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of some batches, at least one, as one."""
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
