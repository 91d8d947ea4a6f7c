"""Behaviour of service.scoring.reading.parquet_file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from service.errors import ScoreError
from service.scoring.reading.blocks import BLOCK_ROWS
from service.scoring.reading.parquet_file import ParquetFile
from tests.service.scoring.conftest import blocks_of, file_at, reads_input, refusal

PEAK = (
    "import sys, pyarrow as pa\n"
    "from pathlib import Path\n"
    "from service.scoring.reading.parquet_file import ParquetFile\n"
    "from service.scoring.reading.sources import find_files\n"
    "(file,) = find_files(sys.argv[1], None)\n"
    "opened = ParquetFile(file)\n"
    "types = dict.fromkeys(opened.schema.names, pa.null())\n"
    "rows = 0\n"
    "for start, stop in opened.segments():\n"
    "    for block in opened.blocks(start, stop, types):\n"
    "        rows += block.strictly().num_rows\n"
    "status = Path('/proc/self/status').read_text()\n"
    "print(rows, status.partition('VmHWM:')[2].split()[0])\n"
)
"""A program that reads a file whole and prints how many rows it has and the most memory it took, in KiB."""


def table_of(rows: int) -> pa.Table:
    """A table whose columns have unlike types."""
    numbers = np.arange(rows)
    return pa.table(
        {
            "a": numbers / 8,
            "b.c": numbers,
            "text": pa.array([f"t{number % 7}" for number in numbers]).dictionary_encode(),
            "list": [[float(number), 0.5] for number in numbers],
            "other": np.zeros(rows),
        }
    )


def read(path: Path, names: list[str], block_bytes: int = 1 << 20) -> tuple[pa.Table, list[int]]:
    """The columns of a file, and the rows of its blocks."""
    opened = ParquetFile(file_at(path), block_bytes)
    blocks = blocks_of(opened, dict.fromkeys(names, pa.null()))
    assert 0 <= path.stat().st_size - sum(block.size for block in blocks) <= len(blocks)
    batches = [block.strictly() for block in blocks]
    return pa.Table.from_batches(batches), [batch.num_rows for batch in batches]


@pytest.mark.parametrize("group", [7, 1000, 10_000])
@pytest.mark.parametrize("names", [["list", "a"], ["text", "b.c"]])
def test_the_columns_asked_for_come_in_blocks(group: int, names: list[str], tmp_path: Path) -> None:
    """Whatever the row groups' size, and each time in the same; dictionaries are written out."""
    table = table_of(10_000)
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, row_group_size=group)
    found, rows = read(path, names, 40_000)
    assert found.schema == pa.schema([(name, pa.string() if name == "text" else table[name].type) for name in names])
    assert found.to_pydict() == table.select(names).to_pydict()
    assert len(rows) > 2
    assert set(rows[:-1]) == {rows[0]}
    assert rows == read(path, names, 40_000)[1]


def test_the_schema_is_of_what_the_blocks_hold(tmp_path: Path) -> None:
    """Columns that are there twice stay so."""
    path = tmp_path / "a.parquet"
    columns = [pa.array([1.5]), pa.array([1]), pa.array(["x"]).dictionary_encode(), pa.array([2])]
    parquet.write_table(pa.table(columns, names=["a", "b", "c", "b"]), path)
    opened = ParquetFile(file_at(path))
    assert opened.schema == pa.schema([("a", pa.float64()), ("b", pa.int64()), ("c", pa.string()), ("b", pa.int64())])
    (block,) = blocks_of(opened, dict.fromkeys(["c", "a"], pa.null()))
    assert block.strictly().to_pylist() == [{"c": "x", "a": 1.5}]


