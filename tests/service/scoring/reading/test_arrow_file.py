"""Behaviour of service.scoring.reading.arrow_file."""

import gzip
import io
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scoring.reading.arrow_file import ArrowFile, ArrowStream, in_blocks, open_arrow
from service.scoring.reading.blocks import BLOCK_ROWS
from tests.service.scoring.conftest import blocks_of, file_at, reads_input, refusal

gzipped = partial(gzip.compress, mtime=0)
"""Without the time, so that the name of a test is the same each time."""
ROWS = 5000
TABLE = pa.table(
    {
        "a": np.arange(ROWS) / 8,
        "text": pa.array([f"t{place % 7}" for place in range(ROWS)]).dictionary_encode(),
        "list": [[float(place), 0.5] for place in range(ROWS)],
        "other": np.zeros(ROWS),
    }
)


def file_format(rows: int = ROWS) -> bytes:
    """The table in the file format, so many rows in a record batch."""
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=rows)
    return sink.getvalue()


def stream_format(rows: int = ROWS) -> bytes:
    """The table in the stream format."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=rows)
    return sink.getvalue()


def read(opened: ArrowFile | ArrowStream, names: list[str]) -> list[int]:
    """The rows of the blocks, which hold the table's columns."""
    blocks = blocks_of(opened, dict.fromkeys(names, pa.null()))
    batches = [block.strictly() for block in blocks]
    found = pa.Table.from_batches(batches)
    assert found.schema == pa.schema([opened.schema.field(name) for name in names])
    assert found.to_pydict() == TABLE.select(names).to_pydict()
    return [batch.num_rows for batch in batches]


@pytest.mark.parametrize("names", [["list", "a"], ["text"]])
@pytest.mark.parametrize("rows", [10, 1000, ROWS])
@pytest.mark.parametrize(
    ("suffix", "pack", "kind"),
    [
        ("arrow", file_format, ArrowFile),
        ("ipc", stream_format, ArrowStream),
        ("arrow.gz", lambda rows: gzipped(file_format(rows)), ArrowStream),
        ("arrow.zst", lambda rows: pa.compress(stream_format(rows), codec="zstd", asbytes=True), ArrowStream),
    ],
)
def test_every_kind_of_file_is_read_in_blocks(  # noqa: PLR0913, PLR0917  # the table above
    suffix: str, pack: Callable[[int], bytes], kind: type, rows: int, names: list[str], tmp_path: Path
) -> None:
    """Small record batches are joined and large ones sliced, each time the same way; dictionaries are written out."""
    file = file_at(tmp_path / f"a.{suffix}", pack(rows))
    opened = open_arrow(file, 20_000)
    assert type(opened) is kind
    assert opened.schema.field("text").type == pa.string()
    found = read(opened, names)
    assert read(opened, names) == found
    assert 2 <= len(found) <= 20
    sizes = [block.size for block in blocks_of(opened, {"a": pa.null()})]
    assert 0 <= file.bytes - sum(sizes) < max(file.bytes / 2, 1024)


def test_ranges_of_record_batches_stand_for_themselves(tmp_path: Path) -> None:
    """Any of them can be read alone."""
    opened = ArrowFile(file_at(tmp_path / "a.arrow", file_format(100)), 10_000)
    segments = list(opened.segments())
    assert len(segments) > 2
    assert list(opened.segments(segments[1][0])) == segments[1:]
    start, stop = segments[-1]
    rows = [row for block in opened.blocks(start, stop, {"a": pa.null()}) for row in block.strictly()["a"].to_pylist()]
    assert rows == TABLE["a"].to_pylist()[start * 100 : stop * 100]


