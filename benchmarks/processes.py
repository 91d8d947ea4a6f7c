"""A server in processes of its own: their start and end, their processor time and memory."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from benchmarks.wire import HOST

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60
_STOP_SECONDS = 20
_PORTS = 3
_TOLD = 2000
"""Characters at the end of its log that are shown when something fails."""


class Server(NamedTuple):
    """A process that listens on a port of this machine; its figures are those of all that it started, too."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """The processor's time so far, of user and system, in whole ticks; what has ended counts once waited for."""
        return sum(sum(map(int, fields[11:15])) for fields in _tree(self.pid).values()) / _TICKS

    def resident_bytes(self) -> int:
        """The memory that is resident now, whoever else has a part of it."""
        return self._memory("Rss:")

    def proportional_bytes(self) -> int:
        """The memory that is resident now, each piece divided by how many processes have it."""
        return self._memory("Pss:")

    def anonymous_bytes(self) -> int:
        """The memory that is resident now and no copy of a file."""
        return self._memory("Anonymous:")

    def _memory(self, kind: str) -> int:
        kilobytes = 0
        for pid in _tree(self.pid):
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(kind))
        return kilobytes * 1024


@contextmanager
def started(
    command: Sequence[str],
    answers: Callable[[int], object],
    variables: Mapping[str, str] | None = None,
    given: bytes = b"",
    port: int | None = None,
) -> Iterator[Server]:
    """A command run until the end, from the moment on at which `answers(port)` no longer fails.

    `{0}` to `{2}` in the command and the variables stand for free ports; the first is the one that is asked, and may
    be a `port` that the caller names. No setting
    of ours that the caller has reaches it, what is `given` is its standard input, and what it keeps of its own goes to
    a folder that is removed afterwards. Raises `RuntimeError` where it does not answer; to any error is added what it
    said.
    """
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        (own / "given").write_bytes(given)
        ports = free_ports()
        if port is not None:
            ports[0] = port
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}
        added = {name: value.format(*ports) for name, value in (variables or {}).items()}
        process = subprocess.Popen(
            [word.format(*ports) for word in command],
            cwd=ROOT,
            env=clean | {"HOME": str(own), "TMPDIR": str(own), "PYTHONPATH": str(ROOT)} | added,
            stdin=stack.enter_context((own / "given").open("rb")),
            stdout=stack.enter_context((own / "log").open("wb")),
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, lambda: answers(ports[0]))
            yield Server(process.pid, ports[0])
        except Exception as error:
            said = (own / "log").read_text(errors="replace")[-_TOLD:]
            error.add_note(f"{' '.join(command)} said: {said or 'nothing'}")
            raise
        finally:
            _stop(process)


def free_ports() -> list[int]:
    """Some that nobody has."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(_PORTS)]
        return [one.getsockname()[1] for one in held]


def _wait(process: subprocess.Popen[bytes], answers: Callable[[], object]) -> None:
    """Return once it answers: while it starts it may listen and still refuse, or hang up."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, HTTPException, RuntimeError):
            answers()
            return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started; not every server takes its own processes with it."""
    family = _tree(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    for pid, fields in family.items():
        # A number may have been given to another process meanwhile, but then with another start.
        if (now := _stat(pid)) is not None and now[19] == fields[19]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _tree(root: int) -> dict[int, list[str]]:
    """What the system tells of a process and all that it started, by their numbers."""
    every = {int(path.name): _stat(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()}
    alive = {pid: fields for pid, fields in every.items() if fields is not None}
    found: dict[int, list[str]] = {}
    new = {root} & alive.keys()
    while new:
        found |= {pid: alive[pid] for pid in new}
        new = {pid for pid, fields in alive.items() if int(fields[1]) in new}
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields after the name in /proc/PID/stat; None where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
