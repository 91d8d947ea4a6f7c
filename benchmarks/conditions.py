"""Where, with what and how long something was measured."""

import datetime as dt
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks import wrk

SERVING = ("uvicorn", "uvloop", "httptools", "onnxruntime", "numpy", "msgspec", "fastapi", "pydantic", "wrk")
"""What a server and its clients are made of."""


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


def conditions(repeats: int, seconds: int, libraries: Iterable[str] = SERVING) -> Conditions:
    """Those of this machine, today and with these libraries."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return Conditions(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        processor=found[1].strip() if found else "unknown",
        cores=len(os.sched_getaffinity(0)),
        python=sys.version.split()[0],
        versions={name: wrk.version() if name == "wrk" else version(name) for name in libraries},
        repeats=repeats,
        seconds=seconds,
    )
