"""The text of CSV: where its records and cells end, told by its quotes."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from service.codec.faults import describe
from service.errors import ScoreError
from service.scoring.reading.blocks import refuse_many_columns
from service.scoring.reading.sources import File
from service.scoring.reading.text_file import BrokenError

_QUOTE, _LINE_FEED, _RETURN = 34, 10, 13
_EDGES = np.zeros(256, np.bool_)
_EDGES[[ord(","), ord("\n"), ord("\r")]] = True
"""The bytes between which a cell stands."""
_LONGEST_QUOTE = 41


def cut(text: bytes, *, is_last: bool) -> int:
    """Where the last whole record ends, as `Cut` says: behind the last LF that stands in no quoted cell."""
    quotes, fault, reason = _quotes(text)
    alone = _lone_return(text, quotes)
    if alone is not None and (fault is None or alone < fault):
        fault, reason = alone, "a CR stands alone: expected are LF or CR LF at the lines' ends, or the cell in quotes"
        if not _is_text(text[:alone]):
            reason = f"expected is text in UTF-8, got {describe(text[: min(alone, _LONGEST_QUOTE)])}"
    limit = len(text) if fault is None else fault
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


def header_of(text: bytes, file: File) -> tuple[int, list[str]]:
    """Where the first record that is not blank ends, and the names that it holds. Raises `ScoreError`."""
    blank = len(text) - len(text.lstrip(b"\r\n"))
    end = blank + _end_of_record(text[blank:])
    return end, _names(text[blank:end].rstrip(b"\r\n"), file)


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


def _lone_return(text: bytes, quotes: npt.NDArray[np.int64]) -> int | None:
    """Where the first CR stands that is in no quoted cell and has no LF behind it.

    pyarrow would begin a row there, and no other program a line. What comes behind the last byte is seen later.
    """
    if b"\r" not in text:
        return None
    signs = np.frombuffer(text, np.uint8)
    alone = np.flatnonzero(signs[:-1] == _RETURN)
    alone = alone[signs[alone + 1] != _LINE_FEED]
    alone = alone[np.searchsorted(quotes, alone) % 2 == 0]
    return int(alone[0]) if len(alone) else None


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    """Where the first record of a text ends, behind its LF."""
    quotes, _, _ = _quotes(text)
    end = text.find(b"\n")
    while end >= 0:
        before = int(np.searchsorted(quotes, end))
        if before % 2 == 0:
            return end + 1
        end = text.find(b"\n", int(quotes[before]) if before < len(quotes) else len(text))
    return len(text)


def _names(record: bytes, file: File) -> list[str]:
    """The names that a header holds."""
    quotes, _, _ = _quotes(record)
    commas = _outside(quotes, record, ",")
    refuse_many_columns(len(commas) + 1, file.name)
    edges = [-1, *commas.tolist(), len(record)]
    try:
        cells = [record[start + 1 : stop].decode() for start, stop in pairwise(edges)]
    except UnicodeDecodeError as error:
        got = describe(error.object[:_LONGEST_QUOTE])
        raise ScoreError(f"{file.name}: expected is a header in UTF-8, got {got} in it") from None
    return [cell[1:-1].replace('""', '"') if cell[:1] == '"' else cell for cell in cells]


def _outside(quotes: npt.NDArray[np.int64], text: bytes, sign: str) -> npt.NDArray[np.int64]:
    """Where the sign stands in no quoted cell."""
    places = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(sign))
    outside: npt.NDArray[np.int64] = places[np.searchsorted(quotes, places) % 2 == 0]
    return outside
