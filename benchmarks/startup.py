"""Seconds from the start of the process to the first 200 of /v2/health/ready, the models of models/ loaded."""

import http.client
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
STARTS = 7


def seconds_to_ready() -> float:
    """One start, measured; the server is stopped again."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening on" in line)
        address = line.split("http://")[1].split(",")[0]
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
        ended = time.perf_counter()
        connection.close()
    finally:
        process.terminate()
        process.communicate()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"the server listens, but answers {status}")
    return ended - began


if __name__ == "__main__":
    times = sorted(seconds_to_ready() for _ in range(STARTS))
    print(f"ready after {median(times):.2f} s (median of {STARTS}; {times[0]:.2f} to {times[-1]:.2f})")
