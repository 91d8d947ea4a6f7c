"""CSV files, read in blocks of columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from service.codec.faults import describe
from service.scoring.reading.blocks import BLOCK_BYTES, Block, Loose, RowFault, UnfitError
from service.scoring.reading.csv_records import cut, header_of
from service.scoring.reading.sources import File, unreadable
from service.scoring.reading.text_file import Piece, TextFile

_MARK = b"\xef\xbb\xbf"
_NOT_BLANK = re.compile(rb"[^\r\n]")
_LONGEST_QUOTE = 41


class CsvFile:
    """A CSV file with a header; its lines end in LF or CR LF, and a quote in a cell that is not quoted is literal."""

    def __init__(self, file: File, chunk: int = BLOCK_BYTES) -> None:
        """Read the header. Raises `ScoreError` where there is none that can be used."""
        self._text = TextFile(file, cut, chunk)
        self._header, names = header_of(self._text.first, file)
        self.schema = pa.schema([pa.field(name, pa.string()) for name in names])
        self._file = file

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of bytes; the first one begins with the header."""
        return self._text.segments(start)

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The pieces of a segment."""
        parser = _Parser(self._file, tuple(self.schema.names), dict(types))
        skip = self._header if start == 0 else 0
        for piece in self._text.pieces(start, stop):
            yield _CsvBlock(piece, parser, skip)
            skip = 0


class _Parser:
    """How the columns that are wanted are read, for all blocks of a segment.

    pyarrow gets numbers for names, since it cannot tell columns of one name apart.
    """

    def __init__(self, file: File, names: Sequence[str], types: Mapping[str, pa.DataType]) -> None:
        self.file = file
        self.names = list(types)
        self._read = [str(place) for place in range(len(names))]
        places = {name: str(place) for place, name in enumerate(names)}
        wanted = [places[name] for name in self.names]
        text = [pa.string() if pa.types.is_null(one) else one for one in types.values()]
        self._as_types = dict(zip(wanted, text, strict=True))
        self._as_bytes = dict.fromkeys(wanted, pa.binary())

    def parse(self, text: bytes, *, on_ragged: Any = None) -> pa.RecordBatch:  # noqa: ANN401  # pyarrow has no type for it
        """The rows; with `on_ragged`, which is called with rows of another width and skips them, their bytes."""
        if text.startswith(_MARK):
            # At the beginning of a block it is part of the cell, as it would be anywhere else in the file.
            text = b"\n" + text
        types = self._as_types if on_ragged is None else self._as_bytes
        if _NOT_BLANK.search(text) is None:
            return pa.RecordBatch.from_pylist([], pa.schema(list(zip(self.names, types.values(), strict=True))))
        table = csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(column_names=self._read, use_threads=False, block_size=len(text) + 1),
            csv.ParseOptions(newlines_in_values=True, invalid_row_handler=on_ragged),
            csv.ConvertOptions(
                include_columns=list(types), column_types=types, null_values=[], strings_can_be_null=False
            ),
        )
        # One block of text is one chunk.
        return pa.RecordBatch.from_arrays([column.chunk(0) for column in table.columns], names=self.names)


class _CsvBlock(NamedTuple):
    """Some rows as text."""

    piece: Piece
    parser: _Parser
    skip: int
    """Bytes of the header before them."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.piece.size

    def strictly(self) -> pa.RecordBatch:
        """All rows, in the types asked for."""
        try:
            return self.parser.parse(self._text())
        except (pa.ArrowInvalid, UnicodeDecodeError):
            raise UnfitError from None

    def loosely(self) -> Loose:
        """The rows that have as many cells as the header and are UTF-8, as text."""
        faults: list[RowFault] = []

        def note(row: Any) -> str:  # noqa: ANN401  # pyarrow's, which it does not export
            expected, got = f"{row.expected_columns} cells", str(row.actual_columns)
            faults.append(RowFault(row.number - 1, "", expected, got))
            return "skip"

        try:
            batch = self.parser.parse(self._text(), on_ragged=note)
        except pa.ArrowInvalid as error:
            raise unreadable(self.parser.file.name, error) from None
        count = batch.num_rows + len(faults)
        rows = np.delete(np.arange(count), [fault.row for fault in faults])
        batch, kept, others = _as_text(batch, rows)
        return Loose(batch, kept, count, tuple(sorted([*faults, *others], key=lambda fault: fault.row)))

    def _text(self) -> bytes:
        return self.piece.read()[self.skip :]


def _as_text(
    batch: pa.RecordBatch, rows: npt.NDArray[np.int64]
) -> tuple[pa.RecordBatch, npt.NDArray[np.int64], list[RowFault]]:
    """The rows of bytes that are UTF-8, and what is wrong with the others."""
    faults: list[RowFault] = []
    wrong: set[int] = set()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            pc.cast(column, pa.string())
        except pa.ArrowInvalid:
            for place, cell in enumerate(column.to_pylist()):
                try:
                    cell.decode()
                except UnicodeDecodeError:
                    got = describe(cell[:_LONGEST_QUOTE])
                    faults.append(RowFault(int(rows[place]), name, "text in UTF-8", got))
                    wrong.add(place)
    if wrong:
        kept = np.delete(np.arange(batch.num_rows), sorted(wrong))
        batch, rows = batch.take(pa.array(kept)), rows[kept]
    strings = [pc.cast(column, pa.string()) for column in batch.columns]
    return pa.RecordBatch.from_arrays(strings, names=batch.schema.names), rows, faults
