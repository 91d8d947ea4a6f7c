"""The image that scores, on files that are mounted into it."""

import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from tests.image.engine import Engine
from tests.server import ROOT

ROWS = 20_000
COLUMNS = ("first_addend", "second_addend", "third_addend")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of rows that everyone may write into."""
    chance = random.Random(0)  # noqa: S311  # rows, not secrets
    rows = pa.table({name: [chance.uniform(-9, 9) for _ in range(ROWS)] for name in COLUMNS})
    parquet.write_table(rows, tmp_path / "rows.parquet")
    csv.write_csv(rows, tmp_path / "rows.csv")
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_it_writes_the_bytes_that_are_written_outside(engine: Engine, batch_image: str, data: Path, name: str) -> None:
    """As nobody, from a root that is read-only."""
    volume = ("--volume", f"{data}:/data")
    done = engine.run(batch_image, "score", "sum_of_three", f"/data/{name}", f"/data/inside.{name}", options=volume)
    assert done.returncode == 0, done.stderr
    assert f"{ROWS:,} rows scored by sum_of_three version 2" in done.stdout
    outside = [
        sys.executable,
        "-m",
        "service",
        "score",
        "sum_of_three",
        str(data / name),
        str(data / f"outside.{name}"),
    ]
    subprocess.run(outside, cwd=ROOT, capture_output=True, check=True)
    assert (data / f"inside.{name}").read_bytes() == (data / f"outside.{name}").read_bytes()


def test_it_says_by_its_status_that_rows_were_rejected(engine: Engine, batch_image: str, data: Path) -> None:
    """Which ones, it says in a file beside the scores."""
    (data / "faulty.csv").write_text(f"{','.join(COLUMNS)}\n1,2,3\n1,two,3\n")
    paths = ("/data/faulty.csv", "/data/out.csv", "--on-error", "quarantine")
    done = engine.run(batch_image, "score", "sum_of_three", *paths, options=("--volume", f"{data}:/data"))
    assert done.returncode == 3, done.stderr
    assert "two" in (data / "out.csv.rejected.csv").read_text()


def test_the_serving_image_says_what_it_lacks_to_score(engine: Engine, image: str) -> None:
    """With the status of a wrong call."""
    done = engine.run(image, "score", "sum_of_three", "/data/rows.csv", "/data/out.csv")
    assert done.returncode == 2
    assert "this command needs pyarrow, which is not installed: " in done.stderr
    assert "an image built with EXTRAS=batch" in done.stderr
