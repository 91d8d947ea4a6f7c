"""A server in a process of its own, for tests of the whole system."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.certificates import Certificates

ROOT = Path(__file__).parent.parent
LISTENING = re.compile(r"listening on (https?://\S+?),")


@dataclass
class Server:
    """A running server; `url` is where it listens, `log` what it has written so far."""

    process: subprocess.Popen[str]
    url: str = ""
    log: list[str] = field(default_factory=list)
    trust: ssl.SSLContext | None = None
    """What its clients need where it speaks TLS."""
    _reader: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.partition("://")[2]

    @property
    def endpoint(self) -> tuple[str, int]:
        """Host and port, apart."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def connect(self, timeout: float = 60) -> socket.socket:
        """A connection of its own."""
        connection = socket.create_connection(self.endpoint, timeout=timeout)
        if self.trust is None:
            return connection
        return self.trust.wrap_socket(connection, server_hostname=self.endpoint[0])

    def client(self, timeout: float = 60) -> httpx.Client:
        """A client that keeps its connection."""
        return httpx.Client(base_url=self.url, timeout=timeout, verify=self.trust or True)

    def wait_until_it_listens(self) -> None:
        """Read the log up to the line that names the address; the rest is read as it comes."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := LISTENING.search(line):
                self.url = found[1]
                break
        else:
            raise AssertionError(f"the server ended before it listened: {''.join(self.log)}")
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()))
        self._reader.start()

    def close(self) -> None:
        """Kill the process where it still runs, and read its log to the end."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._reader is not None:
            self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def stop(self, pid: int | None = None) -> int:
        """Send SIGTERM to `pid`, by default the process that was started, and return that one's exit status."""
        os.kill(pid or self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextmanager
def running(
    *flags: str,
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    certificates: Certificates | None = None,
    group: bool = False,
) -> Iterator[Server]:
    """A server started by a command (by default `forwardpass serve`) and listening on a free port.

    It speaks TLS where there are certificates, and leads a group of processes of its own where that is asked for. No
    setting of the caller's own environment reaches it. What still runs
    at the end is killed.
    """
    if certificates is not None:
        flags = (*flags, "--tls-certificate", str(certificates.server), "--tls-key", str(certificates.server_key))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}
    process = subprocess.Popen(
        [*(command or [sys.executable, "-m", "service", "serve"]), *flags],
        cwd=cwd,
        env=clean | {"FORWARDPASS_PORT": "0"} | dict(environment or {}),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=group,
    )
    server = Server(process, trust=certificates and certificates.trust())
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.close()


def free_port() -> int:
    """A port that nobody has, and that a server may take again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
