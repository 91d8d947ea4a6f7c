"""Behaviour of service.scoring.writing.sinks."""

import csv
import datetime as dt
import gc
import gzip
import json
import math
import os
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from service.scoring.reading.blocks import RowFault
from service.scoring.reading.formats import form_of
from service.scoring.writing.sinks import GROUP_BYTES, GROUP_ROWS, RejectedRows, open_sink

ROOT = Path(__file__).parents[3]
NAMES = (
    "out.csv",
    "out.csv.gz",
    "out.csv.zst",
    "out.jsonl",
    "out.jsonl.gz",
    "out.jsonl.zst",
    "out.parquet",
    "out.arrow",
    "out.arrow.gz",
    "out.arrow.zst",
)
BATCH = pa.record_batch({"id": ["a", 'say "x"', "two\nlines,"], "score": pa.array([0.1, 1e-30, -2], pa.float32())})


def write(path: Path, schema: pa.Schema, *batches: pa.RecordBatch) -> Path:
    """A whole file of these batches, of the form that its name says."""
    sink = open_sink(path, form_of(path.name), schema)
    for batch in batches:
        sink.write(batch)
    sink.close()
    return path


def text(path: Path) -> str:
    """What a text file holds, whatever its compression."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    compression = "zstd" if path.suffix == ".zst" else None
    with pa.input_stream(str(path), compression=compression) as stream:
        content: bytes = stream.read()
    return content.decode()


def table(path: Path) -> pa.Table:
    """What a file of columns holds."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all()
    with pa.input_stream(str(path), compression={".gz": "gzip", ".zst": "zstd"}[path.suffix]) as stream:
        return pa.ipc.open_stream(stream).read_all()


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of any file."""
    if ".csv" in path.name:
        return list(csv.DictReader(text(path).splitlines(keepends=True)))
    if ".jsonl" in path.name:
        return list(map(json.loads, text(path).splitlines()))
    found: list[dict[str, Any]] = table(path).to_pylist()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_written_in_order(name: str, tmp_path: Path) -> None:
    """Batch after batch, one of them empty."""
    found = rows(write(tmp_path / name, BATCH.schema, BATCH, BATCH.slice(0, 0), BATCH.slice(1)))
    assert [row["id"] for row in found] == ["a", 'say "x"', "two\nlines,", 'say "x"', "two\nlines,"]
    scores = np.array([float(row["score"]) for row in found], np.float32)
    assert scores.tobytes() == np.array([0.1, 1e-30, -2, 1e-30, -2], np.float32).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_no_batch_gives_a_whole_empty_file(name: str, tmp_path: Path) -> None:
    """With its header or schema, where the format has one."""
    path = write(tmp_path / name, BATCH.schema)
    assert rows(path) == []
    if ".csv" in name:
        assert text(path) == '"id","score"\n'
    elif ".jsonl" not in name:
        assert table(path).schema.equals(BATCH.schema)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_batches_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Under any name and at any time; what was at the place before does not show."""
    batches = [BATCH] * 3
    first = write(tmp_path / name, BATCH.schema, *batches)
    other = tmp_path / f"another_{name}"
    other.write_bytes(b"left behind" * 10_000)
    assert write(other, BATCH.schema, *batches).read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_batches_from_the_journal_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    """However they lie in memory: as parts of others, with or without a place for nulls."""
    # Of Parquet so much that a row group ends by its size.
    rows, width = 30_000, 3000 if name == "out.parquet" else 30
    columns = {
        "row": pa.array([*range(rows), None]),
        "text": pa.array([None, *("x" * (number % width) for number in range(rows))]),
        "flag": pa.array([number % 3 == 0 for number in range(rows + 1)]),
        "list": pa.array([[], None, *([0.5, number] for number in range(rows - 1))], pa.list_(pa.float32())),
    }
    whole = pa.record_batch(columns)
    cuts = [0, 1, 1, 13, 10_011, 30_000, 30_001]
    batches = [whole.slice(start, stop - start) for start, stop in pairwise(cuts)]
    read = pa.BufferOutputStream()
    with pa.ipc.new_stream(read, whole.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    again = list(pa.ipc.open_stream(read.getvalue()))
    assert [batch.nbytes for batch in again] != [batch.nbytes for batch in batches]
    first = write(tmp_path / name, whole.schema, *batches)
    assert write(tmp_path / f"again_{name}", whole.schema, *again).read_bytes() == first.read_bytes()


@pytest.mark.parametrize("name", ["out.csv.gz", "out.jsonl.gz", "out.arrow.gz"])
def test_the_head_of_gzip_has_neither_name_nor_time(name: str, tmp_path: Path) -> None:
    """Flags and the four bytes of the time are zero."""
    assert write(tmp_path / name, BATCH.schema, BATCH).read_bytes()[:8] == b"\x1f\x8b\x08" + bytes(5)


@given(singles=st.lists(st.floats(width=32), min_size=1), doubles=st.lists(st.floats(), min_size=1))
def test_a_float_in_text_reads_back_to_its_bits(
    singles: list[float], doubles: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the double that it is; of JSON what is no finite number is null."""
    folder = tmp_path_factory.mktemp("floats")
    for values, datatype in ((singles, np.float32), (doubles, np.float64)):
        column: Any = np.array(values, datatype)
        batch = pa.record_batch({"x": pa.array(column)})
        texts = [row["x"] for row in rows(write(folder / "out.csv", batch.schema, batch))]
        expected = [None if math.isnan(value) else value for value in column.tolist()]
        assert [None if math.isnan(float(one)) else float(one) for one in texts] == expected
        found = [row["x"] for row in rows(write(folder / "out.jsonl", batch.schema, batch))]
        assert found == [value if math.isfinite(value) else None for value in column.tolist()]
        assert [math.copysign(1, float(one)) for one in texts if float(one) == 0] == [
            math.copysign(1, value) for value in values if value == 0
        ]


@pytest.mark.parametrize(
    ("values", "datatype", "cell", "value"),
    [
        ([1, None], pa.int64(), "1", 1),
        ([2**64 - 1, None], pa.uint64(), "18446744073709551615", 2**64 - 1),
        ([0.5, None], pa.float16(), "0.5", 0.5),
        ([0.1, None], pa.float32(), "0.10000000149011612", 0.10000000149011612),
        ([True, None], pa.bool_(), "true", True),
        (["", None], pa.string(), "", ""),
        (["ü", None], pa.large_string(), "ü", "ü"),
        (["ü", None], pa.string_view(), "ü", "ü"),
        ([[0.1, None], None], pa.list_(pa.float32()), "[0.10000000149011612,null]", [0.10000000149011612, None]),
        ([[1.5, 2], None], pa.list_(pa.float64(), 2), "[1.5,2.0]", [1.5, 2]),
        ([{"a": ["x"]}, None], pa.struct([("a", pa.list_(pa.string()))]), '{"a":["x"]}', {"a": ["x"]}),
        ([b"\xff\x00", None], pa.binary(), "/wA=", "/wA="),
        ([b"\xff\x00", None], pa.binary(2), "/wA=", "/wA="),
        ([b"\xff\x00", None], pa.binary_view(), "/wA=", "/wA="),
        ([dt.date(2024, 2, 29), None], pa.date32(), "2024-02-29", "2024-02-29"),
        ([1, None], pa.timestamp("ns"), "1970-01-01 00:00:00.000000001", "1970-01-01 00:00:00.000000001"),
        ([Decimal("1.50"), None], pa.decimal128(5, 2), "1.50", "1.50"),
        ([None, None], pa.null(), "", None),
    ],
)
def test_a_value_of_any_type_has_a_text(
    values: list[object], datatype: pa.DataType, cell: str, value: object, tmp_path: Path
) -> None:
    """JSON's own where it has one, in CSV the same in the cell; what is missing is an empty cell, or null."""
    batch = pa.record_batch({"n": pa.array([1, 2]), "x": pa.array(values, datatype)})
    found = rows(write(tmp_path / "out.csv", batch.schema, batch))
    assert [row["x"] for row in found] == [cell, ""]
    assert [row["x"] for row in rows(write(tmp_path / "out.jsonl", batch.schema, batch))] == [value, None]


@pytest.mark.parametrize("names", [['a"b', "c"], ["back\\slash", "new\nline"], ["", "é"], ["type", "1st"]])
@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.arrow"])
def test_a_column_may_have_any_name(name: str, names: list[str], tmp_path: Path) -> None:
    """Quotes, line ends and nothing at all belong to it."""
    batch = pa.record_batch([pa.array([1]), pa.array(["x"])], names)
    (found,) = rows(write(tmp_path / name, batch.schema, batch))
    assert list(found) == names
    assert [str(value) for value in found.values()] == ["1", "x"]


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out.arrow.zst"])
def test_columns_keep_their_types(name: str, tmp_path: Path) -> None:
    """Singles stay singles, lists lists, texts texts."""
    fields = [
        ("score", pa.float32()),
        ("list", pa.list_(pa.float64())),
        ("label", pa.string()),
    ]
    schema = pa.schema(fields)
    batches = [
        pa.record_batch([pa.array([0.1], pa.float32()), [[1.0]], [word]], schema=schema) for word in ("one", "other")
    ]
    found = table(write(tmp_path / name, schema, *batches))
    assert found.schema.types == [pa.float32(), pa.list_(pa.float64()), pa.string()]
    assert found["label"].to_pylist() == ["one", "other"]


def test_small_batches_share_a_row_group(tmp_path: Path) -> None:
    """However the rows come, all groups but the last are full, and the bytes are the same."""
    scores = pa.record_batch({"score": pa.array(np.arange(300_000, dtype=np.float32))})
    cuts = [*range(0, 300_000, 7001), 300_000]
    small = [scores.slice(start, stop - start) for start, stop in pairwise(cuts)]
    path = write(tmp_path / "out.parquet", scores.schema, *small)
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sizes == [GROUP_ROWS, GROUP_ROWS, 300_000 - 2 * GROUP_ROWS]
    assert table(path)["score"].combine_chunks().equals(scores["score"])
    assert write(tmp_path / "whole.parquet", scores.schema, scores).read_bytes() == path.read_bytes()


def test_wide_rows_do_not_gather_in_memory(tmp_path: Path) -> None:
    """A row group also ends when it is large."""
    batch = pa.record_batch({"text": ["x" * (1 << 20)] * 4})
    path = write(tmp_path / "out.parquet", batch.schema, *[batch] * 17)
    assert pq.read_metadata(path).num_row_groups == 3


def test_rejected_rows_are_listed(tmp_path: Path) -> None:
    """Rows are counted from 1 in their file; whatever was found there, the file reads back."""
    path = tmp_path / "rejected.csv"
    sink = RejectedRows(path)
    sink.write("a.csv", 0, ())
    assert not path.exists()
    sink.write("a.csv", 0, (RowFault(1, "width", "a number", "'x'"), RowFault(1, "", "2 cells", '3, "quoted"\n')))
    sink.write("\udcff.csv", 70_000, (RowFault(0, "é", "a number", "null"),))
    sink.close()
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [
            ["file", "row", "column", "expected", "got"],
            ["a.csv", "2", "width", "a number", "'x'"],
            ["a.csv", "2", "", "2 cells", '3, "quoted"\n'],
            ["\udcff.csv", "70001", "é", "a number", "null"],
        ]


def test_no_rejected_row_makes_no_file(tmp_path: Path) -> None:
    """It is there from the first one on."""
    RejectedRows(tmp_path / "rejected.csv").close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_place_that_cannot_be_written_is_the_systems_error(name: str, tmp_path: Path) -> None:
    """Whoever knows what it is for, tells it."""
    with pytest.raises(FileNotFoundError):
        open_sink(tmp_path / "gone" / name, form_of(name), BATCH.schema)


FULL = """
import errno, os, resource, sys
from pathlib import Path
import pyarrow as pa
from service.scoring.reading.formats import form_of
from service.scoring.writing.sinks import RejectedRows, open_sink
batch = pa.record_batch({"x": pa.array(os.urandom(8) for _ in range(100_000))})
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for name in sys.argv[1:]:
    sink = open_sink(Path(name), form_of(name), batch.schema)
    try:
        for _ in range(3):
            sink.write(batch)
        sink.close()
    except OSError as error:
        print(name, os.strerror(error.errno))
    del sink
"""


def test_a_full_disk_is_the_systems_error(tmp_path: Path) -> None:
    """Of each format, and nothing else is said when the file is given up."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL, *NAMES],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == [f"{name} File too large" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_given_up(name: str, tmp_path: Path) -> None:
    """As after an error elsewhere; it is not whole, and nobody takes it for that."""
    sink = open_sink(tmp_path / name, form_of(name), BATCH.schema)
    sink.write(BATCH)
    del sink
    gc.collect()


@pytest.mark.parametrize(
    "datatype",
    [
        pa.string(),
        pa.large_binary(),
        pa.string_view(),
        pa.binary_view(),
        pa.binary(1 << 16),
        pa.list_view(pa.binary()),
        pa.map_(pa.string(), pa.binary()),
    ],
    ids=str,
)
def test_large_values_are_not_held(datatype: pa.DataType, tmp_path: Path) -> None:
    """Of whatever type: a row group of Parquet is written when it is large."""
    large = b"x" * (1 << 16)
    value = [large] if pa.types.is_list_view(datatype) else [("key", large)] if pa.types.is_map(datatype) else large
    batch = pa.record_batch({"value": pa.array([value] * 300, datatype)}).slice(20, 256)
    sink = open_sink(tmp_path / "out.parquet", form_of("out.parquet"), batch.schema)
    for _ in range(GROUP_BYTES // (256 << 16)):
        sink.write(batch)
    sink.write(batch.slice(0, 1))
    assert (tmp_path / "out.parquet").stat().st_size > 4
    sink.close()
    assert pq.read_metadata(tmp_path / "out.parquet").row_group(0).num_rows == GROUP_BYTES >> 16


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_extension_types_are_written_as_they_are_stored(suffix: str, tmp_path: Path) -> None:
    """Bytes as Base64, lists as lists."""
    one = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16))], pa.binary(16)))
    other = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
    )
    batch = pa.record_batch({"id": one, "pair": other})
    path = write(tmp_path / f"out.{suffix}", batch.schema, batch)
    expected = {
        "csv": '"id","pair"\n"AAECAwQFBgcICQoLDA0ODw==","[1,2]"\n',
        "jsonl": '{"id":"AAECAwQFBgcICQoLDA0ODw==","pair":[1,2]}\n',
    }
    assert path.read_text() == expected[suffix]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.arrow"])
def test_pandas_is_not_imported(name: str, tmp_path: Path) -> None:
    """A signal in the midst of that would end the process by an error that pandas makes of it."""
    program = (
        "import sys, pyarrow as pa, pyarrow.compute as pc; from pathlib import Path\n"
        "from service.scoring.reading.formats import form_of; from service.scoring.writing.sinks import open_sink\n"
        "batch = pa.RecordBatch.from_arrays([pc.random(3)], ['score'])\n"
        "sink = open_sink(Path(sys.argv[1]), form_of(sys.argv[1]), batch.schema)\n"
        "sink.write(batch)\n"
        "sink.close()\n"
        "print('pandas' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"
