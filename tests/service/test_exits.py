"""Behaviour of service.exits."""

import signal
import subprocess
import sys

import pytest

from service.exits import status_after

SCRIPT = """
import signal, sys
from service.exits import exit_at_once

number = int(sys.argv[1])
signal.signal(number, exit_at_once)
try:
    signal.raise_signal(number)
finally:
    print("not at once", flush=True)
"""

STATUSES = pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])


@STATUSES
def test_a_server_that_was_asked_to_stop_succeeds(number: int, status: int) -> None:
    """SIGTERM asks for an orderly end; of another signal the status tells the number, as a shell has it."""
    assert status_after(number) == status


@STATUSES
def test_a_process_ends_at_once(number: int, status: int) -> None:
    """With that status, and without anything that it would do at its end."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT, str(number)], capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", b"")
