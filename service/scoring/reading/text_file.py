"""Files of text, plain or compressed, cut into pieces of whole records that can be read one by one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from service.errors import ScoreError
from service.scoring.reading.blocks import BLOCK_BYTES
from service.scoring.reading.sources import File, unreadable
from service.scoring.reading.streams import Read, damaged, decompressed, fill, open_raw

LONGEST_RECORD = 64 << 20
"""Bytes. A longer one, or as many blank lines before the first, is refused: memory is flat whatever a file holds."""
_TOO_LONG = f"expected are records of at most {LONGEST_RECORD >> 20} MiB"
_ENDS = {"csv": "their lines ended by LF and their quotes closed", "jsonl": "each ended by LF"}
_MARK = b"\xef\xbb\xbf"
"""A byte order mark, which some programs write before UTF-8."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""The marks of UTF-16, in either order of bytes."""
_COMPRESSED = (("gzip", "gz", b"\x1f\x8b"), ("zstd", "zst", b"\x28\xb5\x2f\xfd"))
"""How compressed streams begin."""
_HEAD = 4
"""Bytes that tell these."""


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
        self._blank = b"\r\n" if file.form.format == "csv" else None
        self._is_plain = file.form.compression is None and not file.is_standard_input
        self._begun: Iterator[tuple[int, bytes]] | None = self._streamed()
        self._first_size, self.first = next(self._begun, (0, b""))
        """The first piece, without byte order mark."""
        if not self.first.strip(self._blank):
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
                for taken, _ in self._whole_records(opened.read, is_beginning=start == 0):
                    yield stop, stop + taken
                    stop += taken
        except BrokenError as error:
            raise self._broken(error, start) from None
        except OSError as error:
            raise unreadable(self.file.name, error) from None

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The pieces of a segment. Standard input gives them once."""
        if self._is_plain:
            yield Piece(stop - start, lambda: self._read(start, stop))
            return
        if self._begun is not None:
            stream, self._begun = self._begun, None
            yield Piece(self._first_size, lambda: self.first)
        elif self.file.is_standard_input:
            raise ScoreError("standard input: it can be read only once")
        else:
            stream = self._streamed()
        for taken, text in stream:
            yield Piece(taken, lambda text=text: text)  # type: ignore[misc]  # a default binds the loop's value

    def _read(self, start: int, stop: int) -> bytes:
        """The bytes of a plain file, without byte order mark."""
        try:
            with Path(self.file.path).open("rb", buffering=0) as opened:
                opened.seek(start)
                text = fill(opened.read, stop - start)
        except OSError as error:
            raise unreadable(self.file.name, error) from None
        if len(text) < stop - start:
            raise ScoreError(f"{self.file.name}: it became shorter while it was read")
        return text.removeprefix(_MARK) if start == 0 else text

    def _streamed(self) -> Iterator[tuple[int, bytes]]:
        """The pieces from the beginning on, each with how many bytes of the file it took."""
        came = 0
        try:
            with open_raw(self.file) as raw:
                stream = decompressed(self.file, raw)
                before = 0
                for taken, text in self._whole_records(stream.read, is_beginning=True):
                    now = came + taken if self.file.is_standard_input else raw.tell()
                    yield now - before, text
                    before, came = now, came + taken
        except BrokenError as error:
            raise self._broken(error, 0) from None
        except OSError as error:
            raise damaged(self.file, error, came) from None

    def _whole_records(self, read: Read, *, is_beginning: bool) -> Iterator[tuple[int, bytes]]:
        """The pieces of what is read, each with its bytes and how many they were with the mark before them."""
        line, window, is_ended = 1, self._chunk, False
        buffer = fill(read, _HEAD) if is_beginning else b""
        self._refuse_other_text(buffer)
        mark = len(_MARK) if buffer.startswith(_MARK) else 0
        buffer = buffer[mark:]
        while True:
            if len(buffer) < window and not is_ended:
                buffer += fill(read, window - len(buffer))
                is_ended = len(buffer) < window
            if not buffer:
                return
            try:
                end = self._cut(buffer[:window], is_last=is_ended and len(buffer) <= window)
            except BrokenError as error:
                raise BrokenError(line, error.reason) from None
            # The first one is more than blank, so that it shows which columns there are.
            if end and (is_ended or not is_beginning or buffer[:end].strip(self._blank)):
                is_beginning = False
                yield end + mark, buffer[:end]
                line += buffer.count(b"\n", 0, end)
                buffer, window, mark = buffer[end:], self._chunk, 0
            elif window >= LONGEST_RECORD:
                raise BrokenError(line, f"{_TOO_LONG}, {_ENDS[self.file.form.format]}")
            else:
                window *= 2

    def _refuse_other_text(self, head: bytes) -> None:
        """Raise `ScoreError` for a beginning that none in UTF-8 has, where it is known what it is then."""
        form = self.file.form
        for kind, suffix, magic in _COMPRESSED:
            if form.compression is None and head.startswith(magic):
                raise ScoreError(f"{self.file.name}: it is compressed by {kind}: give --format {form.format}.{suffix}")
        if head.startswith(_UTF_16):
            raise ScoreError(f"{self.file.name}: it is UTF-16: expected is UTF-8")

    def _broken(self, error: BrokenError, start: int) -> ScoreError:
        """The error with the number of its line, as an editor shows it."""
        before = 0
        if start:
            with Path(self.file.path).open("rb") as opened:
                while start > 0 and (text := opened.read(min(start, self._chunk))):
                    before, start = before + text.count(b"\n"), start - len(text)
        return ScoreError(f"{self.file.name}: line {before + error.line}: {error.reason}")
