"""What a run of the benchmarks is told on its command line."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.conditions import Conditions, conditions
from benchmarks.results import FOLDER


class Options(NamedTuple):
    """What to measure, how long and how often, and the folder in which the figures are kept."""

    only: list[str]
    conditions: Conditions
    output: Path


def options(description: str, choices: Iterable[str] = (), seconds: int = 3) -> Options:
    """Those of this process; where there is but one thing to measure, nothing can be chosen."""
    names = list(choices)
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(only=names)
    if names:
        parser.add_argument("--only", choices=names, nargs="+", help="what to measure (default: all)")
    parser.add_argument("--seconds", type=int, default=seconds, help="how long each run takes (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="how often all is measured (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder in which the figures are kept")
    given = parser.parse_args()
    return Options(given.only, conditions(given.repeats, given.seconds), given.output)
