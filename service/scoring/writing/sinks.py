"""The writers of the output's formats, and that of the rows that were rejected.

Whatever is written depends on the sequence of batches alone: not on time, nor on where batches were held up. All
raise `OSError` where the file cannot be written.
"""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from service.scoring.reading.blocks import RowFault
from service.scoring.reading.formats import Compression, Form

GROUP_ROWS = 131_072
GROUP_BYTES = 1 << 25
"""A row group of Parquet is written when it has so many rows, or is about so large, whichever comes first."""
_BYTES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_string_view,
    pa.types.is_binary_view,
)
_OTHER_BYTES = 8
"""As large is a value taken for that is neither a text nor a list."""
_LINES = 8192
"""Rows that are Python objects at a time."""
_GZIP_LEVEL = 6
"""pyarrow's own 9 takes four times as long for two hundredths less."""
REJECTED_COLUMNS = ("file", "row", "column", "expected", "got")


class Sink(Protocol):
    """A file that is being written."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows of `batch`, which has the schema that the file was opened with."""

    def close(self) -> None:
        """Write what is still held, and the file's end; without a batch it is a whole file of no rows."""


def open_sink(path: Path, form: Form, schema: pa.Schema) -> Sink:
    """A new file at `path`, or an old one written anew, for batches of `schema`."""
    if form.format == "parquet":
        return _ParquetSink(path, schema)
    if form.format == "arrow":
        return _ArrowSink(path, form.compression, schema)
    if form.format == "csv":
        return _CsvSink(path, form.compression, schema)
    return _JsonLinesSink(path, form.compression, schema)


def _new(path: Path) -> pa.OSFile:
    return pa.OSFile(str(path), "wb")


class _Stream:
    """A file of bytes, plain or compressed."""

    def __init__(self, file: pa.OSFile, compression: Compression | None) -> None:
        self._file = file
        self.top: Any = file
        if compression == "gzip":
            # Without a name and a time, which would be other bytes for the same rows.
            self.top = gzip.GzipFile("", "wb", _GZIP_LEVEL, self._file, mtime=0)
        elif compression == "zstd":
            self.top = pa.CompressedOutputStream(self._file, "zstd")

    def close(self) -> None:
        self.top.close()
        self._file.close()

    def __del__(self) -> None:
        # What a file that is given up cannot write any more, pyarrow would tell on the standard error.
        with suppress(OSError):
            self.close()


class _CsvSink:
    """Comma-separated values: floats are doubles, in the shortest text that reads back; what is nested is JSON."""

    def __init__(self, path: Path, compression: Compression | None, schema: pa.Schema) -> None:
        self._schema = pa.schema([(field.name, _cell_type(field.type)) for field in schema])
        self._stream = _Stream(_new(path), compression)
        self._writer = pa_csv.CSVWriter(self._stream.top, self._schema)

    def write(self, batch: pa.RecordBatch) -> None:
        cells = [_cells(column) for column in batch.columns]
        self._writer.write_batch(pa.record_batch(cells, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._stream.close()


class _JsonLinesSink:
    """A JSON object a line: floats are doubles, and null where JSON has no number for them, as in HTTP's replies."""

    def __init__(self, path: Path, compression: Compression | None, schema: pa.Schema) -> None:
        self._row = _row_maker(schema.names)
        self._encoder = msgspec.json.Encoder()
        self._stream = _Stream(_new(path), compression)

    def write(self, batch: pa.RecordBatch) -> None:
        for start in range(0, batch.num_rows, _LINES):
            columns = [_objects(column) for column in batch.slice(start, _LINES).columns]
            self._stream.top.write(self._encoder.encode_lines(list(map(self._row, *columns))))

    def close(self) -> None:
        self._stream.close()


class _ParquetSink:
    """Parquet; small batches share a row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        # Scores hardly repeat, and a dictionary of them would only cost time. Zstandard makes files of scores a tenth
        # smaller than snappy, in 1.7 times the time.
        repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
        self._schema = schema
        self._file = _new(path)
        self._writer = pq.ParquetWriter(self._file, schema, compression="snappy", use_dictionary=repeating or False)
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        while self._rows + batch.num_rows >= GROUP_ROWS:
            fitting = GROUP_ROWS - self._rows
            self._hold(batch.slice(0, fitting))
            self._write_group()
            batch = batch.slice(fitting)
        self._hold(batch)
        if self._bytes >= GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._rows:
            self._write_group()
        self._writer.close()
        self._file.close()

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += sum(map(_size, batch.columns))

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._held, self._rows, self._bytes = [], 0, 0
        self._writer.write_table(table, row_group_size=GROUP_ROWS)


class _ArrowSink:
    """An Arrow IPC file; where it is compressed, an Arrow IPC stream, which can be read from its beginning on."""

    def __init__(self, path: Path, compression: Compression | None, schema: pa.Schema) -> None:
        self._stream = _Stream(_new(path), compression)
        new = pa.ipc.new_stream if compression else pa.ipc.new_file
        self._writer = new(self._stream.top, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()
        self._stream.close()


class RejectedRows:
    """The file of the rows that were rejected, a fault a line; it is made with the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: pa.OSFile | None = None

    def write(self, file: str, before: int, faults: Sequence[RowFault]) -> None:
        """Write the faults of a block of `file` that `before` rows of the file stand before."""
        if not faults:
            return
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        if self._file is None:
            self._file = _new(self._path)
            lines.writerow(REJECTED_COLUMNS)
        lines.writerows((file, before + fault.row + 1, *fault[1:]) for fault in faults)
        # A file's name may be bytes that are no text.
        self._file.write(text.getvalue().encode(errors="surrogateescape"))

    def close(self) -> None:
        """Write what is still held."""
        if self._file is not None:
            self._file.close()


def _size(column: pa.Array) -> int:
    """About how many bytes its values are. Unlike pyarrow's own, it does not depend on how they lie in memory."""
    types, kind = pa.types, column.type
    if isinstance(column, pa.ExtensionArray):
        return _size(column.storage)
    if types.is_map(kind):
        # The keys and values that pyarrow gives of a slice are those of the whole.
        return _size(column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))))
    if types.is_struct(kind):
        return sum(map(_size, column.flatten()))
    if types.is_nested(kind) and not types.is_union(kind):
        return _size(column.flatten())
    if any(is_one(kind) for is_one in _BYTES):
        is_view = types.is_string_view(kind) or types.is_binary_view(kind)
        return pc.sum(pc.binary_length(column.cast(pa.large_binary()) if is_view else column)).as_py() or 0
    return len(column) * _OTHER_BYTES


