"""Behaviour of service.scoring.on_ray."""

import gzip
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import ray
from pyarrow import csv, parquet

from service.errors import RowError, ScoreError
from service.model.loading import load
from service.score import Engine, score
from service.scoring import local, on_ray
from service.scoring.layout import match, types_of
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File, find_files
from service.scoring.recipe import Recipe
from service.scoring.walk import Inputs
from service.scoring.writing.results import Result
from tests.interrupted import Job, Moment, checksums, environment, interrupted
from tests.server import ROOT

MODELS = ROOT / "models"
MODEL = "binary_classifier"
ROWS = 100_000
FAULTY = 20_011
"""Of so many rows one has a fault."""
SLOW = 4
"""With so few rows a run there is much to compute."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with room for two actors, to which this process is connected."""
    # There Ray lets the handlers of signals be; it ends with the thread.
    with ThreadPoolExecutor(1) as keeper:
        keeper.submit(ray.init, "local", num_cpus=2, include_dashboard=False, log_to_driver=False).result()
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


class Rows(NamedTuple):
    """Files of the same rows, of some megabytes each and of several segments."""

    whole: Path
    faulty: Path
    columns: Path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Rows for `binary_classifier`; of the faulty ones a cell is empty here and there."""
    folder = tmp_path_factory.mktemp("rows")
    files = Rows(folder / "whole.csv", folder / "faulty.csv", folder / "faulty.parquet")
    values = np.random.default_rng(0).normal(size=(20, ROWS))
    table = pa.table([pa.array(range(ROWS)), *values], ["row", *(f"feature_{place}" for place in range(20))])
    csv.write_csv(table, files.whole)
    faulty = pa.array([row % FAULTY == FAULTY - 1 for row in range(ROWS)])
    table = table.set_column(5, "feature_4", pc.if_else(faulty, None, table["feature_4"].combine_chunks()))
    csv.write_csv(table, files.faulty)
    parquet.write_table(table, files.columns, row_group_size=ROWS // 10)
    return files


def both(source: Path, folder: Path, **options: Any) -> list[dict[str, str]]:  # noqa: ANN401  # score's own
    """The files that each engine leaves, with the checksums of their bytes."""
    left = []
    engines: tuple[Engine, ...] = ("local", "ray")
    for engine in engines:
        own = folder / engine
        own.mkdir()
        score(MODEL, source, own / f"out{source.suffix}", models=MODELS, engine=engine, **options)
        left.append(checksums(own))
    return left


def recipe_for(source: Path) -> tuple[Inputs, dict[str, pa.DataType], Recipe]:
    """What an engine is given."""
    inputs = Inputs(find_files(source, None))
    there = inputs.at(0).schema
    place = MODELS / MODEL / "1"
    manifest = load(place, MODEL).manifest
    layout = match(manifest, there, {}, (), where=source.name, form=inputs.files[0].form)
    types = types_of(layout, inputs.files[0].form)
    return inputs, types, Recipe(place, MODEL, "cpu", 1, manifest, SLOW, layout, there, "skip")


def on_this_machine(source: Path) -> Iterator[Result]:
    """What the engine of this machine gives."""
    inputs, types, recipe = recipe_for(source)
    yield from local.run(inputs, types, None, recipe.scorer(load(recipe.place, recipe.name).runtime), 1)


def on_the_cluster(source: Path) -> Generator[Result, None, None]:
    """What the engine of the cluster gives."""
    inputs, types, recipe = recipe_for(source)
    yield from on_ray.run(inputs.files, types, None, recipe)


def actors() -> set[int]:
    """The processes of this process's cluster that score."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (place / "cmdline").read_bytes().startswith(b"ray::MapWorker") and os.getpid() in _ancestors(place):
                found.add(int(place.name))
    return found


def _ancestors(place: Path) -> Iterator[int]:
    while place.name != "0":
        parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        yield parent
        place = place.with_name(str(parent))


@pytest.mark.usefixtures("cluster")
def test_the_files_are_those_of_this_machine(rows: Rows, tmp_path: Path) -> None:
    """The output, and what tells of the rejected rows, to the byte."""
    one, other = both(rows.faulty, tmp_path, on_error="quarantine", keep=("row",))
    assert one == other
    assert list(one) == ["out.csv", "out.csv.rejected.csv"]


@pytest.mark.usefixtures("cluster")
def test_columns_are_scored_as_on_this_machine(rows: Rows, tmp_path: Path) -> None:
    """Groups of rows of Parquet too, and what is carried through."""
    one, other = both(rows.columns, tmp_path, on_error="skip", keep=("*",))
    assert one == other
    assert list(one) == ["out.parquet"]


