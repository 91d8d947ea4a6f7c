"""Behaviour of service.workers, in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

SCRIPT = """
import os, select, signal, sys
from service.workers import Supervisor

count, seconds, way = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def tell(what, number):
    # In one piece, whoever else writes.
    os.write(1, f"{what} {number} {os.getpid()}\\n".encode())

class Duty:
    def work(self, worker):
        while worker.number and not worker.at_work[0] and way.startswith("one"):
            os.sched_yield()
        if way == "none comes" or (way == "one does not come" and worker.number == 1):
            tell("tries", worker.number)
            return 3
        if way == "one is slow" and worker.number == 1:
            tell("tries", worker.number)
            signal.pause()
        if way == "one raises" and worker.number == 1:
            tell("tries", worker.number)
            raise ValueError("broken")
        is_first = worker.is_first
        worker.tell_ready()
        tell("first" if is_first else "works", worker.number)
        if way == "deaf":
            while True:
                signal.pause()
        select.select([worker.end], [], [])
        tell("ends", worker.number)
        return 0

    def replaced(self):
        tell("replaces", 0)

    def rest(self, number):
        tell("rests", number)

    def end(self):
        tell("ending", 0)

if way == "bare":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stderr = None
try:
    sys.exit(Supervisor(count, Duty(), seconds=seconds).run())
finally:
    if way == "bare":
        tell("over", 0)
"""


class Told(NamedTuple):
    """A line of the script: what happened, to which worker, in which process."""

    what: str
    number: int
    process: int


class Supervised(NamedTuple):
    """The script's process."""

    process: subprocess.Popen[str]

    def next(self) -> Told:
        """What it tells next."""
        assert self.process.stdout is not None
        what, number, process = self.process.stdout.readline().rsplit(maxsplit=2)
        return Told(what, int(number), int(process))

    def read(self, count: int) -> list[Told]:
        """So much of what it tells."""
        return [self.next() for _ in range(count)]

    def rest(self) -> list[str]:
        """What it tells until all are gone."""
        assert self.process.stdout is not None
        return sorted(line.split()[0] for line in self.process.stdout)

    def log(self) -> str:
        """What it wrote to standard error, to the end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def supervised(count: int, way: str = "", seconds: float = 60) -> Iterator[Supervised]:
    """Workers of a kind under their supervisor; what is left of them at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(count), str(seconds), way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        with process:
            yield Supervised(process)
            process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_workers_end_when_the_supervisor_is_told_to(sent: signal.Signals, status: int) -> None:
    """All of them, and it only then; one of them speaks for all."""
    with supervised(3) as scene:
        begun = scene.read(3)
        assert sorted((one.what, one.number) for one in begun) == [("first", 0), ("works", 1), ("works", 2)]
        assert len({one.process for one in begun}) == 3
        scene.process.send_signal(sent)
        assert scene.rest() == ["ending", "ends", "ends", "ends"]
    assert scene.process.returncode == status


def test_who_is_killed_is_replaced_at_once() -> None:
    """Under its number, by one that speaks for nobody; the others go on."""
    with supervised(2) as scene:
        begun = {one.number: one.process for one in scene.read(2)}
        for killed in (0, 1, 0):
            os.kill(begun[killed], signal.SIGKILL)
            assert scene.next().what == "replaces"
            new = scene.next()
            assert new[:2] == ("works", killed)
            begun[killed] = new.process
        scene.process.terminate()
        scene.rest()
        assert scene.log().count("ended by SIGKILL and is replaced") == 3
    assert scene.process.returncode == 0


def test_the_environment_may_be_bare() -> None:
    """Where who started it ignores the end of processes and closed the log, workers are replaced and end all the same.

    The process of none goes on as the supervisor's that it was before.
    """
    with supervised(2, "bare") as scene:
        killed = scene.next().process
        scene.next()
        os.kill(killed, signal.SIGKILL)
        assert [one.what for one in scene.read(2)] == ["replaces", "works"]
        scene.process.terminate()
        assert scene.rest() == ["ending", "ends", "ends", "over"]
    assert scene.process.returncode == 0


def test_workers_end_when_their_supervisor_is_gone() -> None:
    """However it went."""
    with supervised(3) as scene:
        scene.read(3)
        scene.process.kill()
        assert scene.rest() == ["ends", "ends", "ends"]


def test_where_no_worker_comes_to_work_all_is_ended() -> None:
    """What keeps the first from it would keep the others, for ever."""
    with supervised(2, "none comes") as scene:
        assert "ending" in scene.rest()
        assert "ended with status 3 before any was at work" in scene.log()
    assert scene.process.returncode == 1


@pytest.mark.parametrize(
    ("way", "said"), [("one does not come", "ended with status 3"), ("one raises", "ValueError: broken")]
)
def test_who_does_not_come_to_work_is_tried_again_after_a_pause(way: str, said: str) -> None:
    """Twice as long each time, while the others work."""
    with supervised(2, way) as scene:
        told = [(one.what, one.number) for one in scene.read(8)]
        # The other tries once this one is at work, which may be before it has said so here.
        told.remove(("first", 0))
        assert told == [("tries", 1), ("replaces", 0), ("rests", 1)] * 2 + [("tries", 1)]
        scene.process.terminate()
        scene.rest()
        assert scene.log().count(said) >= 2


def test_who_is_yet_to_come_to_work_keeps_nobody_waiting() -> None:
    """It ends at once with the others."""
    with supervised(2, "one is slow") as scene:
        scene.read(2)
        scene.process.terminate()
        assert scene.rest() == ["ending", "ends"]
    assert scene.process.returncode == 0


def test_a_second_signal_hurries() -> None:
    """Who does not listen to the first is ended by it."""
    with supervised(2, "deaf") as scene:
        scene.read(2)
        scene.process.terminate()
        assert scene.next().what == "ending"
        scene.process.terminate()
        assert scene.rest() == []
    assert scene.process.returncode == 0


def test_who_does_not_end_in_time_is_killed() -> None:
    """A worker that hangs keeps nobody waiting for ever."""
    with supervised(2, "deaf", seconds=-4.9) as scene:
        scene.read(2)
        scene.process.terminate()
        assert scene.rest() == ["ending"]
        assert "2 workers have not ended in time and are killed" in scene.log()
    assert scene.process.returncode == 0
