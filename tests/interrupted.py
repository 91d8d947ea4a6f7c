"""A file that is scored by processes which are killed, at moments that go by what they have done."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.server import ROOT

_TICK = 0.002
"""Seconds between two looks at how far a process has come."""


Process = subprocess.Popen[bytes]


class Job(NamedTuple):
    """What is to be scored, and how."""

    model: str
    source: Path
    name: str
    """Of the output."""
    flags: Sequence[str] = ()

    def command(self, folder: Path, *flags: str) -> list[str]:
        """The command that scores it into a folder."""
        files = [str(self.source), str(folder / self.name)]
        return [sys.executable, "-m", "service", "score", self.model, *files, *self.flags, *flags]


class Moment(NamedTuple):
    """When a process is killed: so many seconds after it has begun or, if it is to, has made a part."""

    has_part: bool
    seconds: float


class Outcome(NamedTuple):
    """What came of processes that were killed."""

    kills: int
    resumed: int
    """How many went on behind a part that another had left, until they had made one themselves."""
    left: list[dict[str, str]]
    """Each time it was done, the files in the folder, with the checksums of their bytes."""
    seconds: float


def environment() -> dict[str, str]:
    """The caller's, without settings of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}


def undisturbed(job: Job, folder: Path) -> Outcome:
    """The job done by one process in a new folder."""
    return interrupted(job, folder, [])


def interrupted(job: Job, folder: Path, moments: Sequence[Moment], pause: float = 0.0) -> Outcome:
    """The job done in a new folder by processes that are killed one after the other; each is resumed by the next.

    Where one is done before its moment, the job is begun again. With a `pause`, those that are to make a part stand
    still for so many seconds, after which one is due.
    """
    folder.mkdir()
    log = folder / "log"
    began = time.monotonic()
    waiting = deque(moments)
    kills = resumed = 0
    left: list[dict[str, str]] = []
    while waiting or not left:
        own = folder / str(len(left))
        own.mkdir()
        is_whole = False
        while not is_whole:
            before = _journal(own, job.name)
            with _start(job.command(own, *["--resume"] * bool(kills)), log) as process:
                if waiting:
                    _wait(process, job.name, own, waiting[0], pause)
                    process.kill()
            # One that is killed when all is done has nothing to be gone on with.
            is_whole = process.returncode != -signal.SIGKILL or not any(own.glob(".*"))
            if process.returncode == -signal.SIGKILL:
                waiting.popleft()
                kills += 1
                now = _journal(own, job.name)
                resumed += before.count(b"\n") > 1 and len(now) > len(before) and now.startswith(before)
        if process.returncode not in (0, 3, -signal.SIGKILL):
            command = " ".join(job.command(own))
            raise RuntimeError(f"{command} has ended with {process.returncode}: {log.read_text()}")
        left.append(checksums(own))
    return Outcome(kills, resumed, left, time.monotonic() - began)


def _wait(process: Process, name: str, folder: Path, moment: Moment, pause: float) -> None:
    """Until the moment has come, or the process has ended."""
    while not holds(process, folder / f".{name}.part") and not _ended(process):
        pass
    if moment.has_part:
        before = _journal(folder, name)
        if pause:
            _ended(process, moment.seconds)
            process.send_signal(signal.SIGSTOP)
            _ended(process, pause)
            process.send_signal(signal.SIGCONT)
        while _journal(folder, name) in (before, b"") and not _ended(process):
            pass
    _ended(process, moment.seconds)


def holds(process: Process, path: Path) -> bool:
    """Whether the process has the file open."""
    with suppress(OSError):
        return any(one.samefile(path) for one in Path(f"/proc/{process.pid}/fd").iterdir())
    return False


def _start(command: Sequence[str], log: Path) -> Process:
    with log.open("wb") as said:
        return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=said, stderr=said)


def _ended(process: Process, seconds: float = _TICK) -> bool:
    """Whether it has ended within this time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _journal(folder: Path, name: str) -> bytes:
    try:
        return (folder / f".{name}.parts" / "journal.jsonl").read_bytes()
    except FileNotFoundError:
        return b""


def checksums(folder: Path) -> dict[str, str]:
    """Of each file; a folder has none."""
    return {str(path.relative_to(folder)): _checksum(path) for path in sorted(folder.rglob("*"))}


def _checksum(path: Path) -> str:
    if path.is_dir():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