def _row_maker(names: Sequence[str]) -> Callable[..., object]:
    """What makes an object of these names, in this order, of its values."""
    try:
        fields = [(f"field_{place}", Any) for place in range(len(names))]
        renamed = {field: name for (field, _), name in zip(fields, names, strict=True)}
        return msgspec.defstruct("Row", fields, rename=renamed, gc=False)
    except ValueError:
        # A name with a quote in it, say, which no structure may have.
        return lambda *values: dict(zip(names, values, strict=True))


def _plain_type(datatype: pa.DataType) -> pa.DataType:
    """What a text format writes such values from: doubles for floats, and texts for what JSON has no word for."""
    plain = datatype.storage_type if isinstance(datatype, pa.BaseExtensionType) else datatype
    if pa.types.is_floating(plain):
        return pa.float64()
    is_itself = pa.types.is_integer(plain) or pa.types.is_boolean(plain) or pa.types.is_null(plain)
    return plain if is_itself or _is_object(plain) else pa.string()


def _plain(column: pa.Array) -> pa.Array:
    """The column as `_plain_type` says."""
    stored = column.storage if isinstance(column, pa.ExtensionArray) else column
    return stored.cast(_plain_type(column.type))


def _is_object(datatype: pa.DataType) -> bool:
    """Whether its values are written by way of Python's objects: lists, structures, bytes (as Base64)."""
    types = pa.types
    is_bytes = types.is_binary(datatype) or types.is_large_binary(datatype) or types.is_binary_view(datatype)
    is_fixed = types.is_fixed_size_binary(datatype) or types.is_interval(datatype)
    return bool(types.is_nested(datatype) or is_bytes or is_fixed)


def _objects(column: pa.Array) -> list[Any]:
    """The values as Python's objects."""
    plain = _plain(column)
    # By pyarrow's own way to numpy, pandas would be imported where it is there, which a signal must not interrupt.
    objects: list[Any] = np.from_dlpack(plain).tolist() if _is_whole(plain) else plain.to_pylist()
    return objects


def _is_whole(column: pa.Array) -> bool:
    """Whether it is numbers without a null, which numpy gives several times as fast."""
    return bool(not column.null_count and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)))


def _cell_type(datatype: pa.DataType) -> pa.DataType:
    """What a column of CSV is made of."""
    plain = _plain_type(datatype)
    return pa.string() if _is_object(plain) else plain


def _cells(column: pa.Array) -> pa.Array:
    """The column as `_cell_type` says."""
    plain = _plain(column)
    if _is_object(plain.type):
        return pa.array(map(_cell, plain.to_pylist()), pa.string())
    return plain


def _cell(value: object) -> str | None:
    """The text of what is nested, or of bytes."""
    if value is None:
        return None
    simple = msgspec.to_builtins(value)
    return simple if isinstance(simple, str) else msgspec.json.encode(value).decode()
