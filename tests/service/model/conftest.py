"""What several tests of models look at."""

import os
from pathlib import Path


def copies_held() -> int:
    """How many copies of files this process holds in memory."""
    return sum(os.path.realpath(entry).startswith("/memfd:") for entry in Path("/proc/self/fd").iterdir())
