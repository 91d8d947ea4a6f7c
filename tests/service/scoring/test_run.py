"""Behaviour of service.scoring.run."""

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from service.errors import RowError
from service.scoring.progress import display
from service.scoring.reading.blocks import RowFault
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File
from service.scoring.run import Results, run
from service.scoring.scorer import OnError, Scored
from service.scoring.writing.journal import Journal
from service.scoring.writing.output import Output
from service.scoring.writing.results import Place, Result
from service.scoring.writing.target import Target

SCHEMA = pa.schema([("value", pa.float32())])
CSV = Form("csv", None)
FILES = [File("a.csv", 100, 0, CSV), File("b.csv", 100, 0, CSV)]
PLACES = [Place(0, 0, 50, 0, last=True), Place(0, 50, 100, 0, last=True), Place(1, 0, 100, 0, last=True)]


def result(number: int, values: Sequence[float], *faulty: int) -> Result:
    """A block with these values, and rows that are rejected."""
    faults = tuple(RowFault(row, "width", "a number", "'x'") for row in faulty)
    batch = pa.record_batch([pa.array(values, pa.float32())], schema=SCHEMA)
    return Result(PLACES[number], Scored(batch, len(values) + len(faulty), faults, len(faulty)), 50)


@contextmanager
def opened(
    folder: Path, *, files: Sequence[File] = FILES, on_error: OnError = "fail", resume: bool = False
) -> Iterator[tuple[Target, Output, Journal]]:
    """An output and its journal."""
    with Target(folder / "out.csv", resume=resume, quarantine=on_error == "quarantine") as target:
        output = Output(target, CSV, SCHEMA, files, on_error)
        with Journal(target.path, target.parts, {"files": []}, SCHEMA) as journal:
            journal.begin(resume=resume, overwrite=False)
            yield target, output, journal


def engine(*results: Result, end: BaseException | None = None) -> Callable[[Place | None], Results]:
    """What gives these results behind a place, and then ends so."""

    def compute(after: Place | None) -> Results:
        yield from (one for one in results if after is None or one.place > after)
        if end is not None:
            raise end

    return compute


def run_whole(folder: Path, *results: Result, on_error: OnError = "fail", resume: bool = False) -> Output:
    """Write all of it."""
    with opened(folder, on_error=on_error, resume=resume) as (target, output, journal):
        run(engine(*results), output, journal, display(200, None), resumable=True)
        target.finish()
    return output


def test_rows_are_written_and_counted(tmp_path: Path) -> None:
    """In the order in which they come."""
    output = run_whole(tmp_path, result(0, [1, 2]), result(1, [3]), result(2, [4]))
    assert (output.rows, output.rejected) == (4, 0)
    assert (tmp_path / "out.csv").read_text() == '"value"\n1\n2\n3\n4\n'
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_row_that_ends_it_leaves_nothing(tmp_path: Path) -> None:
    """Not even what was logged before it: with the row mended the file is another."""
    results = [result(0, [1, 2]), result(1, [3], 1)]
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as (_, output, journal):
        run(engine(results[0], end=KeyboardInterrupt()), output, journal, display(0, None), resumable=True)
    with (
        pytest.raises(RowError, match=r"^a\.csv, row 4, column 'width': expected a number, got 'x'$"),
        opened(tmp_path, resume=True) as (_, output, journal),
    ):
        run(engine(*results), output, journal, display(0, None), resumable=True)
    assert not list(tmp_path.iterdir())


def test_rejected_rows_are_left_out_or_told(tmp_path: Path) -> None:
    """Of each file they are counted anew."""
    results = [result(0, [1], 1), result(1, [2], 0), result(2, [], 0, 1)]
    for on_error in ("skip", "quarantine"):
        folder = tmp_path / on_error
        folder.mkdir()
        output = run_whole(folder, *results, on_error=on_error)
        assert (output.rows, output.rejected) == (6, 4)
        assert (folder / "out.csv").read_text() == '"value"\n1\n2\n'
    assert [path.name for path in (tmp_path / "skip").iterdir()] == ["out.csv"]
    with (tmp_path / "quarantine" / "out.csv.rejected.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "row", "column", "expected", "got"]
    assert [tuple(row[:3]) for row in rows] == [
        ("a.csv", "2", "width"),
        ("a.csv", "3", "width"),
        ("b.csv", "1", "width"),
        ("b.csv", "2", "width"),
    ]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143)])
def test_what_is_ended_from_outside_goes_on_to_the_same_bytes(
    end: BaseException, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is done is kept, and said so; only the rest is scored then."""
    results = [result(0, [1], 1), result(1, [2], 0), result(2, [3])]
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(type(end)),
        opened(tmp_path, on_error="quarantine") as (_, output, journal),
    ):
        run(engine(*results[:2], end=end), output, journal, display(0, None), resumable=True)
    assert "go on with --resume" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.parts"]
    output = run_whole(tmp_path, result(2, [3]), on_error="quarantine", resume=True)
    assert (output.rows, output.rejected) == (5, 2)
    whole = tmp_path / "whole"
    whole.mkdir()
    run_whole(whole, *results, on_error="quarantine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.rejected.csv", "whole"]
    for name in ("out.csv", "out.csv.rejected.csv"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_what_cannot_be_resumed_keeps_nothing(tmp_path: Path) -> None:
    """Standard input is gone."""
    results = engine(result(0, [1]), end=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as (_, output, journal):
        run(results, output, journal, display(0, None), resumable=False)
    assert not list(tmp_path.iterdir())
