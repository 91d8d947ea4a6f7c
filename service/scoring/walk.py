"""Every block of some files, in order, from a place on."""

import os
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from service.errors import ScoreError
from service.scoring.reading.blocks import Block
from service.scoring.reading.opening import InputFile, open_input
from service.scoring.reading.sources import File
from service.scoring.writing.results import Place

Segment = tuple[int, int, int]
"""A file, by its index among all, and the range of it that can be read by itself."""


class Inputs:
    """Some files, of which the one that was asked for last is open: standard input can be opened only once."""

    def __init__(self, files: Sequence[File]) -> None:
        self.files = tuple(files)
        self._index = -1
        self._open: InputFile | None = None

    def at(self, index: int) -> InputFile:
        """The file of this index; raises `ScoreError` where it cannot be read."""
        if self._open is None or index != self._index:
            self._open, self._index = open_input(self.files[index]), index
        return self._open

    def segments(self, after: Place | None) -> Iterator[Segment]:
        """The segments of all files, in order, from the one on that `after` is in and not the end of."""
        first = 0 if after is None else after.file
        for index in range(first, len(self.files)):
            begin = 0
            if after is not None and index == first:
                begin = after.stop if after.last else after.start
            for start, stop in self.at(index).segments(begin):
                yield index, start, stop

    def check(self) -> None:
        """Raise `ScoreError` where a file is no longer as it was found: what was read of it may be of two files."""
        for file in self.files:
            if not file.is_standard_input and not _is_same(file):
                raise ScoreError(f"{file.name}: it was changed or removed while it was read")

    def blocks(
        self, segment: Segment, types: Mapping[str, pa.DataType], after: Place | None
    ) -> Iterator[tuple[Place, Block]]:
        """The blocks of a segment, with their places; of the one that `after` is in only those behind it."""
        index, start, stop = segment
        is_begun = after is not None and not after.last and (after.file, after.start, after.stop) == segment
        done = after.block + 1 if after is not None and is_begun else 0
        before: tuple[Place, Block] | None = None
        for number, block in enumerate(self.at(index).blocks(start, stop, types)):
            if before is not None:
                yield before
            before = (Place(index, start, stop, number, last=False), block) if number >= done else None
        if before is not None:
            place, block = before
            yield place._replace(last=True), block


def _is_same(file: File) -> bool:
    try:
        status = os.stat(file.path)  # noqa: PTH116  # the path stays as it was given
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.bytes, file.modified)
