"""Behaviour of service.scoring.writing.journal."""

import logging
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from service.errors import ScoreError
from service.scoring.reading.blocks import RowFault
from service.scoring.scorer import Scored
from service.scoring.writing.journal import PART_BYTES, Journal, is_whole
from service.scoring.writing.results import Place, Result

SCHEMA = pa.schema([("row", pa.int64())])
FILES = [{"path": "a.csv", "bytes": 12_345, "modified": 1}, {"path": "b.csv", "bytes": 6, "modified": 2}]
IDENTITY: dict[str, Any] = {
    "forwardpass": "1.0",
    "model": {"name": "line"},
    "options": {"keep": ["id"]},
    "files": FILES,
}


def result(number: int, rows: int = 3) -> Result:
    """The result of a block of some rows, one of which was rejected."""
    batch = pa.record_batch([pa.array(range(number, number + rows), pa.int64())], schema=SCHEMA)
    place = Place(0, number, number + 1, 0, last=True)
    return Result(place, Scored(batch, rows + 1, (RowFault(rows, "width", "a number", "'x'"),), 1), 10)


def journal(folder: Path, identity: dict[str, Any] = IDENTITY, clock: Callable[[], float] = lambda: 0.0) -> Journal:
    """The journal of `out.csv`."""
    return Journal(folder / "out.csv", folder / ".out.csv.parts", identity, SCHEMA, clock)


def begun(folder: Path, *, resume: bool = False, overwrite: bool = False) -> Journal:
    """A journal that has begun."""
    one = journal(folder)
    one.begin(resume=resume, overwrite=overwrite)
    return one


def log(folder: Path, *parts: range) -> None:
    """A run that was ended when these blocks were safe, in these parts."""
    with begun(folder) as one:
        for part in parts:
            for number in part:
                one.append(result(number))
            one.commit()


def replayed(folder: Path) -> list[int]:
    """The blocks that a later run finds; it knows where they end."""
    with begun(folder, resume=True) as one:
        found = list(one.replay())
        assert one.position == (found[-1].place if found else None)
    assert found == [result(one.place.start) for one in found]
    return [one.place.start for one in found]


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in the journal's folder."""
    return {path.name: path.read_bytes() for path in (folder / ".out.csv.parts").iterdir()}


def test_what_was_safe_is_replayed(tmp_path: Path) -> None:
    """All results in order, part by part, and nothing that was not committed."""
    with begun(tmp_path) as one:
        for number in range(5):
            one.append(result(number))
            if number in (1, 2):
                one.commit()
        assert one.position == result(2).place
    assert set(files(tmp_path)) == {"journal.jsonl", "part-000001.arrow", "part-000002.arrow"}
    assert replayed(tmp_path) == [0, 1, 2]


def test_a_later_run_goes_on(tmp_path: Path) -> None:
    """As often as it is ended."""
    log(tmp_path, range(2))
    for number in (2, 3):
        with begun(tmp_path, resume=True) as one:
            assert len(list(one.replay())) == number
            one.append(result(number))
            one.commit()
    assert replayed(tmp_path) == [0, 1, 2, 3]


def test_a_short_run_leaves_nothing(tmp_path: Path) -> None:
    """Not even while it lasts."""
    with begun(tmp_path) as one:
        for number in range(100):
            one.append(result(number))
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_part_is_made_every_second(tmp_path: Path) -> None:
    """Of what came in it, and not while nothing comes."""
    seconds = iter([0, 0.4, 0.9, 1.1, 1.2, 2.1, 2.3, 9, 9.1])
    with journal(tmp_path, clock=lambda: next(seconds)) as one:
        one.begin(resume=False, overwrite=False)
        made = []
        for number in range(6):
            one.append(result(number))
            made.append(one.position and one.position.start)
    assert made == [None, None, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("seconds", "size", "whole"),
    [(0.99, 100, False), (1.0, 1, True), (0, PART_BYTES - 1, False), (0, PART_BYTES, True)],
)
def test_a_part_ends_by_time_or_size(seconds: float, size: int, whole: bool) -> None:  # noqa: FBT001  # a parameter
    """Whichever comes first."""
    assert is_whole(seconds, size) == whole


def test_large_results_are_not_gathered_in_memory(tmp_path: Path) -> None:
    """They are written as they come, and are a part once they are large."""
    with begun(tmp_path) as one:
        one.append(result(0, rows=1 << 20))
        assert (tmp_path / ".out.csv.parts" / "part-000001.arrow").stat().st_size > 8 << 20
        assert one.position is None
        for number in range(1, 4):
            one.append(result(number, rows=1 << 20))
        assert one.position == result(3).place


