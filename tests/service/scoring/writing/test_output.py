"""Behaviour of service.scoring.writing.output."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from service.errors import RowError, ScoreError
from service.scoring.reading.blocks import RowFault
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File
from service.scoring.scorer import OnError, Scored
from service.scoring.writing.output import Output
from service.scoring.writing.results import Place, Result
from service.scoring.writing.target import Target

SCHEMA = pa.schema([("value", pa.float32())])
CSV = Form("csv", None)
FILES = [File("a.csv", 100, 0, CSV), File("b.csv", 100, 0, CSV)]


def result(file: int, values: Sequence[float], *faults: RowFault) -> Result:
    """A block of a file, with these values and faulty rows."""
    batch = pa.record_batch([pa.array(values, pa.float32())], schema=SCHEMA)
    rejected = len({fault.row for fault in faults})
    return Result(Place(file, 0, 1, 0, last=False), Scored(batch, len(values) + rejected, faults, rejected), 1)


@contextmanager
def opened(folder: Path, files: Sequence[File] = FILES, on_error: OnError = "fail") -> Iterator[Output]:
    """An output that appears when it is left."""
    with Target(folder / "out.csv", quarantine=on_error == "quarantine") as target:
        output = Output(target, CSV, SCHEMA, files, on_error)
        yield output
        output.close()
        target.finish()


def test_rows_are_counted_over_the_blocks_of_a_file(tmp_path: Path) -> None:
    """And anew in the next file; the first rejected row that ends it is named by both."""
    fault = RowFault(1, "width", "a number", "'x'")
    with opened(tmp_path) as output:
        for values in ([1, 2], [3]):
            output.write(result(0, values))
        with pytest.raises(RowError, match=r"^a\.csv, row 5, column 'width': expected a number, got 'x'$"):
            output.write(result(0, [4], fault))
        with pytest.raises(RowError, match=r"^b\.csv, row 2, column 'width'"):
            output.write(result(1, [5], fault))
    assert (tmp_path / "out.csv").read_text() == '"value"\n1\n2\n3\n'


def test_of_a_single_file_the_row_alone_is_named(tmp_path: Path) -> None:
    """Which file it is the caller knows; a fault of the whole row has no column."""
    with (
        opened(tmp_path, FILES[:1]) as output,
        pytest.raises(RowError, match=r"^row 3: expected 2 cells, got 3$"),
    ):
        output.write(result(0, [1, 2], RowFault(2, "", "2 cells", "3")))


def test_rejected_rows_are_counted(tmp_path: Path) -> None:
    """A row with several faults is one row; all of them are told."""
    faults = [RowFault(1, column, "a number", "''") for column in ("width", "height")]
    with opened(tmp_path, on_error="quarantine") as output:
        output.write(result(0, [1], *faults))
        assert (output.rows, output.rejected) == (2, 1)
    lines = (tmp_path / "out.csv.rejected.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [["a.csv", "2", "width"], ["a.csv", "2", "height"]]


def test_a_column_that_the_format_cannot_hold_is_told(tmp_path: Path) -> None:
    """Before anything is scored."""
    schema = pa.schema([("span", pa.month_day_nano_interval())])
    said = f"{tmp_path / 'out.parquet'}: parquet has no type for a column that is kept: "
    with pytest.raises(ScoreError, match=re.escape(said)), Target(tmp_path / "out.parquet") as target:
        Output(target, Form("parquet", None), schema, FILES, "fail")
    assert not list(tmp_path.iterdir())
