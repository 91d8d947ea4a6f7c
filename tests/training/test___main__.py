"""Behaviour of training.__main__."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from training.__main__ import main, train_all
from training.pipeline import Produced
from training.publish import publish
from training.tasks import TASKS

REPOSITORY = Path(__file__).parents[2]


def run_on_a_terminal(*arguments: str, folder: Path) -> tuple[int, str]:
    """Run the command in a process of its own, as another user elsewhere would; its status, what it shows."""
    environment = {
        **os.environ,
        "HOME": "/home/somebody",
        "USER": "somebody",
        "PYTHONPATH": str(REPOSITORY),
        "TERM": "xterm",
        "COLUMNS": "150",
    }
    reading, writing = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "training", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    shown = b""
    with process:
        try:
            while chunk := os.read(reading, 4096):
                shown += chunk
        except OSError:
            # How Linux says that nobody holds the terminal's other end any more.
            os.close(reading)
    return process.returncode, shown.decode()


def test_another_user_elsewhere_publishes_the_same_bytes(tmp_path: Path, binary_classifier: Produced) -> None:
    """A process with another home, user and folder shows its epochs, then writes the same bytes.

    An early stop is shown as done: its bar is full.
    """
    status, shown = run_on_a_terminal("binary_classifier", "--output", "models", folder=tmp_path)
    assert status == 0, shown
    assert "5/5" in shown
    assert "200/200" in shown
    assert "published" in shown
    assert publish(tmp_path / "models", binary_classifier.manifest, binary_classifier.files) == "unchanged"


def test_a_second_run_changes_nothing(
    tmp_path: Path, binary_classifier: Produced, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the figures of each task, in lines that a log can hold."""
    publish(tmp_path, binary_classifier.manifest, binary_classifier.files)
    assert main(["binary_classifier", "--output", str(tmp_path)]) == 0
    first, second = (line for line in capsys.readouterr().out.splitlines() if "binary_classifier" in line)
    for word in ("test_accuracy 0.6600", "majority_class 0.5350", "unchanged"):
        assert word in first
    for word in ("test_accuracy 0.8600", "logistic_regression 0.8550", "published"):
        assert word in second


def test_other_bytes_are_refused_in_one_line(
    tmp_path: Path, binary_classifier: Produced, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that is published with other bytes ends with status 1 and is left alone."""
    publish(tmp_path, binary_classifier.manifest, {"model.onnx": b"other"})
    assert main(["binary_classifier", "--output", str(tmp_path)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("binary_classifier version 1 was not published: ")
    assert (tmp_path / "binary_classifier" / "1" / "model.onnx").read_bytes() == b"other"


def test_replace_exchanges_them(
    tmp_path: Path, binary_classifier: Produced, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever means it says so."""
    publish(tmp_path, binary_classifier.manifest, {"model.onnx": b"other"})
    assert main(["binary_classifier", "--replace", "--output", str(tmp_path)]) == 0
    assert "replaced" in capsys.readouterr().out


def test_check_finds_the_same_bytes_again(
    tmp_path: Path, binary_classifier: Produced, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each version it says what was found; a version that is not there is a difference, and is not written."""
    publish(tmp_path, binary_classifier.manifest, binary_classifier.files)
    assert main(["binary_classifier", "--check", "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "identical" in shown.out
    assert shown.err.splitlines() == [
        f"binary_classifier version 2 is not what it was: it is not published in {tmp_path}"
    ]
    assert [path.name for path in (tmp_path / "binary_classifier").iterdir()] == ["1"]


def test_check_and_replace_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """What only compares never writes."""
    with pytest.raises(SystemExit):
        main(["--check", "--replace"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_failed_gate_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """The task that failed is named with its reason, the next one is finished, the status is 1."""
    good = TASKS["binary_classifier"][0]
    lazy = dataclasses.replace(good, version=2, recipe=dataclasses.replace(good.recipe, learning_rate=1e-30))
    finished: list[int] = []

    def finish(produced: Produced) -> str:
        finished.append(produced.manifest.version)
        return "done"

    assert train_all([lazy, good], finish, Console(width=150)) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("binary_classifier version 2 was not published: the training loss does not fall ")
    assert len(shown.err.splitlines()) == 1
    assert "done" in shown.out
    assert finished == [1]


def test_an_unknown_task_is_answered_with_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the keyboard costs no training."""
    with pytest.raises(SystemExit) as stop:
        main(["sum_of_four"])
    assert stop.value.code == 2
    assert f"unknown task sum_of_four; known are {', '.join(TASKS)}" in capsys.readouterr().err


def test_list_shows_every_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and descriptions come out, and nothing is trained."""
    assert main(["--list", "--output", str(tmp_path)]) == 0
    # A long description goes on in the next line.
    shown = " ".join(capsys.readouterr().out.split())
    for versions in TASKS.values():
        for task in versions:
            assert task.name in shown
            assert task.description in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["--data", "mnist"], ["digits", "--data", "mnist"], ["ten_features", "--data", "d"]]
)
def test_mnists_files_are_for_digits_and_another_folder(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """They train a model of another shape, which must not take the place of the published one."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "--data goes with the task digits alone, and with an --output of its own" in capsys.readouterr().err


def test_missing_files_of_mnist_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first file that is not there is named, and nothing is published."""
    assert main(["digits", "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--output", "--data"])
def test_an_empty_folders_name_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that is not set in a script does not mean the current folder."""
    with pytest.raises(SystemExit) as caught:
        main(["binary_classifier", option, ""])
    assert caught.value.code == 2
    assert f"argument {option}: the name of the folder is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--output", "{}/file/models"], "file/models cannot be written: Not a directory"),
        (["--output", "{}/file"], "file cannot be written: File exists"),
        (["--output", "/proc/models"], "/proc/models cannot be written: No such file or directory"),
        (["--check", "--output", "{}/none"], "none to compare with"),
    ],
)
def test_a_folder_that_cannot_do_is_told_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    """Nobody waits for a training whose result has no place; no folder is left behind."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SystemExit) as caught:
        main(["binary_classifier", *(argument.format(tmp_path) for argument in arguments)])
    assert caught.value.code == 2
    assert fault in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_check_goes_on_after_a_version_it_cannot_read(
    tmp_path: Path, binary_classifier: Produced, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in a version's folder is a difference like another: no traceback, and the table is there."""
    for version in (1, 2):
        manifest = binary_classifier.manifest.model_copy(update={"version": version})
        publish(tmp_path, manifest, binary_classifier.files)
    (tmp_path / "binary_classifier" / "2" / "extra").mkdir()
    assert main(["binary_classifier", "--check", "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "identical" in shown.out
    (line,) = shown.err.splitlines()
    assert "extra" in line
