"""Files of text, plain or compressed, cut into pieces of whole records that can be read one by one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from service.errors import ScoreError
from service.scoring.blocks import BLOCK_BYTES
from service.scoring.sources import File, unreadable
from service.scoring.streams import damaged, decompressed, open_raw

LONGEST_RECORD = 64 << 20
"""Bytes. A longer one, or as many blank lines before the first, is refused: memory is flat whatever a file holds."""
_TOO_LONG = (
    f"expected are records of at most {LONGEST_RECORD >> 20} MiB, their lines ended by LF and their quotes closed"
)
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which some programs write before UTF-8."""

Read = Callable[[int], bytes]
"""Gives so many bytes or fewer, none at the end."""


class BrokenError(Exception):
    """The records behind some line of the text cannot be told apart."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


class Cut(Protocol):
    """How a format's records are told apart."""

    def __call__(self, text: bytes, *, is_last: bool) -> int:
        """Where the last whole record of a text that begins with one ends; 0 where not even the first one does.

        `is_last`: nothing comes behind the text, so that its end ends a record. Raises `BrokenError`, its line 0,
        where the first record never ends.
        """


class Piece(NamedTuple):
    """Some whole records of a file."""

    size: int
    """How many bytes of the file they take."""
    read: Callable[[], bytes]
    """Raises `ScoreError`."""


class TextFile:
    """A text and its pieces of about `chunk` bytes; where they are cut is decided by the text alone."""

    def __init__(self, file: File, cut: Cut, chunk: int = BLOCK_BYTES) -> None:
        """Read the first piece. Raises `ScoreError` where it cannot be read or is nothing but blank lines."""
        self.file, self._cut, self._chunk = file, cut, chunk
        self._is_plain = file.form.compression is None and not file.is_standard_input
        self._begun: Iterator[tuple[int, bytes]] | None = self._stream()
        self._first_size, self.first = next(self._begun, (0, b""))
        """The first piece, without byte order mark."""
        if not self.first.strip():
            raise ScoreError(f"{file.name}: it is empty")
        if self._is_plain:
            self._begun = None

    def segments(self, start: int) -> Iterator[tuple[int, int]]:
        """The pieces of a plain file as ranges of bytes, the first one with the byte order mark; (0, 1) of others."""
        if not self._is_plain:
            if start == 0:
                yield 0, 1
            return
        try:
            with Path(self.file.path).open("rb", buffering=0) as opened:
                opened.seek(start)
                stop = start
                for taken, _ in self._pieces(opened.read, is_beginning=start == 0):
                    yield stop, stop + taken
                    stop += taken
        except BrokenError as error:
            raise self._broken(error, start) from None
        except OSError as error:
            raise unreadable(self.file.name, error) from None

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The pieces of a segment. Standard input gives them once."""
        if self._is_plain:
            yield Piece(stop - start, lambda: self._range(start, stop))
            return
        if self._begun is not None:
            stream, self._begun = self._begun, None
            yield Piece(self._first_size, lambda: self.first)
        elif self.file.is_standard_input:
            raise ScoreError("standard input: it can be read only once")
        else:
            stream = self._stream()
        for taken, text in stream:
            yield Piece(taken, lambda text=text: text)  # type: ignore[misc]  # a default binds the loop's value

    def _range(self, start: int, stop: int) -> bytes:
        """The bytes of a plain file, without byte order mark."""
        try:
            with Path(self.file.path).open("rb", buffering=0) as opened:
                opened.seek(start)
                text = _fill(opened.read, stop - start)
        except OSError as error:
            raise unreadable(self.file.name, error) from None
        if len(text) < stop - start:
            raise ScoreError(f"{self.file.name}: it became shorter while it was read")
        return text.removeprefix(_MARK) if start == 0 else text

    def _stream(self) -> Iterator[tuple[int, bytes]]:
        """The pieces from the beginning on, each with how many bytes of the file it took."""
        came = 0
        try:
            with open_raw(self.file) as raw:
                stream = decompressed(self.file, raw)
                before = 0
                for taken, text in self._pieces(stream.read, is_beginning=True):
                    now = came + taken if self.file.is_standard_input else raw.tell()
                    yield now - before, text
                    before, came = now, came + taken
        except BrokenError as error:
            raise self._broken(error, 0) from None
        except OSError as error:
            raise damaged(self.file, error, came) from None

    def _pieces(self, read: Read, *, is_beginning: bool) -> Iterator[tuple[int, bytes]]:
        """The pieces of what is read, each with its bytes and how many they were with the mark before them."""
        line, window, is_ended = 1, self._chunk, False
        buffer = _fill(read, len(_MARK)) if is_beginning else b""
        mark = len(_MARK) if buffer == _MARK else 0
        buffer = buffer[mark:]
        while True:
            if len(buffer) < window and not is_ended:
                buffer += _fill(read, window - len(buffer))
                is_ended = len(buffer) < window
            if not buffer:
                return
            try:
                end = self._cut(buffer[:window], is_last=is_ended and len(buffer) <= window)
            except BrokenError as error:
                raise BrokenError(line, error.reason) from None
            # The first one is more than blank, so that it shows which columns there are.
            if end and (is_ended or not is_beginning or buffer[:end].strip()):
                is_beginning = False
                yield end + mark, buffer[:end]
                line += buffer.count(b"\n", 0, end)
                buffer, window, mark = buffer[end:], self._chunk, 0
            elif window >= LONGEST_RECORD:
                raise BrokenError(line, _TOO_LONG)
            else:
                window *= 2

    def _broken(self, error: BrokenError, start: int) -> ScoreError:
        """The error with the number of its line, as an editor shows it."""
        before = 0
        if start:
            with Path(self.file.path).open("rb") as opened:
                while start > 0 and (text := opened.read(min(start, self._chunk))):
                    before, start = before + text.count(b"\n"), start - len(text)
        return ScoreError(f"{self.file.name}: line {before + error.line}: {error.reason}")


def _fill(read: Read, count: int) -> bytes:
    """So many bytes; fewer only at the end."""
    parts: list[bytes] = []
    while count > 0 and (part := read(count)):
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
