"""Behaviour of service.scoring.reading.sources."""

import os
import pickle
from pathlib import Path

import pytest

from service.errors import ScoreError
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File, find_files, unreadable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of rows and others, some deeper."""
    for name in ("b.csv", "a.jsonl.gz", "note.txt", ".c.csv", "_d.csv", "in/e.parquet", ".f/g.csv", "_h/i.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"abc")
    return tmp_path


def found(source: str | Path, given: str | None = None) -> list[str]:
    """The paths of the files."""
    return [file.path for file in find_files(source, given)]


def refused(source: str | Path, given: str | None = None) -> str:
    """The sentence with which it is refused."""
    with pytest.raises(ScoreError) as caught:
        find_files(source, given)
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


def test_a_file_is_told_from_others(folder: Path) -> None:
    """By path, size and time; it can be sent to another process."""
    path = folder / "b.csv"
    os.utime(path, ns=(1, 1_600_000_000_123_456_789))
    (file,) = find_files(path, None)
    assert file == File(str(path), 3, 1_600_000_000_123_456_789, Form("csv", None))
    assert pickle.loads(pickle.dumps(file)) == file  # noqa: S301  # its own bytes
    assert file.name == str(path)


def test_a_relative_path_stays_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that messages name what the caller wrote."""
    monkeypatch.chdir(folder)
    assert found("b.csv") == ["b.csv"]
    assert found("*.csv") == ["_d.csv", "b.csv"]


def test_a_folder_is_searched_in_order(folder: Path) -> None:
    """Hidden files, and what other programs leave, are no input; nor are other suffixes, unless the format is given."""
    assert found(folder) == [str(folder / name) for name in ("a.jsonl.gz", "b.csv", "in/e.parquet")]
    named = find_files(folder, "csv")
    assert [file.path for file in named] == [
        str(folder / n) for n in ("a.jsonl.gz", "b.csv", "in/e.parquet", "note.txt")
    ]
    assert {file.form for file in named} == {Form("csv", None)}


def test_a_pattern_finds_files(folder: Path) -> None:
    """Also in folders below; a name that is there is no pattern."""
    assert found(folder / "*.c*") == [str(folder / "_d.csv"), str(folder / "b.csv")]
    assert str(folder / "in/e.parquet") in found(f"{folder}/**/*.parquet")
    (folder / "x[1].csv").write_bytes(b"")
    (folder / "x1.csv").write_bytes(b"")
    assert found(folder / "x[1].csv") == [str(folder / "x[1].csv")]


def test_standard_input_needs_a_format() -> None:
    """It has no name."""
    (file,) = find_files("-", "jsonl.zst")
    assert file == File("-", 0, 0, Form("jsonl", "zstd"))
    assert file.name == "standard input"
    assert refused("-") == "standard input: it has no name that says its format: give it with --format"


def test_what_is_not_there_is_told(folder: Path) -> None:
    """With its name first."""
    assert refused(folder / "gone.csv") == f"{folder}/gone.csv: it cannot be read: No such file or directory"
    assert refused(folder / "b.csv" / "x.csv") == f"{folder}/b.csv/x.csv: it cannot be read: Not a directory"
    assert refused(folder / "*.pq") == f"{folder}/*.pq: no file fits the pattern"
    assert refused(folder / "note.txt").startswith(f"{folder}/note.txt: its name does not say its format")
    assert refused(folder / "b.csv", "xml").startswith("--format: expected one of csv")
    (folder / "empty").mkdir()
    assert refused(folder / "empty").startswith(f"{folder}/empty: the folder holds no file of rows: known are .csv")


def test_a_pipe_is_refused(folder: Path) -> None:
    """Its rows could be neither read in parts nor twice."""
    os.mkfifo(folder / "pipe.csv")
    assert refused(folder / "pipe.csv") == (
        f"{folder}/pipe.csv: it is no regular file: what comes from a pipe is read from standard input, as -"
    )


def test_a_name_that_is_no_text_is_refused(folder: Path) -> None:
    """In words that can be printed; also of a file in a folder."""
    path = folder / os.fsdecode(b"\xff.csv")
    path.write_bytes(b"abc")
    said = f"{folder}/\\xff.csv: its name is not UTF-8: rename it"
    assert refused(path) == refused(folder) == refused(folder / "*.csv") == said


def test_an_empty_name_is_refused() -> None:
    """It would be the folder in which the command runs."""
    assert refused("") == "the input's name is empty: give a file, a folder, a pattern, or - for standard input"


def test_an_error_is_told_in_one_line() -> None:
    """The system's reason, or what a library says, cut where it goes on too long."""
    told = unreadable("a.csv", OSError(5, "Input/output error")).message
    assert told == "a.csv: it cannot be read: Input/output error"
    told = unreadable("a.csv", ValueError("one\n  two" + "x" * 1000)).message
    assert told.startswith("a.csv: it cannot be read: one twoxxx")
    assert len(told) < 300
