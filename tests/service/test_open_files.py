"""Behaviour of service.open_files."""

import resource
import subprocess
import sys

import pytest

from service.open_files import allowed, missing
from tests.server import ROOT


@pytest.mark.parametrize(
    ("connections", "may", "more"), [(1000, 1024, 76), (924, 1024, 0), (10, 1024, 0), (10_000, None, 0)]
)
def test_a_connection_is_a_file(connections: int, may: int | None, more: int) -> None:
    """Beside those that a server has open anyway."""
    assert missing(connections, may) == more


def test_what_is_allowed_is_what_the_system_says() -> None:
    """The limit that holds now, not the one up to which it may be raised."""
    assert allowed() in (resource.getrlimit(resource.RLIMIT_NOFILE)[0], None)


@pytest.mark.parametrize(
    ("hard", "expected"), [(5000, "0 1100"), (1050, "50 1050")], ids=["there is room", "there is not"]
)
def test_room_is_made_as_far_as_the_system_lets(hard: int, expected: str) -> None:
    """Up to its hard limit, which stays."""
    program = (
        "import resource; from service.open_files import *; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard})); print(make_room(1000), allowed())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
