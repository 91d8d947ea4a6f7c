"""Arrow IPC files and streams, in blocks of about one size."""

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from service.errors import ScoreError
from service.scoring.reading.blocks import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    Block,
    Decoded,
    joined,
    plain,
    plain_schema,
    refuse_many_columns,
)
from service.scoring.reading.sources import File, unreadable
from service.scoring.reading.streams import damaged, decompressed, fill, open_raw

_BLOCKS = 4
"""About so many blocks are a segment: its last one may be small."""
_MAGIC = b"ARROW1"
_CONTINUATION = b"\xff\xff\xff\xff"
"""How a stream begins, since Arrow's version 0.15."""
_AT_ONCE = 64 << 20
"""Bytes."""
_PADDED = 8
"""Bytes that the magic takes at the beginning of a file; a stream follows, and then the places of its batches."""


class ArrowFile:
    """A file of the IPC file format: its record batches can be read one by one."""

    def __init__(self, file: File, block_bytes: int = BLOCK_BYTES) -> None:
        """Read what stands at the file's end. Raises `ScoreError` where it is not whole."""
        self._file, self._block_bytes = file, block_bytes
        with self._opened() as reader:
            self._count = reader.num_record_batches
            self.schema = _checked(reader.schema, file)

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of record batches, small ones together."""
        together = max(_BLOCKS * self._block_bytes * self._count // self._file.bytes, 1)
        for first in range(start, self._count, together):
            yield first, min(first + together, self._count)

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The record batches' rows, as they are: the columns in `types`, whatever types stand there."""
        names = list(types)
        # Of the others nothing is read.
        options = pa.ipc.IpcReadOptions(included_fields=[self.schema.names.index(name) for name in names])
        with self._opened(options) as reader:
            share = self._file.bytes // self._count
            batches = (reader.get_batch(place).select(names) for place in range(start, stop))
            size = share * (stop - start)
            try:
                for batch in in_blocks(batches, self._block_bytes):
                    yield Decoded(batch, size)
                    size = 0
            except (pa.ArrowException, OSError) as error:
                raise unreadable(self._file.name, error) from None

    def _opened(self, options: pa.ipc.IpcReadOptions | None = None) -> pa.ipc.RecordBatchFileReader:
        try:
            # Not mapped: pages of a mapped file count as memory.
            return pa.ipc.open_file(pa.OSFile(self._file.path), options=options)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self._file.name, error) from None


class ArrowStream:
    """What can only be read from the first byte to the last: the IPC stream format, and either format compressed."""

    def __init__(self, file: File, block_bytes: int = BLOCK_BYTES) -> None:
        """Read the schema. Raises `ScoreError` where it cannot be read."""
        self._file, self._block_bytes = file, block_bytes
        self._begun: _Stream | None = _Stream(file)
        self.schema = _checked(self._begun.schema, file)

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """The whole."""
        if start == 0:
            yield 0, 1

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:  # noqa: ARG002  # there is one segment
        """The rows, as they are: the columns in `types`, whatever types stand there. Standard input gives them once."""
        names = list(types)
        stream, self._begun = self._begun, None
        if stream is None and self._file.is_standard_input:
            raise ScoreError("standard input: it can be read only once")
        stream = stream or _Stream(self._file)
        before = 0
        try:
            for batch in in_blocks((batch.select(names) for batch in stream.batches()), self._block_bytes):
                now = before + batch.nbytes if self._file.is_standard_input else stream.tell()
                yield Decoded(batch, now - before)
                before = now
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self._file.name, error) from None


class _Stream:
    """The record batches of a stream, also of one that lies in a file of the file format."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._raw = open_raw(file)
        try:
            self._text = _Behind(decompressed(file, self._raw))
            self._is_file = self._text.begins_with(_MAGIC)
            if self._is_file:
                self._text.read(_PADDED)
            elif not self._text.begins_with(b""):
                raise ScoreError(f"{file.name}: it is empty")
            is_told = self._is_file or self._text.begins_with(_CONTINUATION)
            self._reader = pa.ipc.open_stream(pa.PythonFile(self._text, "r"))
        except pa.ArrowInvalid as error:
            # Old streams begin with a number, as any text seems to do.
            raise self._error(error) if is_told else ScoreError(f"{file.name}: it is no Arrow file") from None
        except (pa.ArrowException, OSError) as error:
            raise self._error(error) from None
        self.schema = self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All there are. Raises `ScoreError` where the end is missing, as far as the format tells."""
        try:
            yield from self._reader
            tail = b""
            while more := self._text.read(1 << 20):
                tail = (tail + more)[-len(_MAGIC) :]
        except (pa.ArrowException, OSError) as error:
            raise self._error(error) from None
        if self._is_file and tail != _MAGIC:
            raise ScoreError(f"{self._file.name}: it is truncated: the end of an Arrow file is missing")

    def tell(self) -> int:
        """How many bytes of the file were read."""
        return int(self._raw.tell())

    def _error(self, error: Exception) -> ScoreError:
        if isinstance(error, OSError):
            return damaged(self._file, error, self._text.came)
        return unreadable(self._file.name, error)


class _Behind:
    """A stream whose first bytes were looked at; a file to Python."""

    closed = False

    def __init__(self, stream: pa.NativeFile) -> None:
        self.came = 0
        self._stream = stream
        self._head = b""

    def begins_with(self, expected: bytes) -> bool:
        """Whether these are the first bytes; of an empty stream none are, not even no bytes."""
        if not self._head:
            self._head = self._stream.read(_PADDED)
        return bool(self._head) and self._head.startswith(expected)

    def read(self, count: int) -> bytes:
        """So many bytes, or fewer."""
        if self._head:
            got, self._head = self._head[:count], self._head[count:]
        else:
            got = fill(self._read_some, count)
        self.came += len(got)
        return got

    def _read_some(self, count: int) -> bytes:
        """Not all at once: a damaged stream may ask for more than memory holds, and has no more than it has."""
        return bytes(self._stream.read(min(count, _AT_ONCE)))


def open_arrow(file: File, block_bytes: int = BLOCK_BYTES) -> ArrowFile | ArrowStream:
    """The file in the format that its first bytes show. Raises `ScoreError` where it cannot be read."""
    if file.form.compression is None and not file.is_standard_input:
        try:
            with open_raw(file) as raw:
                if raw.read(len(_MAGIC)) == _MAGIC:
                    return ArrowFile(file, block_bytes)
        except OSError as error:
            raise unreadable(file.name, error) from None
    return ArrowStream(file, block_bytes)


def in_blocks(batches: Iterable[pa.RecordBatch], block_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows in batches of about one size: small ones are joined, large ones sliced."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for part in _slices(plain(batch), block_bytes):
            if waiting and (rows + part.num_rows > BLOCK_ROWS or size + part.nbytes > block_bytes):
                yield joined(waiting)
                waiting, rows, size = [], 0, 0
            waiting.append(part)
            rows, size = rows + part.num_rows, size + part.nbytes
    if waiting:
        yield joined(waiting)


def _slices(batch: pa.RecordBatch, block_bytes: int) -> Iterator[pa.RecordBatch]:
    most = min(max(block_bytes * batch.num_rows // max(batch.nbytes, 1), 1), BLOCK_ROWS)
    for start in range(0, batch.num_rows, most):
        yield batch.slice(start, most)


def _checked(schema: pa.Schema, file: File) -> pa.Schema:
    refuse_many_columns(len(schema), file.name)
    try:
        return plain_schema(schema)
    except UnicodeDecodeError as error:
        raise unreadable(file.name, error) from None