@pytest.mark.parametrize("overwrite", [False, True])
def test_unfinished_work_is_not_passed_over(overwrite: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """Whoever begins anew says so."""
    log(tmp_path, range(2))
    before = files(tmp_path)
    if overwrite:
        with begun(tmp_path, overwrite=True) as one:
            assert one.position is None
            assert list(one.replay()) == []
        assert list(tmp_path.iterdir()) == []
    else:
        with pytest.raises(
            ScoreError, match=r"out\.csv: an earlier run was ended .* --resume, or begin anew with --ov"
        ):
            begun(tmp_path)
        assert files(tmp_path) == before


@pytest.mark.parametrize("resume", [False, True])
def test_what_no_line_speaks_of_is_nothing(resume: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """A run that was killed before its first part was safe."""
    folder = tmp_path / ".out.csv.parts"
    folder.mkdir()
    (folder / "part-000001.arrow").write_bytes(b"half")
    (folder / "journal.jsonl").write_bytes(b'{"files":')
    with begun(tmp_path, resume=resume) as one:
        assert list(one.replay()) == []
        one.append(result(0))
        one.commit()
    assert replayed(tmp_path) == [0]


def test_nothing_to_go_on_with_is_the_beginning(tmp_path: Path) -> None:
    """So that the same command may always be given."""
    assert replayed(tmp_path) == []


@pytest.mark.parametrize(
    "line", [b'{"a": "\xff"}\n', b"[" * 100_000 + b"\n", b'{"file": "\xff"}\n', b'{"file": ' + b"[" * 100_000 + b"\n"]
)
@pytest.mark.parametrize("first", [b"", b'{"a": 1}\n'])
def test_a_journal_that_is_no_journal_is_nothing(first: bytes, line: bytes, tmp_path: Path) -> None:
    """What a disk gives back may be any bytes; a later run begins anew."""
    for resume in (False, True):
        (tmp_path / ".out.csv.parts").mkdir()
        (tmp_path / ".out.csv.parts" / "journal.jsonl").write_bytes(first + line)
        with begun(tmp_path, resume=resume) as one:
            assert list(one.replay()) == []
            one.append(result(0))
            one.commit()
        assert replayed(tmp_path) == [0]
        begun(tmp_path, overwrite=True)
        assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a journal of three parts."""
    folder = tmp_path_factory.mktemp("logged")
    log(folder, range(3), range(3, 4), range(4, 6))
    return folder


@pytest.fixture
def silent() -> Iterator[None]:
    """No warnings of damaged parts."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.usefixtures("silent")
def test_a_journal_cut_anywhere_is_a_shorter_one(
    data: st.DataObject, logged: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of any file any number of bytes, or any byte changed: what is replayed is what was scored first."""
    folder = tmp_path_factory.mktemp("cut")
    (folder / ".out.csv.parts").mkdir()
    contents = files(logged)
    name = data.draw(st.sampled_from(sorted(contents)))
    place = data.draw(st.integers(0, len(contents[name]) - 1))
    if name == "journal.jsonl" or data.draw(st.booleans()):
        contents[name] = contents[name][:place]
    else:
        changed = bytearray(contents[name])
        changed[place] ^= data.draw(st.integers(1, 255))
        contents[name] = bytes(changed)
    for each, content in contents.items():
        (folder / ".out.csv.parts" / each).write_bytes(content)
    found = replayed(folder)
    lines = contents["journal.jsonl"].count(b"\n") - 1
    whole = lines if name == "journal.jsonl" else int(name[5:11]) - 1
    assert found == list(range([0, 3, 4, 6][max(whole, 0)]))
    # And whoever goes on from there, ends where it would have ended.
    with begun(folder, resume=True) as one:
        first = len(list(one.replay()))
        for number in range(first, 6):
            one.append(result(number))
        one.commit()
    assert replayed(folder) == list(range(6))


def test_a_damaged_part_is_told_and_scored_once_more(
    logged: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that is gone."""
    (tmp_path / ".out.csv.parts").mkdir()
    for name, content in files(logged).items():
        (tmp_path / ".out.csv.parts" / name).write_bytes(content)
    (tmp_path / ".out.csv.parts" / "part-000002.arrow").unlink()
    assert replayed(tmp_path) == [0, 1, 2]
    assert caplog.messages == [
        f"{tmp_path}/.out.csv.parts/part-000002.arrow is damaged: its rows are scored once more",
    ]


@pytest.mark.parametrize("change", [(b'"blocks":1', b'"blocks":2'), (b"[0,3,4,0,true]", b"[0,9,9,0,true]")])
@pytest.mark.usefixtures("silent")
def test_a_line_that_does_not_fit_its_part_is_none(change: tuple[bytes, bytes], logged: Path, tmp_path: Path) -> None:
    """What is replayed ends before it, and so does the position."""
    (tmp_path / ".out.csv.parts").mkdir()
    for name, content in files(logged).items():
        (tmp_path / ".out.csv.parts" / name).write_bytes(content.replace(*change))
    assert replayed(tmp_path) == [0, 1, 2]


def interrupting(line: int) -> Callable[[FrameType, str, object], Any]:
    """A function for `sys.settrace`: as a signal does, it interrupts the so many-th line that the journal runs."""
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401  # itself
        nonlocal left
        if not frame.f_code.co_filename.endswith("scoring/writing/journal.py"):
            return None
        left -= event == "line"
        if not left:
            raise KeyboardInterrupt
        return trace

    return trace


# A file that is being opened meanwhile is closed by whoever collects the garbage.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.usefixtures("silent")
def test_whoever_is_interrupted_anywhere_keeps_what_is_sound(tmp_path: Path) -> None:
    """What was being written is no part, even if all is committed afterwards."""
    # The second one is so large that it is written at once.
    results = [result(number, rows=600_000 if number == 1 else 3) for number in range(3)]
    kept = set()
    for line in range(1, 200, 5):
        folder = tmp_path / str(line)
        folder.mkdir()
        with begun(folder) as one:
            try:
                sys.settrace(interrupting(line))
                for number in range(3):
                    one.append(results[number])
                    if number == 1:
                        one.commit()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            one.commit()
        with begun(folder, resume=True) as one:
            places = [each.place for each in one.replay()]
        assert places == [result(number).place for number in range(len(places))]
        kept.add(len(places))
    assert kept == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forwardpass": "1.1"}, "forwardpass was 1.0 and is 1.1 now"),
        ({"model": {"name": "line", "version": 2}}, "model version was not given and is 2 now"),
        ({"options": {"keep": ["id", "x"]}}, 'options keep was ["id"] and is ["id","x"] now'),
        (
            {"files": [{**FILES[0], "bytes": 12_346}, FILES[1]]},
            "a.csv has changed: it had 12,345 bytes, now 12,346",
        ),
        ({"files": [FILES[0], {**FILES[1], "modified": 3}]}, "b.csv has changed: it was modified since"),
        ({"files": FILES[:1]}, "b.csv is no longer there"),
        ({"files": [*FILES, {**FILES[0], "path": "c.csv"}]}, "c.csv was not there"),
        ({"forwardpass": "2", "files": FILES[:1]}, "forwardpass was 1.0 and is 2 now; b.csv is no longer there"),
        (
            {"files": [{**FILES[0], "path": f"{number}.csv"} for number in range(8)]},
            f"{'; '.join(f'{number}.csv was not there' for number in range(5))}; and 5 more",
        ),
    ],
)
def test_another_run_is_not_gone_on_with(changes: dict[str, Any], said: str, logged: Path) -> None:
    """What is another is named, and nothing is lost."""
    before = files(logged)
    with pytest.raises(ScoreError) as caught:
        journal(logged, IDENTITY | changes).begin(resume=True, overwrite=True)
    assert caught.value.message == (
        f"{logged / 'out.csv'}: the earlier run cannot be gone on with: {said}; begin anew with --overwrite"
    )
    assert files(logged) == before


def test_identity_is_compared_as_json_has_it(tmp_path: Path) -> None:
    """A tuple comes back as a list, which is the same."""
    identity = {"options": {"keep": ("id",)}, "files": ()}
    for resume in (False, True):
        with journal(tmp_path, identity) as one:
            one.begin(resume=resume, overwrite=False)
            one.append(result(0))
            one.commit()


def test_parts_are_thrown_away_on_demand(tmp_path: Path) -> None:
    """Then there is nothing to go on with."""
    with begun(tmp_path) as one:
        one.append(result(0))
        one.commit()
        one.discard()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file that is written here grow further, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "parts", "rows"),
    [
        pytest.param(0, 0, 1, id="at the first part"),
        pytest.param(5000, 3, 1000, id="within a part"),
        pytest.param(1250, 0, 1, id="within a line"),
    ],
)
def test_a_full_disk_is_told(limit: int, parts: int, rows: int, tmp_path: Path) -> None:
    """What is done is kept, where anything is: files may be so large, after some parts."""

    def run() -> None:
        with begun(tmp_path) as one:
            for number in range(parts):
                one.append(result(number, rows))
                one.commit()
            with files_of_at_most(limit):
                for number in range(parts, 50):
                    one.append(result(number, rows))
                    one.commit()

    with pytest.raises(ScoreError) as caught:
        run()
    written = files(tmp_path)["journal.jsonl"] if limit else b""
    # With rows so few, the journal is the first file to be too long.
    assert written.endswith(b"\n") == (parts > 0)
    kept = written[: written.rfind(b"\n") + 1].count(b"\n") - 1 if limit else 0
    assert kept == parts or (rows == 1 and kept > 3)
    ending = "; what is done is kept: go on with --resume" if kept else ""
    assert caught.value.message == f"{tmp_path / 'out.csv'}: it cannot be written: File too large{ending}"
    assert [path.name for path in tmp_path.iterdir()] == [".out.csv.parts"] * bool(kept)
    with begun(tmp_path, resume=True) as one:
        assert [each.place.start for each in one.replay()] == list(range(kept))
        # And it goes on, over whatever half a line is there.
        one.append(result(kept))
        one.commit()
        assert [each.place.start for each in one.replay()] == list(range(kept + 1))