def test_small_row_groups_are_read_together(tmp_path: Path) -> None:
    """So that a file with very many is no slower by the number of them; each range stands for itself."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": np.arange(BLOCK_ROWS * 2 + 5)}), path, row_group_size=BLOCK_ROWS // 64)
    opened = ParquetFile(file_at(path))
    segments = list(opened.segments())
    assert segments == [(0, 64), (64, 128), (128, 129)]
    assert list(opened.segments(64)) == segments[1:]
    assert not list(opened.segments(129))
    (block,) = opened.blocks(128, 129, {"a": pa.null()})
    assert block.strictly()["a"].to_pylist() == [BLOCK_ROWS * 2 + place for place in range(5)]


def test_a_block_has_as_many_rows_as_its_columns_allow(tmp_path: Path) -> None:
    """By what they take once they are decoded, not in the file, and no more than some."""
    path = tmp_path / "a.parquet"
    rows = 3000
    # In the file, a dictionary stands for the numbers.
    table = pa.table({"wide": [[1.0] * 100] * rows, "a": pa.nulls(rows, pa.int64())})
    parquet.write_table(table, path)
    # Beside the numbers, a list takes what says where it begins, and which of them are null.
    assert read(path, ["wide"], 82_000)[1] == [100] * 30
    assert read(path, ["wide"], 1)[1] == [1] * rows
    assert read(path, ["a"])[1] == [rows]


def test_blocks_are_no_larger_where_later_rows_are(tmp_path: Path) -> None:
    """The first rows are not the measure alone: a file may be sorted by the length of its texts."""
    path = tmp_path / "a.parquet"
    texts = [""] * 1000 + ["x" * 1000] * 1000
    parquet.write_table(pa.table({"text": texts}), path, use_dictionary=False)
    rows = read(path, ["text"], 50_000)[1]
    assert max(rows) < 150


def test_a_file_without_rows_has_columns(tmp_path: Path) -> None:
    """It is sound."""
    path = tmp_path / "a.parquet"
    parquet.write_table(table_of(1).slice(0, 0), path)
    opened = ParquetFile(file_at(path))
    assert opened.schema.names == ["a", "b.c", "text", "list", "other"]
    assert sum(block.strictly().num_rows for block in blocks_of(opened, {"a": pa.null()})) == 0
    with parquet.ParquetWriter(path, pa.schema([("a", pa.int8())])):
        pass
    assert not list(ParquetFile(file_at(path)).segments())


def test_memory_does_not_follow_the_row_groups(tmp_path: Path) -> None:
    """A file that is one row group is read in parts."""
    peaks = []
    for rows in (400_000, 4_000_000):
        path = tmp_path / f"{rows}.parquet"
        values = np.random.default_rng(1).normal(size=rows)
        parquet.write_table(pa.table({"a": values, "b": values}), path, row_group_size=rows, use_dictionary=False)
        result = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, check=True)
        found, peak = map(int, result.stdout.split())
        assert found == rows
        peaks.append(peak)
    # The larger one is 64 MB.
    assert peaks[1] < peaks[0] + (24 << 10)


def test_a_file_that_is_not_whole_is_told(tmp_path: Path) -> None:
    """By what is wrong with it, in one line."""
    path = tmp_path / "a.parquet"
    parquet.write_table(table_of(10_000), path)
    content = path.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], content[:3], b"a,b\n1,2\n" * 9):
        assert refusal(path, damaged).startswith("it cannot be read: ")
    middle = len(content) // 2
    assert refusal(path, content[:40] + bytes(middle) + content[40 + middle :]).startswith("it cannot be read: ")
    assert refusal(path, b"") == "it is empty"


def test_a_page_that_is_not_as_its_sum_says_is_told(tmp_path: Path) -> None:
    """Else one bent bit would be another number."""
    path = tmp_path / "a.parquet"
    table = pa.table({"a": np.arange(1000) / 8})
    parquet.write_table(table, path, use_dictionary=False, compression="none", write_page_checksum=True)
    content = path.read_bytes()
    place = content.index(np.float64(100.125).tobytes())
    bent = content[:place] + b"\1" + content[place + 1 :]
    assert refusal(path, bent).startswith("it cannot be read: could not verify page integrity")


@pytest.mark.parametrize("bent", ["sizes", "name"])
def test_a_footer_that_is_bent_is_told(bent: str, tmp_path: Path) -> None:
    """Also where the library gives the error to nobody who could catch it."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"name": ["xyz"] * 9, "list": [[1, 2]] * 9}), path)
    # Elements that are optional, and which are then not, as what is said of their levels contradicts.
    old, new = {"name": (b"name", b"n\xffme"), "sizes": (b"%\2\x18\7element", b"%\0\x18\7element")}[bent]
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    code = "import sys; from pathlib import Path; from tests.service.scoring.conftest import refusal; "
    code += "print(refusal(Path(sys.argv[1])))"
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("it cannot be read: ")


def test_texts_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    """They would be carried through as they are."""
    path = tmp_path / "a.parquet"
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xffb"]).buffers())
    for column in (broken, broken.dictionary_encode()):
        parquet.write_table(pa.table({"a": column}), path)
        assert refusal(path).startswith("it cannot be read: the column 'a' is damaged: ")


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    """Also between its being found and being read."""
    path = tmp_path / "a.parquet"
    parquet.write_table(table_of(10), path)
    file = file_at(path)
    path.unlink()
    with pytest.raises(ScoreError, match=r"a\.parquet: it cannot be read: "):
        ParquetFile(file)


def test_many_columns_are_refused(tmp_path: Path) -> None:
    """As in every format."""
    path = tmp_path / "a.parquet"
    with parquet.ParquetWriter(path, pa.schema([(str(place), pa.int8()) for place in range(65_537)])):
        pass
    assert refusal(path) == "expected are at most 65,536 columns, got 65,537"


def test_standard_input_is_refused() -> None:
    """It cannot be read from its end."""
    result = subprocess.run(reads_input("parquet"), input=b"PAR1", capture_output=True, check=True)
    assert result.stdout == b"standard input: Parquet begins to be read at its end: give it as a file\n"