@settings(deadline=None)
@given(rows=st.lists(st.integers(0, 50)), block_bytes=st.integers(1, 400))
def test_blocks_are_of_about_one_size(rows: list[int], block_bytes: int) -> None:
    """No row is lost or moved, none of the blocks is empty or too large, and no two could be one."""
    numbers = iter(range(sum(rows)))
    batches = [pa.record_batch({"a": pa.array([next(numbers) for _ in range(count)], pa.int64())}) for count in rows]
    found = [batch["a"].to_pylist() for batch in in_blocks(batches, block_bytes)]
    assert [number for block in found for number in block] == list(range(sum(rows)))
    most = max(block_bytes // 8, 1)
    assert all(1 <= len(block) <= most for block in found)


def test_a_block_has_no_more_rows_than_some() -> None:
    """However few bytes they take."""
    batches = [pa.record_batch({"a": pa.nulls(BLOCK_ROWS + 1, pa.null())})]
    assert [batch.num_rows for batch in in_blocks(batches, 1 << 20)] == [BLOCK_ROWS, 1]


def test_columns_of_one_name_do_not_matter_to_others(tmp_path: Path) -> None:
    """They are there twice."""
    batch = pa.record_batch([pa.array([1]), pa.array([2]), pa.array([3])], names=["x", "a", "x"])
    for name, new in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with new(tmp_path / name, batch.schema) as writer:
            writer.write_batch(batch)
        opened = open_arrow(file_at(tmp_path / name))
        assert opened.schema.names == ["x", "a", "x"]
        (block,) = blocks_of(opened, {"a": pa.null()})
        assert block.strictly().to_pylist() == [{"a": 2}]


def test_a_file_without_rows_has_columns(tmp_path: Path) -> None:
    """It is sound, in both formats."""
    for name, new in (("a.arrow", pa.ipc.new_file), ("b.arrow", pa.ipc.new_stream)):
        with new(tmp_path / name, TABLE.schema):
            pass
        opened = open_arrow(file_at(tmp_path / name))
        assert opened.schema.names == TABLE.schema.names
        assert not blocks_of(opened, {"a": pa.null()})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.arrow", b"", "it is empty"),
        ("a.arrow", file_format()[:-1], "it cannot be read: "),
        ("a.arrow", file_format()[:7], "it cannot be read: "),
        ("a.arrow", file_format()[:50_000], "it cannot be read: "),
        ("a.arrow", stream_format()[:50_000], "it cannot be read: "),
        ("a.arrow", stream_format()[:9], "it cannot be read: "),
        ("a.arrow", b"a,b\n1,2\n" * 9, "it is no Arrow file"),
        ("a.arrow", b"PAR1" * 9, "it is no Arrow file"),
        ("a.arrow.gz", b"", "it is empty"),
        ("a.arrow.gz", gzipped(b""), "it is empty"),
        ("a.arrow.gz", gzipped(file_format())[:-20], "it is truncated or damaged behind "),
        ("a.arrow.gz", gzipped(file_format())[:99], "it is truncated or damaged: "),
        ("a.arrow.gz", gzipped(stream_format())[:-9], "it is truncated or damaged behind "),
        ("a.arrow.gz", file_format(), "it is truncated or damaged: "),
        ("a.arrow.gz", gzipped(file_format()[:-1]), "it is truncated: the end of an Arrow file is missing"),
        ("a.arrow.gz", gzipped(file_format()[:50_000]), "it is truncated or damaged behind 50,000 bytes of its"),
    ],
)
def test_a_file_that_is_not_whole_is_told(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """By what is wrong with it, in one line."""
    assert refusal(tmp_path / name, content).startswith(said)


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_parts_that_contradict_each_other_are_told(new: Any, tmp_path: Path) -> None:  # noqa: ANN401  # a function of pyarrow's
    """To read on with them could end the process; texts and names that are not UTF-8 would be carried through."""
    sink = io.BytesIO()
    table = pa.table({"text": ["ab"] * 300})
    with new(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    offsets = np.arange(0, 601, 2, dtype=np.int32)
    bent = offsets.copy()
    bent[100] = 0x7F000000
    assert offsets.tobytes() in content
    said = "it cannot be read: the column 'text' is damaged: "
    for damage in (content.replace(offsets.tobytes(), bent.tobytes()), content.replace(b"abab", b"a\xffab")):
        assert refusal(tmp_path / "a.arrow", damage).startswith(said)
    assert refusal(tmp_path / "a.arrow", content.replace(b"text", b"t\xffxt")).endswith(": a name in it is not UTF-8")


def test_a_stream_that_claims_very_much_is_told(tmp_path: Path) -> None:
    """No memory is taken for what is not there."""
    sink = io.BytesIO()
    table = pa.table({"a": np.arange(300) / 8})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    length, claimed = (number.to_bytes(8, "little") for number in (300 * 8, 1 << 50))
    content = sink.getvalue()
    assert length in content
    said = refusal(tmp_path / "a.arrow", content.replace(length, claimed))
    assert said.startswith("it cannot be read: ")


def test_many_columns_are_refused(tmp_path: Path) -> None:
    """As in every format."""
    schema = pa.schema([(str(place), pa.int8()) for place in range(65_537)])
    with pa.ipc.new_file(tmp_path / "a.arrow", schema):
        pass
    assert refusal(tmp_path / "a.arrow") == "expected are at most 65,536 columns, got 65,537"


@pytest.mark.parametrize(
    ("form", "content"),
    [("arrow", stream_format), ("arrow", file_format), ("arrow.gz", lambda: gzipped(stream_format()))],
)
def test_standard_input_is_read_as_it_comes(form: str, content: Callable[[], bytes]) -> None:
    """Either format, plain or compressed."""
    result = subprocess.run(reads_input(form), input=content(), capture_output=True, check=True)
    assert result.stdout.decode() == f"{TABLE.to_pylist()}\n"
