"""Files scored by real processes: the numbers of the service, through kills, signals, full disks and bad rows."""

import csv
import gzip
import itertools
import json
import math
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from service.manifest import ModelManifest
from service.model.store import open_version
from service.score import score
from tests.interrupted import Job, Moment, Outcome, Process, environment, holds, interrupted, undisturbed
from tests.server import ROOT, Server, running

MODELS = {path.name: max(path.iterdir(), key=lambda one: int(one.name)) for path in sorted((ROOT / "models").iterdir())}
"""The latest version of each."""
KILLS = (7, 7, 6)
"""Of each job."""
MADE = 0.6
"""Of so many processes that are killed each has made a part."""
ROWS = 100_000
FAULTY = 20_011
"""Of so many rows one has a fault."""
EDGES = [
    -0.0,
    # The least of its kind, as a double and as a float, and what lies half-way between that and zero.
    5e-324,
    1e-45,
    2.0**-150,
    math.nextafter(2.0**-150, 1),
    # Half-way between two subnormal floats, and between the largest of them and the least normal one.
    3 * 2.0**-150,
    2.0**-126 - 2.0**-150,
    # Half-way between two floats, which goes to the even one, and its neighbours among the doubles.
    1 + 2.0**-24,
    1 + 3 * 2.0**-24,
    math.nextafter(1 + 2.0**-24, 2),
    math.nextafter(1 + 2.0**-24, 1),
    16777217.0,
    0.1,
    -1 / 3,
]
"""Doubles that a float can hold only nearly, or that are written in an odd way."""


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


