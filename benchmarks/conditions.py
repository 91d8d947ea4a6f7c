"""Where, with what and how long something was measured."""

import datetime as dt
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import wrk

_LIBRARIES = ("uvicorn", "uvloop", "httptools", "onnxruntime", "numpy", "msgspec", "fastapi", "pydantic")


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Where, with what and how long it was measured."""

    date: str
    processor: str
    cores: int
    python: str
    versions: dict[str, str]
    repeats: int
    seconds: int
    """Of each run."""


def conditions(repeats: int, seconds: int) -> Conditions:
    """Those of this machine, today."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return Conditions(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        processor=found[1].strip() if found else "unknown",
        cores=len(os.sched_getaffinity(0)),
        python=sys.version.split()[0],
        versions={**{name: version(name) for name in _LIBRARIES}, "wrk": wrk.version()},
        repeats=repeats,
        seconds=seconds,
    )