@pytest.mark.usefixtures("cluster")
def test_a_row_that_ends_it_is_named(rows: Rows, tmp_path: Path) -> None:
    """By the sentence of this machine, and nothing is left."""
    with pytest.raises(RowError) as caught:
        score(MODEL, rows.faulty, tmp_path / "out.csv", models=MODELS, engine="ray")
    assert caught.value.message.startswith(f"row {FAULTY}, column 'feature_4': expected a number")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("cluster")
def test_an_actors_error_comes_when_its_turn_has_come(rows: Rows, tmp_path: Path) -> None:
    """By its sentence, behind the results of what could be read."""
    packed = gzip.compress(rows.whole.read_bytes(), compresslevel=1)
    source = tmp_path / "in.csv.gz"
    source.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ScoreError) as expected:
        list(on_this_machine(source))
    came: list[Result] = []
    with pytest.raises(ScoreError) as caught:
        came.extend(on_the_cluster(source))
    assert caught.value.message == expected.value.message
    assert came[0].place.block == 0
    assert not came[-1].place.last


@pytest.mark.usefixtures("cluster")
def test_an_actor_that_is_killed_costs_no_row(rows: Rows) -> None:
    """Others begin in its place and do again what it had not given."""
    others: set[int] = set()
    # Where all was computed when they were killed nobody has to begin in their place: then once more.
    for _ in range(10):
        with closing(on_the_cluster(rows.whole)) as results, ThreadPoolExecutor(1) as pool:
            came = [next(results)]
            killed = actors()
            for actor in killed:
                os.kill(actor, signal.SIGKILL)
            rest = pool.submit(list, results)
            while not rest.done() and not others:
                others |= actors() - killed
            came.extend(rest.result())
        if killed and others:
            break
    assert others
    assert came == list(on_this_machine(rows.whole))


def test_what_a_killed_process_has_done_is_gone_on_with(
    cluster: str, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is that of an undisturbed run on one machine."""
    flags = ("--keep", "row", "--max-batch", str(SLOW), "--engine", "ray")
    (tmp_path / "quiet").mkdir()
    score(MODEL, rows.whole, tmp_path / "quiet" / "out.csv", models=MODELS, keep=("row",), max_batch=SLOW)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    job = Job(MODEL, rows.whole, "out.csv", flags)
    outcome = interrupted(job, tmp_path / "killed", [Moment(has_part=True, seconds=0)], pause=1.0)
    assert outcome.kills == 1
    assert outcome.left == [checksums(tmp_path / "quiet")]


def test_standard_input_is_refused(rows: Rows) -> None:
    """Other machines cannot read it."""
    _, types, recipe = recipe_for(rows.whole)
    standard_input = File("-", 0, 0, Form("csv", None))
    with pytest.raises(ScoreError, match="standard input: only this machine can read it"):
        next(on_ray.run([standard_input], types, None, recipe))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAY_ADDRESS": "127.0.0.1:1"}, "no Ray cluster answers at 127.0.0.1:1, which RAY_ADDRESS names"),
        # It wants to write there.
        ({"HOME": "/dev/null"}, "no Ray cluster can be had at local: [Errno 20] Not a directory: '/dev/null/.ray'"),
    ],
)
def test_where_no_cluster_can_be_had_it_is_told(
    rows: Rows, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    """At once, in a sentence."""
    command = Job(MODEL, rows.whole, "out.csv", ("--engine", "ray")).command(tmp_path)
    done = subprocess.run(command, cwd=ROOT, env=environment() | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def marked(mark: str) -> list[str]:
    """The processes that have inherited a variable of this value."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (place / "environ").read_bytes():
                found.append((place / "cmdline").read_bytes().decode())
    return found


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_a_cluster_of_its_own_ends_with_it(rows: Rows, tmp_path: Path, number: signal.Signals | None) -> None:
    """Also where it is told to end. All that Ray writes on the terminal is that it is to write nothing there."""
    mark = str(uuid.uuid4())
    variables = {name: value for name, value in environment().items() if not name.startswith("RAY_")} | {"MARK": mark}
    command = Job(MODEL, rows.whole, "out.csv", ("--engine", "ray")).command(tmp_path)
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            if number is not None:
                while len(marked(mark)) < 4:
                    assert process.poll() is None
                process.send_signal(number)
            out, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == (0 if number is None else 128 + number), said
    # Ray's own processes see that theirs is gone and go too, on a busy machine a moment later.
    deadline = time.monotonic() + 30
    while left := marked(mark):
        assert time.monotonic() < deadline, left
    if number is None:
        assert len(out.splitlines()) == 1
        others = [line for line in said.splitlines() if " INFO " not in line]
        assert len(others) == 1, others
        assert "RAY_BACKEND_LOG_LEVEL" in others[0]
