"""Behaviour of service.scoring.progress."""

import io
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.scoring.progress import display, duration

LOG = "service.scoring.progress"


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def logged(caplog: pytest.LogCaptureFixture, total: int, *steps: tuple[float, int, int, int]) -> list[str]:
    """What is logged of a run: each step is the seconds it takes, then bytes, rows and rejected rows."""
    clock = Clock()
    with caplog.at_level(logging.INFO, LOG), display(total, io.StringIO(), clock) as shown:
        for seconds, size, rows, rejected in steps:
            clock.now += seconds
            shown.advance(size, rows, rejected)
    return caplog.messages


def test_a_long_run_logs_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """Every five seconds, however often it is told."""
    steps = [(0.5, 10_000, 125_000, 0)] * 29
    assert logged(caplog, 400_000, *steps) == [
        "1,250,000 rows scored, 25 % of the input, 250,000 rows/s, 15 s left",
        "2,500,000 rows scored, 50 % of the input, 250,000 rows/s, 10 s left",
    ]


def test_without_a_stream_it_logs(caplog: pytest.LogCaptureFixture) -> None:
    """As a program wants it that calls the scorer."""
    clock = Clock()
    with caplog.at_level(logging.INFO, LOG), display(0, None, clock) as shown:
        clock.now += 5
        shown.advance(0, 5, 0)
    assert caplog.messages == ["5 rows scored, 1 rows/s"]


def test_a_short_run_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its summary follows at once."""
    assert logged(caplog, 100, (4.9, 100, 10, 0)) == []


def test_an_input_of_unknown_size_has_no_share(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows how long it takes."""
    assert logged(caplog, 0, (5, 0, 1000, 0)) == ["1,000 rows scored, 200 rows/s"]


def test_rejected_rows_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """They are some of the rows."""
    assert logged(caplog, 100, (5, 50, 1000, 10)) == [
        "1,000 rows scored, 10 of them rejected, 50 % of the input, 200 rows/s, 5 s left"
    ]


def test_a_file_that_grew_is_done_to_no_more_than_all(caplog: pytest.LogCaptureFixture) -> None:
    """Sizes are those of the beginning."""
    assert logged(caplog, 100, (5, 150, 1000, 0)) == ["1,000 rows scored, 100 % of the input, 200 rows/s, 0 s left"]


def test_what_an_earlier_run_did_says_nothing_of_the_pace(caplog: pytest.LogCaptureFixture) -> None:
    """It counts for the share alone, however fast it was taken over."""
    clock = Clock()
    with caplog.at_level(logging.INFO, LOG), display(1000, io.StringIO(), clock) as shown:
        shown.advance(500, 5000, 0)
        clock.now += 1
        shown.begin()
        clock.now += 5
        shown.advance(100, 1000, 0)
    assert caplog.messages == ["6,000 rows scored, 60 % of the input, 200 rows/s, 20 s left"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3600, "1 h 0 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_a_time_is_told_in_words(seconds: float, words: str) -> None:
    """In no more than two units."""
    assert duration(seconds) == words


PROGRAM = """
import sys
from service.scoring.progress import display
now = 0.0
with display(int(sys.argv[1]), sys.stderr, lambda: now) as shown:
    for _ in range(50):
        now += 0.25
        shown.advance(10, 1000, 1)
sys.stderr.write("the end")
"""


def seen(total: int) -> str:
    """All that a run writes to a terminal of 100 columns."""
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", PROGRAM, str(total)]
    with subprocess.Popen(command, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        content = b""
        while not content.endswith(b"the end"):
            content += os.read(mine, 4096)
        assert process.wait() == 0
    os.close(mine)
    return content.decode()


def test_a_terminal_shows_a_bar() -> None:
    """With the share, the pace and the time that is left; in the end it is gone."""
    shown = seen(1000)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"━.* +20% 20,000 rows \(20 rejected\), 4,000 rows/s, 20 s left", plain)
    assert re.search(r"━.* +40% 40,000 rows \(40 rejected\), 4,000 rows/s, 15 s left", plain)
    # Cursor up and line erased, so that what follows stands where the bar was.
    assert re.search(r"\x1b\[1A\x1b\[2K(\x1b\[\?25h)?the end$", shown)


def test_a_terminal_shows_the_rows_of_an_input_of_unknown_size() -> None:
    """Without a bar, which could not be filled."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen(0))
    assert "20,000 rows (20 rejected), 4,000 rows/s" in plain
    assert "━" not in plain
    assert "left" not in plain


def test_what_is_no_terminal_shows_no_bar(tmp_path: Path) -> None:
    """A file or a pipe gets no control characters."""
    with (tmp_path / "log").open("w+") as file:
        subprocess.run([sys.executable, "-c", PROGRAM, "0"], stderr=file, check=True)
        file.seek(0)
        assert file.read() == "the end"
