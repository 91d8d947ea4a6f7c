"""Parquet files, read row group by row group, each in blocks of about one size."""

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
from pyarrow import parquet

from service.errors import ScoreError
from service.scoring.blocks import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    Block,
    Decoded,
    joined,
    plain,
    plain_schema,
    refuse_many_columns,
)
from service.scoring.sources import File, unreadable

_BUFFER = 1 << 20
"""A column of a row group is read in such parts, not whole: so memory is flat whatever the row groups' size."""
_SAMPLES = 64
"""Row groups whose sizes tell a row's width: there may be millions."""

_WIDTHS = {"INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value once it is decoded: in the file a dictionary may stand for them."""


class ParquetFile:
    """A Parquet file of this machine."""

    def __init__(self, file: File, block_bytes: int = BLOCK_BYTES) -> None:
        """Read what stands at the file's end. Raises `ScoreError` where it is not Parquet or not whole."""
        self._file, self._block_bytes = file, block_bytes
        if file.is_standard_input:
            raise ScoreError("standard input: Parquet begins to be read at its end: give it as a file")
        if file.bytes == 0:
            raise ScoreError(f"{file.path}: it is empty")
        with self._opened() as opened:
            self._metadata = opened.metadata
            refuse_many_columns(self._metadata.num_columns, file.name)
            self.schema = plain_schema(opened.schema_arrow)

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of row groups, small ones together."""
        stop = rows = 0
        for stop in range(start, self._metadata.num_row_groups):
            if rows >= BLOCK_ROWS:
                yield start, stop
                start, rows = stop, 0
            rows += self._metadata.row_group(stop).num_rows
        if start <= stop and start < self._metadata.num_row_groups:
            yield start, stop + 1

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The row groups' rows, as they are: the columns in `types`, whatever types stand there."""
        names = list(types)
        with self._opened(self._metadata) as opened:
            groups = list(range(start, stop))
            rows = self._rows(names)
            batches = opened.iter_batches(rows, row_groups=groups, columns=names)
            try:
                for batch in _of(rows, (plain(batch.select(names)) for batch in batches)):
                    size = self._file.bytes * batch.num_rows // self._metadata.num_rows
                    yield Decoded(batch, size)
            except (pa.ArrowException, OSError) as error:
                raise unreadable(self._file.name, error) from None

    def _opened(self, metadata: parquet.FileMetaData | None = None) -> parquet.ParquetFile:
        try:
            # Not mapped: pages of a mapped file count as memory.
            return parquet.ParquetFile(
                self._file.path, metadata=metadata, memory_map=False, buffer_size=_BUFFER, pre_buffer=False
            )
        except (pa.ArrowException, OSError) as error:
            raise unreadable(self._file.name, error) from None

    def _rows(self, names: list[str]) -> int:
        """How many rows of these columns make a block."""
        count = self._metadata.num_row_groups
        wanted = set(names)
        size = rows = 0
        for place in sorted({place * count // _SAMPLES for place in range(_SAMPLES)} if count else ()):
            group = self._metadata.row_group(place)
            rows += group.num_rows
            for index in range(group.num_columns):
                column = group.column(index)
                if column.path_in_schema.partition(".")[0] in wanted or column.path_in_schema in wanted:
                    size += max(
                        column.total_uncompressed_size, column.num_values * _WIDTHS.get(column.physical_type, 0)
                    )
        return min(max(self._block_bytes * rows // max(size, 1), 1), BLOCK_ROWS)


def _of(rows: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, so many in each batch but the last: a dictionary's batches end where its row group does."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + rest.num_rows >= rows:
            yield joined([*waiting, rest.slice(0, rows - count)])
            rest, waiting, count = rest.slice(rows - count), [], 0
        if rest.num_rows:
            waiting.append(rest)
            count += rest.num_rows
    if waiting:
        yield joined(waiting)
