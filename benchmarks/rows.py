"""Makes files of random rows of 20 numbers, as `binary_classifier` takes them: of any size, always the same of a seed.

Run as `python -m benchmarks.rows 10000000 rows.parquet rows.csv`; the format goes by the name.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.bare import NAMES, writing

SCHEMA = pa.schema([(name, pa.float64()) for name in NAMES])
_GROUP = 1 << 20
"""Rows that are in memory together, and that pyarrow puts into a row group of a Parquet file by default."""
_BATCH = 1 << 16
"""Rows that are written together to files of other formats."""
_SPREAD = 1.5


def write(rows: int, paths: list[Path], seed: int = 0) -> None:
    """Write the same rows into each of the files."""
    with ExitStack() as stack:
        writers = [(path, stack.enter_context(closing(writing(path, SCHEMA)))) for path in paths]
        for group in _groups(rows, seed):
            for path, writer in writers:
                size = _GROUP if path.suffix == ".parquet" else _BATCH
                for first in range(0, len(group), size):
                    writer.write_batch(group.slice(first, size))


def _groups(rows: int, seed: int) -> Iterator[pa.RecordBatch]:
    generator = np.random.default_rng(seed)
    for first in range(0, rows, _GROUP):
        values = generator.normal(0, _SPREAD, (len(NAMES), min(_GROUP, rows - first)))
        yield pa.record_batch(list(values), SCHEMA)


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description="Make files of random rows of 20 numbers.")
    parser.add_argument("rows", type=int, help="how many")
    parser.add_argument("files", type=Path, nargs="+", help="named .parquet, .csv, .jsonl or .arrow")
    parser.add_argument("--seed", type=int, default=0, help="of another one the rows are others (default: %(default)s)")
    given = parser.parse_args()
    write(given.rows, given.files, given.seed)


if __name__ == "__main__":
    main()
