"""Parquet files, read row group by row group, each in blocks of about one size."""

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
from pyarrow import parquet

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

_BUFFER = 1 << 20
"""A column of a row group is read in such parts, not whole: so memory is flat whatever the row groups' size."""
_SAMPLES = 64
"""Row groups whose sizes tell a row's width: there may be millions."""
_DRAWN = 64
"""Rows that tell how wide lists and texts are: in the file, a dictionary may stand for them."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value once it is decoded."""


class ParquetFile:
    """A Parquet file of this machine."""

    def __init__(self, file: File, block_bytes: int = BLOCK_BYTES) -> None:
        """Read what stands at the file's end. Raises `ScoreError` where it is not Parquet or not whole."""
        self._file, self._block_bytes = file, block_bytes
        self._drawn: tuple[list[str], int] | None = None
        if file.is_standard_input:
            raise ScoreError("standard input: Parquet begins to be read at its end: give it as a file")
        if file.bytes == 0:
            raise ScoreError(f"{file.path}: it is empty")
        with self._opened() as opened:
            self._metadata = opened.metadata
            refuse_many_columns(self._metadata.num_columns, file.name)
            try:
                self.schema = plain_schema(opened.schema_arrow)
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise unreadable(file.name, error) from None

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
            try:
                rows = self._rows(opened, names)
                batches = opened.iter_batches(rows, row_groups=groups, columns=names)
                for batch in _of(rows, (plain(batch.select(names)) for batch in batches)):
                    size = self._file.bytes * batch.num_rows // max(self._metadata.num_rows, 1)
                    yield Decoded(batch, size)
            except (pa.ArrowException, OSError) as error:
                raise unreadable(self._file.name, error) from None

    def _opened(self, metadata: parquet.FileMetaData | None = None) -> parquet.ParquetFile:
        try:
            # Not mapped: pages of a mapped file count as memory.
            return parquet.ParquetFile(
                self._file.path,
                metadata=metadata,
                memory_map=False,
                buffer_size=_BUFFER,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise unreadable(self._file.name, error) from None

    def _rows(self, opened: parquet.ParquetFile, names: list[str]) -> int:
        """How many rows of these columns make a block.

        What is said of a column in a row group is not asked: the library ends the process where that is damaged.
        """
        wanted = set(names)
        width, unlike = 0, set()
        for column in map(opened.schema.column, range(len(opened.schema))):
            name = column.path if column.path in wanted else column.path.partition(".")[0]
            if name in wanted:
                own = _WIDTHS.get(column.physical_type)
                if own is None or column.max_repetition_level:
                    unlike.add(name)
                else:
                    width += own
        width += self._drawn_width(opened, sorted(unlike)) if unlike else 0
        return min(max(self._block_bytes // max(width, 1), 1), BLOCK_ROWS)

    def _drawn_width(self, opened: parquet.ParquetFile, names: list[str]) -> int:
        """How many bytes a row of columns takes whose rows are not all of one size.

        As many as the first rows show, once decoded, or as the file says of all columns, if that is more.
        """
        if self._drawn is not None and self._drawn[0] == names:
            return self._drawn[1]
        count = self._metadata.num_row_groups
        size = rows = 0
        for place in sorted({place * count // _SAMPLES for place in range(_SAMPLES)} if count else ()):
            group = self._metadata.row_group(place)
            rows += group.num_rows
            size += group.total_byte_size
        width = size // max(rows, 1)
        for batch in opened.iter_batches(_DRAWN, row_groups=[0] if count else [], columns=names):
            width = max(width, plain(batch).nbytes // max(batch.num_rows, 1))
            break
        self._drawn = names, width
        return width


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
