"""One run of wrk."""

import json
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from benchmarks.wire import HOST, Request

# It says all that it measured, with nothing rounded.
_DONE = """
done = function(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "failed": %d}',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
"""

_NEW_HEADS = """
local run, number = os.time() .. "-", 0
request = function()
  number = number + 1
  wrk.headers["X-Other"] = run .. number
  return wrk.format()
end
"""

_SATURATING = 64


class Load(NamedTuple):
    """What a run of wrk saw; latencies are in microseconds."""

    requests: int
    requests_a_second: float
    p50: float
    p99: float


def load(port: int, request: Request, connections: int, seconds: int) -> Load:
    """Send the request again and again on so many connections, each waiting for its reply before the next.

    Raises `RuntimeError` where not every request was answered with success.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(request))
        script.flush()
        command = [_program(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        done = subprocess.run(
            [*command, "--script", script.name, f"http://{HOST}:{port}{request.path}"],
            capture_output=True,
            text=True,
            check=True,
        )
    said = json.loads(done.stderr)
    if said["failed"] or not said["requests"]:
        raise RuntimeError(f"not every request to {request.path} was answered: {done.stdout}")
    return Load(said["requests"], said["requests"] / said["microseconds"] * 1e6, said["p50"], said["p99"])


def capacity_of(port: int, request: Request, seconds: int) -> float:
    """Requests a second that a server answers when there are always as many as it takes to keep it busy."""
    return load(port, request, _SATURATING, seconds).requests_a_second


def version() -> str:
    """The version of wrk."""
    # It says so together with how to use it, which it takes for a failure.
    command = [_program(), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()[1]


def _program() -> str:
    """Where wrk lies; raises `RuntimeError` where it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("wrk is not installed: on Debian, apt-get install wrk")
    return found


def _script(request: Request) -> str:
    headers = "".join(f"wrk.headers[{_text(name)}] = {_text(value)}\n" for name, value in request.headers)
    body = "".join(f"\\{byte:03d}" for byte in request.body)
    new_heads = _NEW_HEADS if request.new_heads else ""
    return f'wrk.method = "POST"\n{headers}wrk.body = "{body}"\n{new_heads}{_DONE}'


def _text(value: str) -> str:
    return json.dumps(value)
