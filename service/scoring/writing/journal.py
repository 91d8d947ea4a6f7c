"""The log of what is scored, beside the output: a run that was ended at any moment is gone on with from there.

Results are gathered in parts, each a file of its own. Once a part is safe on the disk, a line of the journal says so:
the lines are the truth, and a part without one, or a last line that is torn, is nothing.
"""

import io
import logging
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa

from service.errors import ScoreError
from service.scoring.writing.identity import Identity, differences
from service.scoring.writing.results import Place, Result, read_results, write_result
from service.scoring.writing.target import JOURNAL, sync, unwritable

logger = logging.getLogger(__name__)

PART_SECONDS = 1.0
PART_BYTES = 1 << 25
"""A part is whole after so long, or when it is about so large, whichever comes first."""
_HELD_BYTES = 1 << 22
"""So much is held in memory before it is written: of a short run nothing is."""
_FAULT_BYTES = 200
"""About so large is a row's fault."""
_MOST_DIFFERENCES = 5
_UNREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be."""


def is_whole(seconds: float, size: int) -> bool:
    """Whether a part ends here that was begun so long ago and is so large."""
    return seconds >= PART_SECONDS or size >= PART_BYTES


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part that is safe, as a line of the journal says it."""

    file: str
    blocks: int
    end: Place
    bytes: int
    crc32: int


