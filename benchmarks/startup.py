"""What loading takes: seconds to readiness with every version in models/, and what a large one takes from others."""

import http.client
import time
from statistics import median

from benchmarks import loading
from tests.server import running

STARTS = 7
LOADS = 5


def seconds_to_ready() -> float:
    """From the start of the process to the first 200 of /v2/health/ready; the server is stopped again."""
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
    loads, waits = zip(*loading.measure(LOADS), strict=True)
    print(
        f"{loading.MEBIBYTES} MiB loaded in {median(loads):.2f} s, in which another thread waits at most "
        f"{median(waits) * 1e3:.1f} ms (medians of {LOADS}; at most {max(waits) * 1e3:.1f} ms)"
    )
