"""Any file of rows, opened by its format."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import pyarrow as pa

from service.scoring.reading.arrow_file import open_arrow
from service.scoring.reading.blocks import Block
from service.scoring.reading.csv_file import CsvFile
from service.scoring.reading.json_lines import JsonLinesFile
from service.scoring.reading.parquet_file import ParquetFile
from service.scoring.reading.sources import File


class InputFile(Protocol):
    """A file of rows, taken apart the same way each time it is read."""

    schema: pa.Schema
    """The columns there are; of CSV all are strings. Names may be there twice."""

    def segments(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """Ranges from `start` on, in order, the next beginning where the last stops, each to be read by itself.

        They count bytes of plain text, row groups of Parquet, record batches of Arrow. What can only be read from
        its beginning, as compressed files and standard input, is the one segment (0, 1). Raises `ScoreError` where
        the file cannot be read on.
        """

    def blocks(self, start: int, stop: int, types: Mapping[str, pa.DataType]) -> Iterator[Block]:
        """The blocks of a segment, in order: the columns in `types`, each there once.

        Text is read as these types; `pa.null()` means as it was found, which is the column's in `schema`. Raises
        `ScoreError` where the file cannot be read on.
        """


def open_input(file: File) -> InputFile:
    """The file, its columns known. Raises `ScoreError` that says what is wrong with it."""
    match file.form.format:
        case "csv":
            return CsvFile(file)
        case "jsonl":
            return JsonLinesFile(file)
        case "parquet":
            return ParquetFile(file)
        case "arrow":
            return open_arrow(file)
