"""Behaviour of service.scoring.writing.target."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import ScoreError
from service.scoring.writing.target import Target

EXISTS = "exists already: name another file, or allow it with --overwrite"


def names(folder: Path) -> list[str]:
    """All that lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def make(target: Target, rejected: str = "") -> None:
    """A whole run: the output holds `new`."""
    with target:
        target.unfinished.write_text("new")
        if rejected:
            target.unfinished_rejected.write_text(rejected)
        target.finish()


def test_an_output_appears_in_the_end(tmp_path: Path) -> None:
    """Before it lies beside, under a hidden name; afterwards nothing else does."""
    with Target(tmp_path / "out.csv") as target:
        assert names(tmp_path) == [".out.csv.part"]
        assert target.unfinished == tmp_path / ".out.csv.part"
        target.unfinished.write_text("new")
        target.parts.mkdir()
        (target.parts / "journal.jsonl").touch()
        target.finish()
        assert names(tmp_path) == ["out.csv"]
    assert names(tmp_path) == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "new"


def test_an_output_has_the_usual_rights(tmp_path: Path) -> None:
    """As if any other program had written it."""
    make(Target(tmp_path / "out.csv"))
    (tmp_path / "plain").touch()
    assert (tmp_path / "out.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing_but_the_parts(error: type[BaseException], tmp_path: Path) -> None:
    """A later run goes on from them; what there was before is untouched."""
    (tmp_path / "out.csv").write_text("old")
    target = Target(tmp_path / "out.csv", overwrite=True)

    def fail() -> None:
        with target:
            target.unfinished.write_text("half")
            target.unfinished_rejected.write_text("half")
            target.parts.mkdir()
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == [".out.csv.parts", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


def test_what_a_killed_run_left_is_written_anew(tmp_path: Path) -> None:
    """Nobody holds it any more; its rejected rows are not taken for this run's."""
    (tmp_path / ".out.csv.part").write_text("half")
    (tmp_path / ".out.csv.rejected.csv.part").write_text("half")
    make(Target(tmp_path / "out.csv", quarantine=True))
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("quarantine", [False, True])
def test_an_output_that_exists_is_kept(quarantine: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """Only with `overwrite` another takes its place, and then not only half."""
    output = tmp_path / "out.csv"
    output.write_text("old")
    with pytest.raises(ScoreError, match=re.escape(f"{output} {EXISTS}")):
        make(Target(output, quarantine=quarantine))
    assert names(tmp_path) == ["out.csv"]
    assert output.read_text() == "old"
    make(Target(output, overwrite=True, quarantine=quarantine))
    assert output.read_text() == "new"


def test_rejected_rows_that_exist_are_kept(tmp_path: Path) -> None:
    """Where this run could have some of its own."""
    rejected = tmp_path / "out.csv.rejected.csv"
    rejected.write_text("old")
    with pytest.raises(ScoreError, match=re.escape(f"{rejected} {EXISTS}")):
        make(Target(tmp_path / "out.csv", quarantine=True))
    assert names(tmp_path) == ["out.csv.rejected.csv"]
    make(Target(tmp_path / "out.csv", quarantine=True, overwrite=True), rejected="new")
    assert rejected.read_text() == "new"
    assert names(tmp_path) == ["out.csv", "out.csv.rejected.csv"]


@pytest.mark.parametrize("quarantine", [False, True])
def test_rejected_rows_of_an_earlier_run_go_with_its_output(quarantine: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """They would be taken for those of the new one."""
    make(Target(tmp_path / "out.csv", quarantine=True), rejected="old")
    make(Target(tmp_path / "out.csv", quarantine=quarantine, overwrite=True))
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize(
    ("place", "overwrite", "said"),
    [
        ("gone/out.csv", False, "gone/out.csv: it cannot be written: No such file or directory"),
        ("file/out.csv", False, "file/out.csv: it cannot be written: Not a directory"),
        ("folder", True, "folder: it cannot be written: Is a directory"),
        ("folder", False, f"folder {EXISTS}"),
        ("..", True, "..: it cannot be written: Is a directory"),
        ("x" * 255, False, "x: it cannot be written: File name too long"),
        ("pipe", True, "pipe: it cannot be written: it is no file"),
        ("\udcff.csv", True, "\\xff.csv: it cannot be written: its name is not UTF-8"),
    ],
)
def test_an_output_that_cannot_be_written_is_told(place: str, said: str, *, overwrite: bool, tmp_path: Path) -> None:
    """The system's reason comes with the output's name, and nothing is left."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ScoreError, match=re.escape(said)), Target(tmp_path / place, overwrite=overwrite):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_is_taken_is_told(tmp_path: Path) -> None:
    """Two runs into one file would both be lost; the first one is not disturbed, and afterwards another may begin."""
    first, second = Target(tmp_path / "out.csv"), Target(tmp_path / "out.csv", overwrite=True)
    with first:
        first.unfinished.write_text("first")
        with pytest.raises(ScoreError, match=f"another process is scoring into {tmp_path / 'out.csv'}"), second:
            pass
        first.finish()
        # Its parts could still be there.
        with pytest.raises(ScoreError, match="another process is scoring into"), second:
            pass
    assert (tmp_path / "out.csv").read_text() == "first"
    assert names(tmp_path) == ["out.csv"]
    make(second)
    assert (tmp_path / "out.csv").read_text() == "new"


def test_an_output_of_a_killed_process_is_free(tmp_path: Path) -> None:
    """The system lets go of what it held."""
    program = (
        "import os, sys; from pathlib import Path; from service.scoring.writing.target import Target\n"
        "Target(Path(sys.argv[1])).__enter__()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    output = tmp_path / "out.csv"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(output)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ScoreError, match="another process"), Target(output):
            pass
        process.kill()
        process.wait()
        assert names(tmp_path) == [".out.csv.part"]
        make(Target(output))


@pytest.mark.parametrize("done", [("out.csv.rejected.csv",), ("out.csv", "out.csv.rejected.csv")])
def test_a_run_that_was_killed_between_its_names_is_gone_on_with(done: tuple[str, ...], tmp_path: Path) -> None:
    """What lies there is its own; who does not go on with it is refused as ever."""
    output = tmp_path / "out.csv"
    with Target(output, quarantine=True) as target:
        target.unfinished.write_text("new")
        target.unfinished_rejected.write_text("new")
        target.finish()
    # As a process leaves it that ends there, and before it another one.
    statuses = [(tmp_path / name).stat() for name in ("out.csv", "out.csv.rejected.csv")]
    stamps = [f"{status.st_ino} {status.st_size} {status.st_mtime_ns}\n" for status in statuses]
    target.parts.mkdir()
    (target.parts / "finishing").write_text("".join([*stamps, "1 2"]))
    for name in {"out.csv", "out.csv.rejected.csv"} - set(done):
        (tmp_path / name).unlink()
    with pytest.raises(ScoreError, match="exists already"):
        make(Target(output, quarantine=True))
    make(Target(output, quarantine=True, resume=True), rejected="new")
    assert names(tmp_path) == ["out.csv", "out.csv.rejected.csv"]


ENDED = """
import os, sys
from pathlib import Path
from service.scoring.writing.target import Target

removed = 0

def end(event, arguments):
    global removed
    if event == "os.remove" and target.parts.exists():
        removed += 1
        if removed == int(sys.argv[2]):
            os._exit(9)

target = Target(Path(sys.argv[1]))
with target:
    target.unfinished.write_text("old")
    target.parts.mkdir()
    for name in ("journal.jsonl", "part-1", "part-2"):
        (target.parts / name).touch()
    sys.addaudithook(end)
    target.finish()
"""
"""A run that ends as it is to remove its so-manieth file."""


def test_a_run_that_was_killed_while_it_removed_its_parts_is_gone_on_with(tmp_path: Path) -> None:
    """Whatever it had removed, the output is known to be its own."""
    for removed in range(1, 5):
        output = tmp_path / str(removed)
        assert subprocess.run([sys.executable, "-c", ENDED, str(output), str(removed)], check=False).returncode == 9
        assert output.read_text() == "old"
        make(Target(output, resume=True))
        assert output.read_text() == "new"


@pytest.mark.parametrize("finishing", [None, "", "1 2 3\n", "1 2"])
def test_an_output_that_exists_is_no_work_to_go_on_with(finishing: str | None, tmp_path: Path) -> None:
    """A file of that name may be anything, also where a run was killed as it finished."""
    (tmp_path / "out.csv").write_text("precious")
    if finishing is not None:
        (tmp_path / ".out.csv.parts").mkdir()
        (tmp_path / ".out.csv.parts" / "finishing").write_text(finishing)
    with pytest.raises(ScoreError, match="exists already"), Target(tmp_path / "out.csv", resume=True):
        pass


def test_a_link_that_leads_nowhere_is_kept(tmp_path: Path) -> None:
    """It is something, and may lead somewhere tomorrow."""
    link = tmp_path / "out.csv"
    link.symlink_to("gone.csv")
    with pytest.raises(ScoreError, match=re.escape(f"{link} {EXISTS}")):
        make(Target(link))
    assert link.is_symlink()
    make(Target(link, overwrite=True))
    assert link.read_text() == "new"
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("name", ["out.csv", "out.csv.rejected.csv"])
@pytest.mark.parametrize("kept", [False, True])
def test_what_others_made_meanwhile_is_kept(name: str, kept: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """It was not there when the run began, which may have been hours ago."""

    def run(*, overwrite: bool) -> None:
        with Target(tmp_path / "out.csv", overwrite=overwrite, quarantine=True) as target:
            target.unfinished.write_text("new")
            target.unfinished_rejected.write_text("new")
            if kept:
                target.parts.mkdir(exist_ok=True)
                (target.parts / "journal.jsonl").touch()
            (tmp_path / name).write_text("precious")
            target.finish()

    ending = "; what is done is kept: go on with --resume" if kept else ""
    said = f"{tmp_path / name} has appeared meanwhile: allow it to be replaced with --overwrite{ending}"
    with pytest.raises(ScoreError, match=f"^{re.escape(said)}$"):
        run(overwrite=False)
    assert names(tmp_path) == [*[".out.csv.parts"] * kept, name]
    assert (tmp_path / name).read_text() == "precious"
    run(overwrite=True)
    assert names(tmp_path) == ["out.csv", "out.csv.rejected.csv"]
    assert (tmp_path / name).read_text() == "new"


def test_another_run_is_not_finished_by_the_first(tmp_path: Path) -> None:
    """Once somebody has removed what the first one writes, the name is that of another's half."""
    first, second = Target(tmp_path / "out.csv"), Target(tmp_path / "out.csv")
    with first:
        first.unfinished.write_text("whole")
        first.unfinished.unlink()
        with second:
            second.unfinished.write_text("half")
            with pytest.raises(ScoreError, match=r"cannot be written: .*/\.out\.csv\.part was removed meanwhile$"):
                first.finish()
            assert names(tmp_path) == [".out.csv.part"]
            second.unfinished.write_text("whole")
            second.finish()
    assert names(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_full_disk_is_told(kept: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    """With the output's name, and where there are parts with the way to go on from them."""
    program = (
        "import resource, sys; from pathlib import Path; from service.errors import ScoreError\n"
        "from service.scoring.writing.target import Target\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n"
        "    with Target(Path(sys.argv[1])) as target, target.writing():\n"
        "        target.unfinished.write_bytes(bytes(200))\n"
        "except ScoreError as error:\n"
        "    print(error.message)\n"
    )
    if kept:
        (tmp_path / ".out.csv.parts").mkdir()
        (tmp_path / ".out.csv.parts" / "journal.jsonl").touch()
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out.csv")], capture_output=True, text=True, check=True
    )
    ending = "; what is done is kept: go on with --resume" if kept else ""
    assert result.stdout.endswith(f"/out.csv: it cannot be written: File too large{ending}\n")
    assert names(tmp_path) == [".out.csv.parts"] * kept
