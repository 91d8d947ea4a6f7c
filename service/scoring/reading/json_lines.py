"""Files of JSON Lines: one object a line, and their blocks as columns."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from service.errors import ScoreError
from service.scoring.reading.blocks import BLOCK_BYTES, Block, Loose, UnfitError, refuse_many_columns
from service.scoring.reading.json_rows import count_objects, parse, take_apart
from service.scoring.reading.json_types import infer
from service.scoring.reading.sources import File
from service.scoring.reading.text_file import Piece, TextFile


class JsonLinesFile:
    """A file with a JSON object on each line that is not blank."""

    def __init__(self, file: File, chunk: int = BLOCK_BYTES) -> None:
        """Find the columns that the first piece has. Raises `ScoreError` where none of its lines is an object."""
        self._text = TextFile(file, cut, chunk)
        schema = infer(self._text.first)
        if schema is None:
            expected = 'a JSON object on each line, such as {"width": 1.5}'
            try:
                self._text.first.decode()
            except UnicodeDecodeError as error:
                line = self._text.first.count(b"\n", 0, error.start) + 1
                got = f"the byte 0x{self._text.first[error.start]:02x}"
                raise ScoreError(f"{file.name}: line {line}: expected is text in UTF-8, got {got}") from None
            raise ScoreError(f"{file.name}: expected is {expected}, and its first lines have none")
        self.schema = schema
        refuse_many_columns(len(schema), file.name)

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges of bytes."""
        return self._text.segments(start)

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The pieces of a segment."""
        schema = pa.schema(
            [(name, self.schema.field(name).type if pa.types.is_null(one) else one) for name, one in types.items()]
        )
        for piece in self._text.pieces(start, stop):
            yield _JsonBlock(piece, schema)


class _JsonBlock(NamedTuple):
    """Some lines."""

    piece: Piece
    schema: pa.Schema

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.piece.size

    def strictly(self) -> pa.RecordBatch:
        """All rows, in the types asked for."""
        text = self.piece.read()
        count = count_objects(text)
        if count is None:
            raise UnfitError
        try:
            batch = parse(text, self.schema)
        except pa.ArrowInvalid:
            raise UnfitError from None
        if batch.num_rows != count:
            raise UnfitError
        return batch

    def loosely(self) -> Loose:
        """The lines that are an object whose values have the types asked for; a float may be an integer: 1.0 is 1."""
        lines = [line for line in self.piece.read().split(b"\n") if line.strip()]
        sound, faults = take_apart(lines, self.schema)
        rows = np.fromiter(sound, np.int64, len(sound))
        return Loose(parse(b"\n".join(sound.values()), self.schema), rows, len(lines), tuple(faults))


def cut(text: bytes, *, is_last: bool) -> int:
    """Where the last line ends, as `Cut` says."""
    return len(text) if is_last else text.rfind(b"\n") + 1