class Journal:
    """The parts of one run, whose output is this process's own (`Target`).

    Raises `ScoreError` where they cannot be written. Leaving it keeps the parts that are safe and nothing else.
    """

    def __init__(
        self,
        output: Path,
        folder: Path,
        identity: Identity,
        schema: pa.Schema,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = output
        self._folder = folder
        self._path = folder / JOURNAL
        self._identity = msgspec.json.encode(identity)
        self._schema = schema
        self._clock = clock
        self._begun = clock()
        self._part: _Part | None = None
        self._parts = 0
        self._sound = 0
        """So long are the lines of parts that are safe, with that of the run."""
        self.position: Place | None = None
        """Where the parts end; None where there are none."""

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Look for parts of an earlier run, to `resume` it, or else to throw it away where `overwrite` allows it.

        Raises `ScoreError` where there are some and neither is wanted, and where they are of a run of other files,
        of another model or with other options; then all is left as it is.
        """
        with self._writing():
            before = _identity(self._path)
            lines = list(islice(_lines(self._path), 1))
        if before is None or not lines:
            if not resume:
                self.discard()
        elif resume:
            self._go_on(before)
        elif overwrite:
            self.discard()
        else:
            raise ScoreError(
                f"{self._output}: an earlier run was ended before it was whole: go on with it by --resume, "
                "or begin anew with --overwrite"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()
        with suppress(OSError):
            # Which is refused where something is in it.
            self._folder.rmdir()

    def discard(self) -> None:
        """Remove all parts."""
        self._drop()
        self._parts, self._sound, self.position = 0, 0, None
        with self._writing(), suppress(FileNotFoundError):
            # First: without it the others are nothing, wherever this is ended.
            self._path.unlink()
        with self._writing(), suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    def replay(self) -> Iterator[Result]:
        """All that is safe, in order, a part at a time; to be read to its end before anything is appended.

        A part that is damaged, and all behind it, is taken for not there: `position` is before it then, and its rows
        are scored once more, to the same bits. This is safe, since a part is checked before any of it is given, and
        an error could only be answered by scoring all rows once more.
        """
        before: Place | None = None
        for number, (start, _, line) in enumerate(_lines(self._path)):
            results = self._results(line)
            if results is None:
                logger.warning("%s is damaged: its rows are scored once more", self._folder / line.file)
                self._parts, self._sound, self.position = number, start if number else 0, before
                return
            before = line.end
            yield from results

    def append(self, result: Result) -> None:
        """Log what stands right behind the last result; now and then this makes a part of it."""
        # Ended in the midst of it, by a signal say, it is no part: nobody makes one of it any more.
        part, self._part = self._part or self._new_part(), None
        with self._dropping(part):
            part.add(result)
        self._part = part
        if is_whole(self._clock() - self._begun, part.size):
            self.commit()

    def commit(self) -> None:
        """Make a part of what was appended since the last one: it is safe then, whatever comes."""
        part, self._part = self._part, None
        if part is not None:
            with self._dropping(part):
                line = part.finish()
                self._write(line)
            self._parts += 1
            self.position = line.end
        self._begun = self._clock()

    def _go_on(self, before: Mapping[str, Any]) -> None:
        different = differences(before, msgspec.json.decode(self._identity))
        if different:
            told = "; ".join(different[:_MOST_DIFFERENCES])
            more = len(different) - _MOST_DIFFERENCES
            raise ScoreError(
                f"{self._output}: the earlier run cannot be gone on with: {told}{f'; and {more} more' * (more > 0)}; "
                "begin anew with --overwrite"
            )
        for _, stop, line in _lines(self._path):
            self._parts += 1
            self._sound = stop
            self.position = line.end

    def _results(self, line: _Line) -> list[Result] | None:
        """What a part holds; None where it is not what its line says."""
        try:
            content = (self._folder / line.file).read_bytes()
            if (len(content), zlib.crc32(content)) != (line.bytes, line.crc32):
                return None
            results = list(read_results(pa.py_buffer(content)))
        except (OSError, pa.ArrowInvalid, *_UNREAD):
            return None
        is_same = (len(results), results[-1].place) == (line.blocks, line.end) if results else False
        return results if is_same and results[0].scored.batch.schema.equals(self._schema) else None

    def _write(self, line: _Line) -> None:
        """Append a line behind those that are sound, whatever is there now."""
        with self._path.open("r+b" if self._sound else "wb") as file:
            file.truncate(self._sound)
            file.seek(self._sound)
            file.write(b"" if self._sound else self._identity + b"\n")
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._sound = file.tell()
        sync(self._folder)

    def _drop(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.drop()

    def _new_part(self) -> "_Part":
        return _Part(self._folder / _part_name(self._parts + 1), self._schema)

    @contextmanager
    def _dropping(self, part: "_Part") -> Iterator[None]:
        """Remove a part that is not made whole."""
        try:
            with self._writing():
                yield
        except BaseException:
            part.drop()
            raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._output, error, self._folder) from None


class _Part:
    """A part that is being made. Its file is begun once there is much to hold."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.size = 0
        self._path = path
        self._schema = schema
        self._open: tuple[_SummedFile, pa.ipc.RecordBatchStreamWriter] | None = None
        self._held: list[Result] = []
        self._written = 0
        self._places: list[Place] = []

    def add(self, result: Result) -> None:
        """Take one more result."""
        self._held.append(result)
        self._places.append(result.place)
        self.size += result.scored.batch.nbytes + _FAULT_BYTES * len(result.scored.faults)
        if self.size - self._written >= _HELD_BYTES:
            self._write()

    def finish(self) -> _Line:
        """Have all of it, which is at least one result, safe on the disk."""
        file, writer = self._write()
        writer.close()
        file.close()
        sync(self._path)
        return _Line(self._path.name, len(self._places), self._places[-1], file.bytes, file.crc32)

    def drop(self) -> None:
        """Remove what there is of it."""
        if self._open is not None:
            with suppress(OSError):
                self._open[0].close()
            with suppress(OSError):
                self._path.unlink()

    def _write(self) -> tuple["_SummedFile", pa.ipc.RecordBatchStreamWriter]:
        """Write what is held."""
        if self._open is None:
            self._path.parent.mkdir(exist_ok=True)
            file = _SummedFile(self._path)
            self._open = file, pa.ipc.new_stream(file, self._schema)
        for result in self._held:
            write_result(self._open[1], result)
        self._held, self._written = [], self.size
        return self._open


class _SummedFile(io.RawIOBase):
    """A new file, its length, and the checksum of what it holds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = pa.OSFile(str(path), "wb")
        self.bytes = 0
        self.crc32 = 0

    def writable(self) -> bool:
        """It is for writing alone."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  # anything that has bytes
        """Write all of it."""
        size: int = self._file.write(data)
        self.bytes += size
        self.crc32 = zlib.crc32(data, self.crc32)
        return size

    def close(self) -> None:
        """Write what is still held."""
        self._file.close()
        super().close()


def _identity(path: Path) -> dict[str, Any] | None:
    """What the run of a journal is; None where there is no journal, or none that is sound."""
    try:
        with path.open("rb") as file:
            first = file.readline()
        identity = msgspec.json.decode(first)
    except (FileNotFoundError, NotADirectoryError, *_UNREAD):
        return None
    return identity if first.endswith(b"\n") and isinstance(identity, dict) else None


def _lines(path: Path) -> Iterator[tuple[int, int, _Line]]:
    """The lines of parts, each with where it begins and ends, up to one that is torn or damaged."""
    if _identity(path) is None:
        return
    decoder = msgspec.json.Decoder(_Line)
    with path.open("rb") as file:
        start = len(file.readline())
        for number, text in enumerate(file, 1):
            try:
                line = decoder.decode(text)
            except _UNREAD:
                return
            if not text.endswith(b"\n") or line.file != _part_name(number):
                return
            yield start, start + len(text), line
            start += len(text)


def _part_name(number: int) -> str:
    return f"part-{number:06}.arrow"
