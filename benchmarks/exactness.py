"""Random traffic through the real batcher and runtime, in which every answer is compared with its rows' alone."""

import argparse
import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from service.batching.batcher import INLINE_SECONDS, Batcher
from service.batching.slowness import MOST
from service.errors import ComputeError, DeadlineError, DrainingError, ForwardpassError, QueueFullError
from service.metrics import ModelStats, Version
from service.model.loading import load
from service.model.runtime import Arrays, Runtime, join, split, stack
from service.numbers import Numbers
from tests import awaited

MODELS = Path(__file__).parents[1] / "models"
POOL = 500
"""Rows of each shape that requests are drawn from, each answered alone once."""
LARGEST = 600
TABLE = 40
"""Entries of the table in which the failing rows look for one more."""
ROW_BYTES = 60
"""Bytes that may wait for each row that may: fewer than some rows have."""
CHEAP_ROWS = 8
"""A batch of fewer rows is predicted to be cheap enough for the event loop."""
_MOST_EARLY = MOST * INLINE_SECONDS
"""Seconds before its deadline in which a request may be told that it would be late: what its batch may be predicted to
take."""
MIXES = ([0.6, 0.3, 0.08, 0.02], [0.6, 0.3, 0.08, 0.02], [0.6, 0.2, 0.0, 0.2])
"""In a round, how many requests have one row, up to 8, 64 and `LARGEST`: mostly one in fifty is anything up to that,
sometimes one in five."""
DRAINED = 0.2
"""The part of the rounds in which the drain begins in the middle."""

Fate = Literal["wait", "cancel", "cancel later"]


class InexactError(Exception):
    """Something that must never happen has."""


@dataclass(frozen=True)
class Shape:
    """Rows of one shape, the answer of each to a run of its own, and a row that no run takes."""

    rows: Arrays
    answers: Arrays
    bad: Arrays | None


@dataclass(frozen=True)
class Subject:
    """A model under test, with the rows to send it."""

    name: str
    runtime: Runtime
    shapes: Sequence[Shape]


@dataclass(frozen=True)
class Ask:
    """One request to be sent: some rows of one shape of one model."""

    subject: int
    shape: int
    rows: npt.NDArray[np.intp]
    bad: bool = False
    """Whether its last row is one that fails, where the model has such rows."""
    fate: Fate = "wait"
    within: float | None = None
    """The seconds to its deadline, if it has one."""
    turn: bool = False
    """Whether the event loop goes round after it."""


@dataclass(frozen=True)
class Round:
    """Requests, the batchers' settings, and before which request they begin to drain."""

    asks: Sequence[Ask]
    inline: bool | None
    max_batch: int
    max_queue: int
    drain: int


@dataclass(eq=False)
class Sent:
    """A request on its way, as its batcher's payload."""

    ask: Ask
    arrays: Arrays
    bad_row: int | None
    deadline: float | None
    runs: int = 0
    company: int = 0
    """The most failing rows' requests that were in a failed run with it, itself included."""
    resolved: int = 0


@dataclass
class Tally:
    """What became of the requests, and how many runs that took."""

    ends: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    runs: int = 0
    failed_runs: int = 0
    mixed_runs: int = 0
    """Runs with rows of a request that fits into one batch and of one that does not."""
    divided: int = 0
    """Requests that were answered and left in several batches."""

    @property
    def requests(self) -> int:
        """All that were sent."""
        return self.ends.total()


def subjects() -> list[Subject]:
    """Two published networks, and a graph that takes rows of several lengths and fails on some."""
    generator = np.random.default_rng(1)
    found = []
    for name in ("binary_classifier", "digits"):
        runtime = load(max((MODELS / name).iterdir(), key=lambda path: int(path.name)), name).runtime
        lengths = [length for length in runtime.inputs[0].shape if isinstance(length, int)]
        rows = generator.normal(0, 3, (POOL, *lengths)).astype(np.float32)
        found.append(Subject(name, runtime, [_answered(runtime, rows, None)]))
    runtime = Runtime(_lookup(generator), "lookup")
    shapes = []
    for words in (1, 2, 5):
        bad = np.full((1, words), TABLE, np.int64)
        shapes.append(_answered(runtime, generator.integers(0, TABLE, (POOL, words)), bad))
    return [*found, Subject("lookup", runtime, shapes)]


def _answered(runtime: Runtime, rows: npt.NDArray[Any], bad: npt.NDArray[Any] | None) -> Shape:
    alone = [runtime.run((rows[index : index + 1],)) for index in range(len(rows))]
    return Shape((rows,), join(alone), None if bad is None else (bad,))


