"""What a prediction costs over HTTP: `python -m benchmarks.serving` measures, prints and keeps it.

Everything that is compared is measured in one run, in turn, on one machine. `benchmarks/report.py` makes tables and
plots of what was kept.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import counting, heavy, light, memory, scraping
from benchmarks.results import FOLDER, Conditions, Metrics, Part, conditions, store
from benchmarks.tables import tables

PARTS: dict[str, Callable[[Conditions], Part]] = {
    "light": light.measure,
    "heavy": heavy.measure,
    "metrics": lambda under: Metrics(under, counting.measure(under), scraping.measure()),
    "memory": memory.measure,
}


def main() -> None:
    """Measure the parts that are named, by default all."""
    parser = argparse.ArgumentParser(description="Measure what a prediction costs over HTTP.")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="the parts to measure")
    parser.add_argument("--seconds", type=int, default=3, help="how long each run takes (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="how often all is measured (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder in which the figures are kept")
    options = parser.parse_args()
    under = conditions(options.repeats, options.seconds)
    for name in options.only:
        part = PARTS[name](under)
        store(options.output, part)
        print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
