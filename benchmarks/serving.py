"""What a prediction of one row costs over HTTP, beside an empty application and the usual endpoint, by wrk.

Every repeat measures each server in turn, so that all meet the same disturbances; the figures are medians. The cost
is the processor's time of the server's process for each request, as the system counts it.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPEATS = 5
SECONDS = 2
CONNECTIONS = (1, 64)
PATH = "/v1/models/binary_classifier:predict"
BODY = json.dumps({"instances": [[round(0.1 * place - 1, 1) for place in range(20)]]})
SERVERS = {
    "empty": ["benchmarks.empty"],
    "lane": ["service", "serve", "--log-level", "error", "--port"],
    "route": ["service", "serve", "--log-level", "error", "--lane", "off", "--port"],
    "usual": ["benchmarks.usual"],
}
TICKS = os.sysconf("SC_CLK_TCK")


class Figures(NamedTuple):
    """One measurement of one server."""

    cpu_microseconds: float
    requests_a_second: float
    median_microseconds: float


@contextmanager
def started(command: list[str]) -> Iterator[tuple[int, int]]:
    """A server in a process of its own that answers: the process, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", *command, str(port)])
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("POST", PATH, BODY)
                connection.getresponse().read()
                break
            except ConnectionError:
                time.sleep(0.05)
        else:
            raise RuntimeError(f"{command[0]} does not answer")
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """The processor's time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _said(pattern: str, text: str) -> re.Match[str]:
    """What wrk says of itself; raises `RuntimeError` where it says something else."""
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk did not say {pattern}: {text}")
    return found


def measure(pid: int, port: int, connections: int, script: str) -> Figures:
    """One run of wrk."""
    before = cpu_seconds(pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in text:
        raise RuntimeError(f"not every request was answered: {text}")
    count, rate = int(_said(r"(\d+) requests in", text)[1]), float(_said(r"Requests/sec:\s+([\d.]+)", text)[1])
    number, unit = _said(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    return Figures(
        (cpu_seconds(pid) - before) / count * 1e6, rate, float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    )


def main() -> None:
    """Measure, and print a table for each number of connections."""
    with ExitStack() as stack:
        script = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".lua"))
        script.write(
            f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{BODY}]==]\n'
        )
        script.flush()
        servers = {name: stack.enter_context(started(command)) for name, command in SERVERS.items()}
        for connections in CONNECTIONS:
            runs: dict[str, list[Figures]] = {name: [] for name in servers}
            for _ in range(REPEATS):
                for name, (pid, port) in servers.items():
                    runs[name].append(measure(pid, port, connections, script.name))
            middle = {name: Figures(*map(median, zip(*own, strict=True))) for name, own in runs.items()}
            empty = middle["empty"]
            print(f"{connections} connections, medians of {REPEATS} (ratio to the empty application)")
            for name, own in middle.items():
                print(
                    f"  {name:6} {own.cpu_microseconds:7.1f} µs CPU a request ({own.cpu_microseconds / empty[0]:.2f})"
                    f"  {own.requests_a_second:8.0f} requests/s ({own.requests_a_second / empty[1]:.2f})"
                    f"  p50 {own.median_microseconds:8.0f} µs ({own.median_microseconds / empty[2]:.2f})"
                )


if __name__ == "__main__":
    main()