def _lookup(generator: np.random.Generator) -> bytes:
    """A graph that adds up the entries of a table and multiplies the sum by a matrix."""
    constants: dict[str, npt.NDArray[Any]] = {
        "table": generator.normal(size=(TABLE, 8)).astype(np.float32),
        "matrix": generator.normal(size=(8, 3)).astype(np.float32),
        "axis": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "index"], ["entries"]),
            helper.make_node("ReduceSum", ["entries", "axis"], ["sum"], keepdims=0),
            helper.make_node("MatMul", ["sum", "matrix"], ["product"]),
        ],
        "lookup",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["rows", "length"])],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["rows", 8]),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, ["rows", 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def rounds(generator: np.random.Generator, tested: Sequence[Subject], requests: int) -> Iterator[Round]:
    """Random rounds, until they have so many requests."""
    left = requests
    while left > 0:
        size = min(left, int(generator.integers(1, 1000)))
        left -= size
        yield _round(generator, tested, size)


def _round(generator: np.random.Generator, tested: Sequence[Subject], size: int) -> Round:
    bounds = generator.choice([1, 8, 64, LARGEST], size, p=MIXES[generator.integers(len(MIXES))])
    rows = generator.integers(1, bounds, endpoint=True)
    which = generator.integers(0, len(tested), size)
    within = generator.choice([np.nan, 60.0, 0.01, 0.001, -0.001], size, p=[0.8, 0.05, 0.05, 0.05, 0.05])
    fates: list[Fate] = generator.choice(["wait", "cancel", "cancel later"], size, p=[0.9, 0.05, 0.05]).tolist()
    bad = generator.random(size) < generator.choice([0.0, 0.01, 0.2])
    turn = generator.random(size) < generator.choice([0.02, 0.3])
    asks = [
        Ask(
            subject=subject,
            shape=int(generator.integers(len(tested[subject].shapes))),
            rows=generator.integers(0, POOL, count),
            bad=bool(bad[index]),
            fate=fates[index],
            within=None if np.isnan(within[index]) else float(within[index]),
            turn=bool(turn[index]),
        )
        for index, (subject, count) in enumerate(zip(which.tolist(), rows.tolist(), strict=True))
    ]
    return Round(
        asks,
        inline=(True, False, None)[generator.integers(3)],
        max_batch=int(generator.choice([1, 2, 7, 64, 256], p=[0.04, 0.06, 0.2, 0.4, 0.3])),
        max_queue=int(generator.choice([700, 8192])),
        drain=int(generator.integers(size + 1)) if generator.random() < DRAINED else size,
    )


class _Lane:
    """One model's batcher in a round, with every run noted."""

    def __init__(self, subject: Subject, settings: Round, tally: Tally) -> None:
        self.subject = subject
        self.settings = settings
        self._tally = tally
        self.accepted: list[tuple[Sent, asyncio.Future[Arrays]]] = []
        self.batcher: Batcher[Sent, Arrays] = Batcher(
            self._run,
            join,
            ModelStats(Numbers(), Version(subject.name, "1")),
            asyncio.get_running_loop(),
            cost=lambda rows, _: 0.0 if rows < CHEAP_ROWS else INLINE_SECONDS,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            max_queue_bytes=ROW_BYTES * settings.max_queue,
            inline=settings.inline,
        )

    def divided(self, ask: Ask) -> bool:
        """Whether the request does not fit into one batch."""
        return len(ask.rows) > self.settings.max_batch

    def beside(self, ask: Ask) -> int:
        """The most rows that may wait and have a part in the room that the request needs."""
        kind = self.divided(ask)
        return sum(
            len(sent.ask.rows) for sent, future in self.accepted if not future.done() and self.divided(sent.ask) == kind
        )

    def _run(self, parts: Sequence[tuple[Sent, int, int]]) -> list[Arrays]:
        self._tally.runs += 1
        for sent, _, _ in parts:
            sent.runs += 1
        self._tally.mixed_runs += len({self.divided(sent.ask) for sent, _, _ in parts}) > 1
        slices = [(sent.arrays, start, stop) for sent, start, stop in parts]
        try:
            return split(self.subject.runtime.run_batch(stack(slices)), slices)
        except ComputeError:
            self._tally.failed_runs += 1
            culprits = sum(sent.bad_row is not None and start <= sent.bad_row < stop for sent, start, stop in parts)
            for sent, _, _ in parts:
                sent.company = max(sent.company, culprits)
            raise


async def play(tested: Sequence[Subject], settings: Round, tally: Tally) -> None:
    """Send the requests of a round, and raise `InexactError` unless each ends as it must."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    lanes = [_Lane(subject, settings, tally) for subject in tested]
    later: list[asyncio.Future[Arrays]] = []
    closing: list[asyncio.Task[None]] = []
    for index, ask in enumerate(settings.asks):
        if index == settings.drain:
            closing = [asyncio.ensure_future(lane.batcher.close()) for lane in lanes]
            await asyncio.sleep(0)
        lane = lanes[ask.subject]
        sent = _prepare(lane.subject, ask)
        tally.rows += len(ask.rows)
        future = _submit(lane, sent, tally, draining=bool(closing))
        if future is not None:
            lane.accepted.append((sent, future))
            if ask.fate == "cancel":
                future.cancel()
            elif ask.fate == "cancel later":
                later.append(future)
        if ask.turn:
            await asyncio.sleep(0)
            for gone in later:
                gone.cancel()
            later.clear()
    await asyncio.gather(*closing, *(lane.batcher.close() for lane in lanes))
    # The callbacks of the futures run in a turn of their own.
    await asyncio.sleep(0)
    for lane in lanes:
        for sent, future in lane.accepted:
            end = _check(lane.subject, sent, future, inline=settings.inline is True)
            tally.ends[end] += 1
            tally.divided += end == "answered" and lane.divided(sent.ask)
        _require((lane.batcher.waiting_rows, lane.batcher.waiting_bytes) == (0, 0), "something waits after the drain")
    _require(not complaints, f"the event loop complains: {complaints}")


def _prepare(subject: Subject, ask: Ask) -> Sent:
    shape = subject.shapes[ask.shape]
    arrays = tuple(array.take(ask.rows, axis=0) for array in shape.rows)
    bad_row = None
    if ask.bad and shape.bad is not None:
        bad_row = len(ask.rows) - 1
        for array, bad in zip(arrays, shape.bad, strict=True):
            array[-1:] = bad
    return Sent(ask, arrays, bad_row, None if ask.within is None else time.perf_counter() + ask.within)


def _submit(lane: _Lane, sent: Sent, tally: Tally, *, draining: bool) -> asyncio.Future[Arrays] | None:
    """Queue a request; None where it is refused, with a reason."""
    batcher, rows = lane.batcher, len(sent.ask.rows)
    size = sum(array.nbytes for array in sent.arrays)
    waiting = batcher.waiting_bytes
    try:
        future = awaited.submit(batcher, sent, rows, sent.ask.shape, size=size, deadline=sent.deadline)
    except ForwardpassError as error:
        if isinstance(error, QueueFullError):
            most = lane.settings.max_queue
            full = lane.beside(sent.ask) + rows > most or waiting + size > ROW_BYTES * most
            _require(full, "refused though it had room")
        elif isinstance(error, DeadlineError):
            _require(sent.deadline is not None, "a deadline of none")
        else:
            _require(draining and isinstance(error, DrainingError), f"refused for {error!r}")
        tally.ends[f"refused: {error.code}"] += 1
        return None
    _require(not draining, "accepted while it drains")
    within = batcher.waiting_rows <= 2 * lane.settings.max_queue
    _require(within and batcher.waiting_bytes <= ROW_BYTES * lane.settings.max_queue, "more waits than may")
    _require(sent.ask.within is None or sent.ask.within > 0, "accepted after its deadline")

    def note(_: asyncio.Future[Arrays]) -> None:
        sent.resolved += 1

    future.add_done_callback(note)
    return future


def _check(subject: Subject, sent: Sent, future: asyncio.Future[Arrays], *, inline: bool) -> str:
    """How a request ended, which must be a way that it may."""
    ask = sent.ask
    _require(future.done() and sent.resolved == 1, f"resolved {sent.resolved} times")
    if future.cancelled():
        _require(ask.fate != "wait", "cancelled by nobody")
        _require(not (inline and ask.fate == "cancel" and sent.runs), "computed though it was cancelled before")
        return "cancelled"
    error = future.exception()
    if isinstance(error, DeadlineError):
        # It may be told as soon as a batch with it would end too late: by the predicted cost, at its most.
        early = _MOST_EARLY + time.perf_counter()
        _require(sent.deadline is not None and early >= sent.deadline, "late before its deadline")
        return "late"
    if isinstance(error, ComputeError):
        # With one culprit in a batch nobody else fails; of several, not all need be told from their neighbours.
        _require(sent.bad_row is not None or sent.company > 1, "failed by a neighbour")
        return "failed" if sent.bad_row is not None else "failed among several culprits"
    _require(error is None, f"failed with {error!r}")
    _require(sent.bad_row is None, "answered though a row of it fails")
    expected = subject.shapes[ask.shape].answers
    for output, answers in zip(future.result(), expected, strict=True):
        own = answers.take(ask.rows, axis=0)
        same = output.dtype == own.dtype and output.shape == own.shape and output.tobytes() == own.tobytes()
        _require(same, f"{subject.name} answers {len(own)} rows otherwise than each alone")
    return "answered"


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001  # it is what the function is about
    if not holds:
        raise InexactError(otherwise)


def run(seed: int, requests: int) -> Tally:
    """Play random rounds with so many requests in all; raises `InexactError`."""
    tested, generator, tally = subjects(), np.random.default_rng(seed), Tally()

    async def all_rounds() -> None:
        for settings in rounds(generator, tested, requests):
            await play(tested, settings, tally)

    asyncio.run(all_rounds())
    return tally


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many are sent (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=0, help="another one sends others (default 0)")
    options = parser.parse_args()
    # The failures that it tells of are meant.
    logging.getLogger("service").setLevel(logging.CRITICAL)
    began = time.perf_counter()
    tally = run(options.seed, options.requests)
    seconds = time.perf_counter() - began
    print(f"{tally.requests:,} requests with {tally.rows:,} rows in {seconds:.0f} s ended as they must:")
    for end, count in tally.ends.most_common():
        print(f"{count:>12,}  {end}")
    print(f"{tally.divided:,} of those answered left in several batches")
    print(
        f"{tally.runs:,} runs of a model, of which {tally.failed_runs:,} failed; {tally.mixed_runs:,} had rows of both"
    )


if __name__ == "__main__":
    main()
