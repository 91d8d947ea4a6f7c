"""What a prediction costs over HTTP: `python -m benchmarks.serving` measures, prints and keeps it.

Everything that is compared is measured in one run, in turn, on one machine. `benchmarks/report.py` makes tables and
plots of what was kept.
"""

from collections.abc import Callable

from benchmarks import counting, heavy, light, memory, scraping
from benchmarks.conditions import Conditions
from benchmarks.options import options
from benchmarks.results import Part, store
from benchmarks.serving_results import Metrics
from benchmarks.tables import tables

PARTS: dict[str, Callable[[Conditions], Part]] = {
    "light": light.measure,
    "heavy": heavy.measure,
    "metrics": lambda under: Metrics(under, counting.measure(under), scraping.measure()),
    "memory": memory.measure,
}


def main() -> None:
    """Measure the parts that are named, by default all."""
    given = options("Measure what a prediction costs over HTTP.", PARTS)
    for name in given.only:
        part = PARTS[name](given.conditions)
        store(given.output, part)
        print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
