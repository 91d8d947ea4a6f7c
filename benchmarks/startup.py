"""Seconds from the start of the process to the first 200 of /v2/health/ready, every version in models/ loaded."""

import http.client
import time
from statistics import median

from tests.server import running

STARTS = 7


def seconds_to_ready() -> float:
    """One start, measured; the server is stopped again."""
    began = time.perf_counter()
    with running("--versions", "all") as server:
        connection = http.client.HTTPConnection(server.address, timeout=10)
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
        ended = time.perf_counter()
        connection.close()
    if status != http.HTTPStatus.OK:
        raise RuntimeError(f"the server listens, but answers {status}")
    return ended - began


if __name__ == "__main__":
    times = sorted(seconds_to_ready() for _ in range(STARTS))
    print(f"ready after {median(times):.2f} s (median of {STARTS}; {times[0]:.2f} to {times[-1]:.2f})")
