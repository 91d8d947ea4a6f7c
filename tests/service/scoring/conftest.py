"""What tests of the batch scorer's rooms share."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from service.errors import ScoreError
from service.scoring.arrow_types import holds_texts
from service.scoring.reading.blocks import Block, Loose
from service.scoring.reading.formats import Form
from service.scoring.reading.opening import InputFile, open_input
from service.scoring.reading.sources import File, find_files


def form_for(schema: pa.Schema) -> Form:
    """Of a file with these columns: CSV where they are nothing but text, else Parquet."""
    return Form("csv" if all(map(holds_texts, schema.types)) else "parquet", None)


def file_at(path: Path, content: bytes | None = None) -> File:
    """The file, after this is written into it."""
    if content is not None:
        path.write_bytes(content)
    (file,) = find_files(path, None)
    return file


def blocks_of(opened: InputFile, types: Mapping[str, pa.DataType]) -> list[Block]:
    """Every block of a file; its segments follow each other without a gap."""
    segments = list(opened.segments())
    assert [start for start, _ in segments] == [0, *(stop for _, stop in segments)][: len(segments)]
    return [block for start, stop in segments for block in opened.blocks(start, stop, types)]


def rows_of(opened: InputFile, types: Mapping[str, pa.DataType]) -> list[dict[str, object]]:
    """Every row of a file without a fault."""
    return [row for block in blocks_of(opened, types) for row in block.strictly().to_pylist()]


def found_in(loose: Loose) -> tuple[list[tuple[int, dict[str, object]]], list[tuple[object, ...]]]:
    """Rows with their numbers, and faults, of a close look."""
    assert len(loose.rows) == loose.batch.num_rows
    assert sorted({*loose.rows.tolist(), *(fault.row for fault in loose.faults)}) == list(range(loose.count))
    return list(zip(loose.rows.tolist(), loose.batch.to_pylist(), strict=True)), list(map(tuple, loose.faults))


def refusal(path: Path, content: bytes | None = None) -> str:
    """The sentence with which a file is refused, opened or read, behind its name."""
    with pytest.raises(ScoreError) as caught:
        read_whole(file_at(path, content))
    message = caught.value.message
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: "), message
    return message.removeprefix(f"{path}: ")


def read_whole(file: File) -> int:
    """How many rows a file has; every column is read."""
    opened = open_input(file)
    types = dict.fromkeys(opened.schema.names, pa.null())
    return sum(block.loosely().count for block in blocks_of(opened, types))


READ_INPUT = (
    "import sys, pyarrow as pa\n"
    "from service.errors import ScoreError\n"
    "from service.scoring.reading.sources import find_files\n"
    "from service.scoring.reading.opening import open_input\n"
    "try:\n"
    "    opened = open_input(find_files('-', sys.argv[1])[0])\n"
    "    types = dict.fromkeys(opened.schema.names, pa.null())\n"
    "    for start, stop in opened.segments():\n"
    "        for block in opened.blocks(start, stop, types):\n"
    "            print(block.strictly().to_pylist())\n"
    "except ScoreError as error:\n"
    "    print(error.message)\n"
)
"""A program that prints the blocks on its standard input."""


def reads_input(form: str) -> list[str]:
    """The command that prints the blocks of this form on its standard input."""
    return [sys.executable, "-c", READ_INPUT, form]
