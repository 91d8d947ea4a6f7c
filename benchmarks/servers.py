"""Servers in processes of their own: their start and end, their processor time and memory."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.wire import HOST, Reply

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_START_SECONDS = 60


class Server(NamedTuple):
    """A process that listens on a port of this machine."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """The processor's time of all its threads so far, of user and system, in whole ticks of the system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        """The memory that it has now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE


def ours(path: Path | None = None, **settings: str) -> AbstractContextManager[Server]:
    """Our server, with the models at a path (by default `models`) and its settings as a user has them."""
    where = [] if path is None else [str(path)]
    variables = {f"FORWARDPASS_{name.upper()}": value for name, value in settings.items()}
    return _started(["service", "serve", *where, "--log-level", "error", "--port"], variables)


def usual() -> AbstractContextManager[Server]:
    """The usual endpoint."""
    return _started(["benchmarks.usual"])


def empty(reply: Reply) -> AbstractContextManager[Server]:
    """The empty application, which answers with the same headers and body; uvicorn adds the date itself."""
    headers = [header for header in reply.headers if header[0] != "date"]
    return _started(["benchmarks.empty"], given=json.dumps(headers).encode() + b"\n" + reply.body)


@contextmanager
def _started(
    command: Sequence[str], variables: Mapping[str, str] | None = None, given: bytes = b""
) -> Iterator[Server]:
    """A Python module that takes a port as its last argument, run until the end; no setting of the caller's reaches it.

    Raises `RuntimeError` where it ends, or does not listen in time.
    """
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", *command, str(port)], env=clean | dict(variables or {}), stdin=subprocess.PIPE
    )
    try:
        if process.stdin is not None:
            process.stdin.write(given)
            process.stdin.close()
        _wait(process, port)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the process listens."""
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not listen")