def run(*arguments: object, given: bytes | None = None) -> Done:
    """Run `forwardpass score`."""
    command = [sys.executable, "-m", "service", "score", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), input=given, capture_output=True, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The latest version of every committed model."""
    with running() as server:
        yield server


def post(server: Server, path: str, body: object) -> Any:  # noqa: ANN401  # JSON
    """The answer."""
    reply = httpx.post(f"{server.url}{path}", json=body, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    return reply.json()


Columns = dict[str, list[Any]]
"""The columns of a file, by their names."""


class Rows(NamedTuple):
    """The rows of a test: what a request has of them, and what a file has."""

    instances: list[Any]
    columns: Columns


def numbers(manifest: ModelManifest, *, apart: bool = True) -> Rows:
    """Rows of numbers, each edge in each place once; `apart` they are columns, otherwise a column of nested lists."""
    (spec,) = manifest.inputs
    width = math.prod(spec.row_shape)
    values = np.random.default_rng(width).normal(size=(len(EDGES) + 200, width))
    for place, edge in itertools.product(range(width), range(len(EDGES))):
        values[(place + edge) % len(EDGES), place] = EDGES[edge]
    instances = values.reshape(-1, *spec.row_shape).tolist()
    if not apart:
        return Rows(instances, {spec.name: instances})
    names = [feature.name for feature in spec.features or ()] or [f"{spec.name}_{place}" for place in range(width)]
    return Rows(instances, {name: values[:, place].tolist() for place, name in enumerate(names)})


def contexts(manifest: ModelManifest) -> Rows:
    """Words of several numbers, known ones and others."""
    chance = np.random.default_rng(0)
    words = [*(manifest.inputs[0].vocabulary or ())[1:], "unheard", "größer", 'say "x", twice']
    chosen = [[words[place] for place in chance.integers(0, len(words), 1 + row % 7)] for row in range(60)]
    return Rows([{"context": one} for one in chosen], {"context": chosen})


def write(path: Path, columns: Columns) -> Path:
    """A file of columns, every number to its last digit; in CSV a list is JSON."""
    rows = list(zip(*columns.values(), strict=True))
    match path.suffix:
        case ".parquet":
            parquet.write_table(pa.table(columns), path)
        case ".jsonl":
            path.write_text("".join(f"{json.dumps(dict(zip(columns, row, strict=True)))}\n" for row in rows))
        case _:
            cells = [[json.dumps(one) if isinstance(one, list) else one for one in row] for row in rows]
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([list(columns), *cells])
    return path


def read(path: Path) -> Columns:
    """The columns of a file."""
    match path.suffix:
        case ".parquet":
            columns: Columns = parquet.read_table(path).to_pydict()
            return columns
        case ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
        case _:
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def answers(server: Server, manifest: ModelManifest, instances: list[Any]) -> Columns:
    """What the service answers, as the columns of a file."""
    predictions = post(server, f"/v1/models/{manifest.name}:predict", {"instances": instances})["predictions"]
    if manifest.kind == "next_word":
        return {name: [one[name] for one in predictions] for name in predictions[0]}
    given, given_out = manifest.inputs[0], manifest.outputs[0]
    flat = np.reshape(instances, -1).tolist()
    tensor = {"name": given.name, "shape": [len(instances), *given.row_shape], "datatype": "FP32", "data": flat}
    (output,) = post(server, f"/v2/models/{manifest.name}/infer", {"inputs": [tensor]})["outputs"]
    values = np.reshape(output["data"], output["shape"])
    suffixes = given_out.labels if values.shape[1] > 1 else None
    names = [f"{output['name']}_{suffix}" for suffix in suffixes] if suffixes else [output["name"]]
    labels = {"label": [one["label"] for one in predictions]} if given_out.labels else {}
    return dict(zip(names, values.T.tolist(), strict=True)) | labels


def exact(column: list[Any]) -> object:
    """What two columns are compared by: the bits of floats, and anything else as it is; in CSV a list is JSON."""
    if isinstance(column[0], str) and column[0][:1] in tuple("-0123456789"):
        column = list(map(float, column))
    if isinstance(column[0], float):
        return np.array(column, np.float32).tobytes()
    if isinstance(column[0], str) and column[0].startswith("["):
        column = list(map(json.loads, column))
    # The probabilities of words: doubles in JSON, single floats elsewhere.
    return json.loads(json.dumps(column), parse_float=lambda text: np.float32(text).tobytes())


@pytest.mark.parametrize("name", list(MODELS))
def test_a_file_gives_the_bits_that_http_gives(server: Server, name: str, tmp_path: Path) -> None:
    """Whatever the format, for numbers that a float holds nearly, and for words; one of three by the real command."""
    manifest = open_version(MODELS[name]).manifest
    if manifest.kind == "next_word":
        given = dict.fromkeys(("jsonl", "parquet", "csv"), contexts(manifest))
    else:
        rows = numbers(manifest)
        has_shape = len(manifest.inputs[0].row_shape) > 1
        nested = numbers(manifest, apart=not has_shape)
        given = {"jsonl": nested, "parquet": rows, "csv": rows}
    expected = answers(server, manifest, given["csv"].instances)

    for place, suffix in enumerate(given):
        source = write(tmp_path / f"in.{suffix}", given[suffix].columns)
        if place == list(MODELS).index(name) % len(given):
            done = run(name, source, tmp_path / f"out.{suffix}")
            assert (done.status, done.err) == (0, "")
        else:
            score(name, source, tmp_path / f"out.{suffix}", models=ROOT / "models")
        found = read(tmp_path / f"out.{suffix}")
        assert list(found) == list(expected), suffix
        for column, values in expected.items():
            assert exact(found[column]) == exact(values), (suffix, column)


def table(rows: int, seed: int = 0) -> pa.Table:
    """Rows for `binary_classifier`, with a number for each."""
    values = np.random.default_rng(seed).normal(size=(20, rows))
    return pa.table([pa.array(range(rows)), *values], ["row", *(f"feature_{place}" for place in range(20))])


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """Files of several formats that take a second or two: with few rows a run there is much to compute."""
    folder = tmp_path_factory.mktemp("jobs")
    plain, packed, columns = folder / "in.csv", folder / "in.csv.gz", folder / "in.parquet"
    rows = table(ROWS)
    parquet.write_table(rows, columns, row_group_size=ROWS // 20)
    faulty = rows.set_column(5, "feature_4", pa.array(rows["feature_4"]).cast(pa.string()))
    empty = [row % FAULTY == 0 for row in range(ROWS)]
    faulty = faulty.set_column(5, "feature_4", pc.if_else(pa.array(empty), "", faulty["feature_4"]))
    arrow_csv.write_csv(faulty, plain)
    with gzip.open(packed, "wb", compresslevel=1) as file:
        arrow_csv.write_csv(rows, file)
    slow = ("--max-batch", "1")
    return [
        Job("binary_classifier", plain, "out.csv", ("--keep", "row", "--on-error", "quarantine", *slow)),
        Job("binary_classifier", columns, "out.parquet", ("--keep", "*", *slow)),
        Job("binary_classifier", packed, "out.jsonl", slow),
    ]


def test_a_run_killed_at_20_random_moments_leaves_the_same_bytes(jobs: list[Job], tmp_path: Path) -> None:
    """And nothing else; most processes go on where the one before had come to."""

    def go_through(place: int) -> Outcome:
        job, folder = jobs[place], tmp_path / str(place)
        folder.mkdir()
        chance = random.Random(place)  # noqa: S311  # no secret
        expected = undisturbed(job, folder / "quiet")
        # The first two make a part each, so that whoever comes behind them goes on from one.
        moments = [Moment(turn < 2 or chance.random() < MADE, chance.random() / 5) for turn in range(KILLS[place])]
        outcome = interrupted(job, folder / "killed", moments, pause=1.0)
        assert outcome.left == expected.left * len(outcome.left), job.name
        assert job.name in outcome.left[0]
        return outcome

    with ThreadPoolExecutor(len(jobs)) as pool:
        outcomes = list(pool.map(go_through, range(len(jobs))))
    assert sum(outcome.kills for outcome in outcomes) == sum(KILLS) == 20
    assert all(outcome.resumed for outcome in outcomes), [outcome[:2] for outcome in outcomes]


@contextmanager
def paused(job: Job, folder: Path) -> Iterator[Process]:
    """A process that has begun to score and stands still; what it says can be read."""
    command = job.command(folder)
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE) as process:
        try:
            while not holds(process, folder / f".{job.name}.part"):
                assert process.poll() is None
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_says_how_to_go_on(jobs: list[Job], tmp_path: Path, number: signal.Signals) -> None:
    """At once, with the status of the signal and nothing that looks whole; what is done is gone on with."""
    job = jobs[0]._replace(name="out.parquet", flags=("--keep", "*", "--on-error", "skip"))
    parts = tmp_path / f".{job.name}.parts"
    with paused(job._replace(flags=(*job.flags, "--max-batch", "2")), tmp_path) as process:
        # Longer than it takes until what it has makes a part.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.1)
        process.send_signal(signal.SIGCONT)
        while not (parts / "part-000002.arrow").exists():
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert b"--resume" in said
    assert [path.name for path in tmp_path.iterdir()] == [parts.name]
    subprocess.run(job.command(tmp_path, "--resume"), cwd=ROOT, env=environment(), check=False)
    rows = parquet.read_table(tmp_path / job.name)["row"].to_pylist()
    assert list(map(int, rows)) == [row for row in range(ROWS) if row % FAULTY]


def test_two_runs_cannot_have_one_output(jobs: list[Job], tmp_path: Path) -> None:
    """The second is refused while the first lives."""
    with paused(jobs[1], tmp_path):
        second = subprocess.run(
            jobs[1].command(tmp_path), cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "another process" in second.stderr


def test_standard_input_is_scored_and_cannot_be_resumed(tmp_path: Path) -> None:
    """Its format is told, and its rows are those of a file."""
    source = write(tmp_path / "in.csv", table(50).to_pydict())
    score("binary_classifier", source, tmp_path / "file.csv", models=ROOT / "models")
    given = source.read_bytes()
    piped = run("binary_classifier", "-", tmp_path / "pipe.csv", "--format", "csv", given=given)
    assert piped.status == 0, piped.err
    assert (tmp_path / "pipe.csv").read_bytes() == (tmp_path / "file.csv").read_bytes()
    refused = run("binary_classifier", "-", tmp_path / "again.csv", "--format", "csv", "--resume", given=given)
    assert refused.status in (1, 2)
    assert "standard input" in refused.err
    assert not (tmp_path / "again.csv").exists()


@pytest.mark.parametrize(
    ("flags", "status", "names"),
    [
        ((), 1, {"in.csv"}),
        (("--on-error", "skip"), 3, {"in.csv", "out.csv"}),
        (("--on-error", "quarantine"), 3, {"in.csv", "out.csv", "out.csv.rejected.csv"}),
        (("--on-error", "ignore"), 2, {"in.csv"}),
    ],
)
def test_the_status_tells_what_became_of_bad_rows(
    tmp_path: Path, flags: Sequence[str], status: int, names: set[str]
) -> None:
    """Failed, done without them, or called wrongly; the row, its column and its fault are named."""
    columns = table(50).to_pydict()
    columns["feature_7"][30] = "a lot"
    done = run("binary_classifier", write(tmp_path / "in.csv", columns), tmp_path / "out.csv", *flags)
    assert done.status == status, done.err
    assert {path.name for path in tmp_path.iterdir()} == names
    if status == 1:
        assert "row 31" in done.err
        assert "'feature_7'" in done.err
        assert "'a lot'" in done.err
    if "out.csv" in names:
        assert len(read(tmp_path / "out.csv")["label"]) == 49
    if "out.csv.rejected.csv" in names:
        rejected = read(tmp_path / "out.csv.rejected.csv")
        assert {name: rejected[name] for name in ("row", "column")} == {"row": ["31"], "column": ["feature_7"]}


def test_a_full_disk_ends_it_with_what_is_done_kept(jobs: list[Job], tmp_path: Path) -> None:
    """Here no file may be larger than a megabyte; with more room it goes on."""
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", limited, *jobs[1].command(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert f"{tmp_path / jobs[1].name}: it cannot be written: File too large" in last
    # A slow machine has made a part by then.
    assert all("go on with --resume" in line for line in before)
    assert not list(tmp_path.glob("[!.]*"))


def test_a_script_calls_it_in_one_line(tmp_path: Path) -> None:
    """The function is the command."""
    write(tmp_path / "in.parquet", table(10).to_pydict())
    call = f"score('binary_classifier', 'in.parquet', 'out.csv', models={str(ROOT / 'models')!r})"
    command = [sys.executable, "-c", f"from service.score import score; print({call}.rows)"]
    variables = environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    assert len(read(tmp_path / "out.csv")["label"]) == 10
