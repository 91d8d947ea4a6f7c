"""A rival's processes: their start and end, their processor time and memory."""

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from benchmarks.servers import Server
from benchmarks.wire import HOST, Request

_ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60
_ANSWER_SECONDS = 10
_STOP_SECONDS = 20
_PORTS = 3


@contextmanager
def started(
    environment: Path, command: Sequence[str], variables: Mapping[str, str], request: Request
) -> Iterator[Server]:
    """A program of an environment, run until the end, from its first answer to the request on.

    `{0}` to `{2}` in the command and the variables stand for free ports; the first is the one that is asked. What it
    keeps of its own goes to a folder that is removed afterwards. Raises `RuntimeError` where it does not answer.
    """
    with ExitStack() as stack:
        own = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        log = stack.enter_context((Path(own) / "log").open("w+"))
        ports = _free_ports()
        added = {name: value.format(*ports) for name, value in variables.items()}
        process = subprocess.Popen(
            [environment / "bin" / command[0], *(word.format(*ports) for word in command[1:])],
            cwd=_ROOT,
            env=os.environ | {"HOME": own, "TMPDIR": own, "PYTHONPATH": str(_ROOT)} | added,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, ports[0], request)
            yield Server(process.pid, ports[0])
        except Exception as error:
            log.seek(0)
            raise RuntimeError(f"{command} said: {log.read()[-2000:]}") from error
        finally:
            _stop(process)


def ask(port: int, request: Request) -> bytes:
    """The body of the reply to a request, in chunks or not; raises `RuntimeError` for any but 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)
    with closing(connection):
        connection.request("POST", request.path, request.body, dict(request.headers))
        reply = connection.getresponse()
        body = reply.read()
    if reply.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{request.path} answers {reply.status}: {body.decode(errors='replace')}")
    return body


def cpu_seconds(root: int) -> float:
    """The processor's time of a process and all that it started, with those that have ended and were waited for."""
    return sum(sum(map(int, fields[11:15])) for fields in _tree(root).values()) / _TICKS


def resident_bytes(root: int) -> int:
    """The memory that a process and all that it started have now; what several share is counted once."""
    kilobytes = 0
    for pid in _tree(root):
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(_PORTS)]
        return [one.getsockname()[1] for one in held]


def _wait(process: subprocess.Popen[bytes], port: int, request: Request) -> None:
    """Return once it answers: while it starts it may listen and still refuse, or hang up."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError, http.client.HTTPException, RuntimeError):
            ask(port, request)
            return
        time.sleep(0.05)
    raise RuntimeError("it does not answer")


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
