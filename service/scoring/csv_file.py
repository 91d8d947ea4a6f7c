"""CSV files: where their records end, and their blocks as columns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from service.codec.faults import describe
from service.errors import ScoreError
from service.scoring.blocks import BLOCK_BYTES, Block, Loose, RowFault, UnfitError, unreadable
from service.scoring.sources import File
from service.scoring.text_file import BrokenError, Piece, TextFile

MOST_COLUMNS = 1 << 16
_QUOTE, _LINE_FEED = 34, 10
_EDGES = np.zeros(256, np.bool_)
_EDGES[[ord(","), ord("\n"), ord("\r")]] = True
"""The bytes between which a cell stands."""
_MARK = b"\xef\xbb\xbf"
_NOT_BLANK = re.compile(rb"[^\r\n]")
_LONGEST_QUOTE = 41


class CsvFile:
    """A CSV file with a header; its lines end in LF or CR LF, and a quote in a cell that is not quoted is literal."""

    def __init__(self, file: File, chunk: int = BLOCK_BYTES) -> None:
        """Read the header. Raises `ScoreError` where there is none that can be used."""
        self._text = TextFile(file, cut, chunk)
        first = self._text.first
        blank = len(first) - len(first.lstrip(b"\r\n"))
        self._header = blank + _end_of_record(first[blank:])
        names = _cells(first[blank : self._header].rstrip(b"\r\n"), file)
        self.schema = pa.schema([pa.field(name, pa.string()) for name in names])
        self._file = file

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of bytes; the first one begins with the header."""
        return self._text.segments(start)

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The pieces of a segment."""
        columns = _Columns(self._file, tuple(self.schema.names), dict(types))
        skip = self._header if start == 0 else 0
        for piece in self._text.pieces(start, stop):
            yield _CsvBlock(piece, columns, skip)
            skip = 0


class _Columns:
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
    columns: _Columns
    skip: int
    """Bytes of the header before them."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.piece.size

    def strictly(self) -> pa.RecordBatch:
        """All rows, in the types asked for."""
        try:
            return self.columns.parse(self._text())
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
            batch = self.columns.parse(self._text(), on_ragged=note)
        except pa.ArrowInvalid as error:
            raise unreadable(self.columns.file, error) from None
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


def cut(text: bytes, *, is_last: bool) -> int:
    """Where the last whole record ends, as `Cut` says: behind the last LF that stands in no quoted cell."""
    quotes, fault, reason = _quotes(text)
    limit = len(text) if fault is None else fault
    # Where each quoted cell, or half of one with a doubled quote in it, begins and ends by turns.
    end = text.rfind(b"\n", 0, limit)
    while end >= 0:
        before = int(np.searchsorted(quotes, end))
        if before % 2 == 0:
            break
        end = text.rfind(b"\n", 0, int(quotes[before - 1]))
    is_closed = len(quotes) % 2 == 0
    if is_last and fault is None and is_closed:
        return len(text)
    if end < 0 and fault is not None:
        raise BrokenError(0, reason)
    if end < 0 and is_last:
        raise BrokenError(0, "a quote that is opened in the row that begins here is never closed")
    return end + 1


def _quotes(text: bytes) -> tuple[npt.NDArray[np.int64], int | None, str]:
    """The quotes that open and close, by turns; where one closes that may not, and why.

    A quote opens a cell as its first byte; a doubled one within closes and opens again; any other in a cell that is
    not quoted is a sign like others. One that closes must have the cell's end, or its twin, behind it: else the file
    was written by other rules, or a quote before it was never closed.
    """
    if b'"' not in text:
        return np.zeros(0, np.int64), None, ""
    signs = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(signs == _QUOTE)
    opening, closing = quotes[0::2], quotes[1::2]
    before = signs[opening - 1]
    before[:1] = _LINE_FEED if opening[0] == 0 else before[:1]
    behind = signs[np.minimum(closing + 1, len(text) - 1)]
    # The last byte of the text may be a quote: what comes behind it is seen with the next piece.
    if (_EDGES[before] | (before == _QUOTE)).all() and (_EDGES[behind] | (behind == _QUOTE)).all():
        return quotes, None, ""
    return _quotes_one_by_one(text, quotes)


def _quotes_one_by_one(text: bytes, quotes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int | None, str]:
    """The same, where quotes are literal or wrong."""
    found: list[int] = []
    is_quoted, twin = False, -1
    for place in quotes.tolist():
        before, behind = text[place - 1 : place], text[place + 1 : place + 2]
        if is_quoted:
            if behind not in (b"", b",", b"\n", b"\r", b'"'):
                reason = f"expected a comma or the line's end behind the quote that closes a cell, got {_sign(behind)}"
                return np.array(found[:-1], np.int64), found[-1], reason
            found.append(place)
            is_quoted, twin = False, place + 1 if behind == b'"' else -1
        elif place in (0, twin) or before in (b",", b"\n", b"\r"):
            found.append(place)
            is_quoted = True
    return np.array(found, np.int64), None, ""


def _sign(byte: bytes) -> str:
    """A byte of text as a person writes it."""
    return repr(byte.decode()) if byte.isascii() else f"the byte 0x{byte.hex()}"


def _end_of_record(text: bytes) -> int:
    """Where the first record of a piece ends, behind its LF."""
    quotes, _, _ = _quotes(text)
    end = text.find(b"\n")
    while end >= 0:
        before = int(np.searchsorted(quotes, end))
        if before % 2 == 0:
            return end + 1
        end = text.find(b"\n", int(quotes[before]) if before < len(quotes) else len(text))
    return len(text)


def _cells(record: bytes, file: File) -> list[str]:
    """The names that a header holds."""
    quotes, _, _ = _quotes(record)
    if len(_outside(quotes, record, "\r")):
        raise ScoreError(f"{file.name}: its lines end in CR alone: expected are LF or CR LF")
    commas = _outside(quotes, record, ",")
    if len(commas) >= MOST_COLUMNS:
        raise ScoreError(f"{file.name}: expected are at most {MOST_COLUMNS:,} columns, got {len(commas) + 1:,}")
    edges = [-1, *commas.tolist(), len(record)]
    try:
        cells = [record[start + 1 : stop].decode() for start, stop in pairwise(edges)]
    except UnicodeDecodeError as error:
        raise ScoreError(
            f"{file.name}: expected is a header in UTF-8, got {describe(error.object[:_LONGEST_QUOTE])} in it"
        ) from None
    return [cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell for cell in cells]


def _outside(quotes: npt.NDArray[np.int64], text: bytes, sign: str) -> npt.NDArray[np.int64]:
    """Where the sign stands in no quoted cell."""
    places = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(sign))
    outside: npt.NDArray[np.int64] = places[np.searchsorted(quotes, places) % 2 == 0]
    return outside
