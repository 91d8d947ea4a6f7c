"""The engine of a Ray cluster: Ray Data gives the segments to actors, and what they made of them back in order."""

import logging
import os
import pickle
import socket
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa

from service.cpu import usable_cpus
from service.errors import ForwardpassError, ScoreError
from service.scoring.reading.sources import STANDARD_INPUT, File
from service.scoring.recipe import Recipe
from service.scoring.scorer import Scorer
from service.scoring.walk import Inputs
from service.scoring.writing.results import Place, Result, read_results, result_of, to_bytes

# Read by Ray when it is imported: it reports its use to its maker otherwise.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# The same: it takes the signals that end a process, and prints where they came.
os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")
# Read by Ray when it connects: else each scoring shows an error, about how Ray Data makes its actors.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError, UserCodeException
from ray.util import log_once
from ray.util.annotations import RayDeprecationWarning

_OBJECT_BYTES = 4 << 20
"""Results of a segment are sent together until they have so many bytes: Ray takes some 10 ms for each time."""
_CALL_SECONDS = 10
_LONGEST_REASON = 300
_RETRIES = 3
"""A segment that has ended so many actors ends the scoring with the next: it would end all that are to come."""

_SEGMENTS = pa.schema([("segment", pa.list_(pa.int64())), ("error", pa.binary())])
_RESULTS = pa.schema([("results", pa.binary()), ("error", pa.binary())])


class _Work(NamedTuple):
    """What is to be scored, and how."""

    folder: Path
    """From where paths start."""
    files: tuple[File, ...]
    types: dict[str, pa.DataType]
    after: Place | None
    recipe: Recipe

    def inputs(self) -> Inputs:
        """The files, from now on in this process."""
        # Where the folder is missing, the error will be that of the file.
        with suppress(OSError):
            os.chdir(self.folder)
        return Inputs(self.files)

    def segments(self, _start: pa.Table) -> Iterator[pa.Table]:
        """The segments, each as a row, and the error where one ends them."""
        try:
            for segment in self.inputs().segments(self.after):
                yield pa.table([[list(segment)], [None]], schema=_SEGMENTS)
        except ForwardpassError as error:
            yield pa.table([[None], [pickle.dumps(error)]], schema=_SEGMENTS)


def run(
    files: Sequence[File], types: Mapping[str, pa.DataType], after: Place | None, recipe: Recipe
) -> Generator[Result, None, None]:
    """What becomes of each block behind `after`, in order, scored by actors on a Ray cluster.

    The cluster is the one that this process is connected to, or that RAY_ADDRESS names, or one on this machine that
    ends with the scoring. On all its machines the files and the model lie under the same paths as here. Raises what
    reading and scoring raise, once the results of all blocks before have come, and `ScoreError` where the cluster
    fails.
    """
    if any(file.path == STANDARD_INPUT for file in files):
        raise ScoreError("standard input: only this machine can read it, so no cluster can score it")
    try:
        with _cluster():
            dataset = _dataset(_Work(Path.cwd(), tuple(files), dict(types), after, recipe))
            tables = cast("Generator[Any]", iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow")))
            # The actors end with it, also where nobody wants the rest.
            with closing(tables):
                for table in tables:
                    yield from _received(table)
    except UserCodeException:
        # A fault of ours, which is no sentence.
        raise
    except (RayError, ExecutionTimeoutError) as error:
        raise ScoreError(f"the Ray cluster fails: {_line(error)}") from error


@contextmanager
def _cluster() -> Iterator[None]:
    """A connection to a cluster. One that was there before stays."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    _call_on(address)
    cpus = usable_cpus().threads if address == "local" else None
    settings: dict[str, Any] = {
        "num_cpus": cpus,
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    # On the main thread Ray would put a signal handler of its own in place of this process's. The thread stays, for a
    # cluster ends with the thread that has begun it.
    with ThreadPoolExecutor(1, "ray") as keeper:
        begun = keeper.submit(ray.init, address, **settings)
        try:
            try:
                begun.result()
            except (OSError, RuntimeError, ValueError) as error:
                raise ScoreError(f"no Ray cluster can be had at {address}: {_line(error)}") from error
            yield
        finally:
            wait([begun])
            ray.shutdown()


def _call_on(address: str) -> None:
    """Raise `ScoreError` where nobody listens at `<host>:<port>`: Ray would try for minutes, deaf to signals."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), _CALL_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ScoreError(f"no Ray cluster answers at {address}, which RAY_ADDRESS names: {error}") from None


def _dataset(work: _Work) -> Dataset:
    """What becomes of the segments, computed while it is read."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # Else it warns that there is no progress bar.
    log_once("ray_data_progress_manager_disabled")
    with warnings.catch_warnings():
        # Some are of what Ray does itself, one of `max_task_retries`, for which it has no other way yet.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", RayDeprecationWarning)
        context = DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        # Each row goes on by itself, as soon as it is there.
        context.target_max_block_size = 1
        with DataContext.current(context):
            return _steps(work)


def _steps(work: _Work) -> Dataset:
    on_gpus = work.recipe.provider == "cuda"
    unit, each = ("GPU", 1) if on_gpus else ("CPU", work.recipe.threads)
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray gives it no types
    actors = max(1, int(there.get(unit, 0)) // each)
    start = ray.data.from_items([0])
    segments = start.map_batches(work.segments, batch_size=None, batch_format="pyarrow", num_cpus=0)
    return segments.map_batches(
        _Actor,
        batch_size=1,
        batch_format="pyarrow",
        # With a least size of as many it would warn where there are fewer segments.
        compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        fn_constructor_args=(work,),
        num_cpus=None if on_gpus else each,
        num_gpus=each if on_gpus else None,
        max_task_retries=_RETRIES,
    )


class _Actor:
    """Scores segments, with a session that it opens once."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._inputs = work.inputs()

    def __call__(self, segments: pa.Table) -> Iterator[pa.Table]:
        """The results of the segments, some of them a row, and the error where one ends them."""
        for row in segments.to_pylist():
            error: bytes | None = row["error"]
            some: list[Result] = []
            size = 0
            try:
                for result in self._scored(row["segment"]) if error is None else ():
                    some.append(result)
                    size += result.scored.batch.nbytes
                    if size >= _OBJECT_BYTES:
                        yield self._sent(some)
                        some, size = [], 0
            except ForwardpassError as caught:
                error = pickle.dumps(caught)
            if some:
                yield self._sent(some)
            if error is not None:
                yield pa.table([[None], [error]], schema=_RESULTS)

    def _scored(self, segment: list[int]) -> Iterator[Result]:
        file, start, stop = segment
        for place, block in self._inputs.blocks((file, start, stop), self._work.types, self._work.after):
            yield result_of(self._scorer, place, block)

    def _sent(self, results: list[Result]) -> pa.Table:
        return pa.table([[to_bytes(results, self._scorer.schema)], [None]], schema=_RESULTS)

    @cached_property
    def _scorer(self) -> Scorer:
        """Opened with the first row, for what goes wrong here is told as any other error is."""
        return self._work.recipe.open()


def _received(table: pa.Table) -> Iterator[Result]:
    """The results that an actor has sent. Raises the error that it has sent."""
    for row in range(table.num_rows):
        error = table["error"][row]
        if error.is_valid:
            raise pickle.loads(error.as_py())  # noqa: S301  # one of our own actors wrote it
        yield from read_results(table["results"][row].as_buffer())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST_REASON]
