"""What several tests of models look at."""

import gc
import os
from pathlib import Path


def copies_held_before() -> int:
    """How many there are once what other tests have left is gone, as it might be at any moment."""
    gc.collect()
    return copies_held()


def copies_held() -> int:
    """How many copies of files this process holds in memory."""
    return sum(os.path.realpath(entry).startswith("/memfd:") for entry in Path("/proc/self/fd").iterdir())
