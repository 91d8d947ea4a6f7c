"""What scoring files costs, beside a bare loop of pyarrow and onnxruntime, and what is left of it when it is killed.

`python -m benchmarks.scoring` measures it.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.conditions import conditions
from benchmarks.results import FOLDER, store
from benchmarks.scoring_results import BARE_BATCHES, BARE_BLOCKS, SCORE, FileCell, Interruption, ScoreRun, Scoring
from benchmarks.tables import tables
from tests.interrupted import Job, Moment, interrupted, undisturbed
from tests.server import ROOT

VERSION = ROOT / "models" / "binary_classifier" / "2"
_MODEL = "binary_classifier/2"
_FORMATS = {"Parquet": "parquet", "CSV": "csv", "Arrow": "arrow", "JSON Lines": "jsonl"}
_LARGE = ("Parquet", "CSV")
"""Those of which all rows are scored, and a tenth of them; of the others a tenth."""
_LIBRARIES = ("onnxruntime", "numpy", "pyarrow")
_RATE = re.compile(rb"([0-9,]+) rows/s")
"""How the scorer and the bare loop say it, their own start left out."""
_PATIENCE = 600
_MADE = 0.6
"""Of so many processes that are killed each has made a part."""


def costs(folder: Path, rows: int, names: Sequence[str], repeats: int) -> list[FileCell]:
    """Files of so many rows in these formats, which all score in turn."""
    return [_cost(folder, rows, name, repeats) for name in names]


def _cost(folder: Path, rows: int, name: str, repeats: int) -> FileCell:
    print(f"{rows:,} rows of {name}", flush=True)
    source, target = folder / f"in.{_FORMATS[name]}", folder / f"out.{_FORMATS[name]}"
    _make(rows, source)
    files = [str(source), str(target)]
    bare = [sys.executable, "-m", "benchmarks.bare", str(VERSION), *files]
    commands = {
        BARE_BATCHES: [*bare, "--batch", "2048"],
        BARE_BLOCKS: bare,
        SCORE: [sys.executable, "-m", "service", "score", _MODEL, *files],
    }
    runs: dict[str, list[ScoreRun]] = {who: [] for who in commands}
    for _ in range(repeats):
        for who, command in commands.items():
            runs[who].append(_measured(command))
            target.unlink()
    source.unlink()
    return FileCell(name, rows, runs)


def _make(rows: int, *files: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.rows", str(rows), *map(str, files)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=_PATIENCE)


def _measured(command: Sequence[str]) -> ScoreRun:
    """Run a command and look at what it took.

    The system counts to the memory of a process what had the one that started it: this one is kept small.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDPASS_")}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        # It cannot be waited for with `wait`, which would not tell what it took.
        process = subprocess.Popen(command, cwd=ROOT, env=clean, stdout=said, stderr=said)
        timer = threading.Timer(_PATIENCE, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {text.decode(errors='replace')}")
    rate = int(_RATE.findall(text)[-1].replace(b",", b""))
    return ScoreRun(seconds, rate, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def kills(folder: Path, rows: int, count: int) -> list[Interruption]:
    """Files of so many rows, scored by processes of which so many are killed in all, at moments of a fixed seed."""
    found = []
    jobs = _killed(folder, rows)
    for place, (what, job) in enumerate(jobs):
        print(f"kills, {what}", flush=True)
        expected = undisturbed(job, folder / f"quiet-{place}")
        chance = random.Random(place)  # noqa: S311  # no secret
        own = count // len(jobs) + (place < count % len(jobs))
        moments = [Moment(chance.random() < _MADE, chance.random()) for _ in range(own)]
        outcome = interrupted(job, folder / f"killed-{place}", moments)
        is_identical = all(left == expected.left[0] for left in outcome.left)
        found.append(
            Interruption(what, rows, outcome.kills, outcome.resumed, is_identical, expected.seconds, outcome.seconds)
        )
    return found


def _killed(folder: Path, rows: int) -> list[tuple[str, Job]]:
    """What is scored, in words too."""
    text, columns = folder / "in.csv", folder / "in.parquet"
    _make(rows, text, columns)
    return [
        ("CSV to CSV, a column kept", Job(_MODEL, text, "out.csv", ("--keep", "feature_3"))),
        ("CSV to gzipped JSON Lines", Job(_MODEL, text, "out.jsonl.gz")),
        ("Parquet to Parquet, all kept", Job(_MODEL, columns, "out.parquet", ("--keep", "*"))),
    ]


def main() -> None:
    """Measure, print and keep it."""
    parser = argparse.ArgumentParser(
        description="Measure what scoring files costs, and what is left of it when killed."
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the largest files (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="how often all is measured (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="in all (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="in which the files are for a while (default: a temporary one)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder in which the figures are kept")
    given = parser.parse_args()
    began = time.monotonic()
    few = given.rows // 10
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        cells = costs(folder, few, list(_FORMATS), given.repeats) + costs(folder, given.rows, _LARGE, given.repeats)
        interruptions = kills(folder, given.rows // 2, given.kills)
    here = conditions(given.repeats, round((time.monotonic() - began) / given.repeats), _LIBRARIES)
    part = Scoring(here, cells, interruptions)
    store(given.output, part)
    print(f"\n{tables(part)}\n", flush=True)


if __name__ == "__main__":
    main()
