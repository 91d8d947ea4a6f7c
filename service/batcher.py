"""The asyncio shell around the scheduler: requests come in as calls, leave in batches and answer as futures."""

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from time import perf_counter
from typing import Generic, TypeVar

from service.errors import ComputeError, DrainingError, ForwardpassError, InternalError, QueueFullError
from service.metrics import ModelStats
from service.scheduler import Scheduler, Slice, Work

P = TypeVar("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class _Request(Work, Generic[P, R]):
    """A request in the queue: what it brings and who waits for it."""

    __slots__ = ("future", "payload", "results", "since")

    def __init__(self, payload: P, rows: int, key: Hashable, future: "asyncio.Future[R]") -> None:
        super().__init__(rows, key)
        self.payload = payload
        self.future = future
        self.since = perf_counter()
        self.results: list[R] = []

    @property
    def done(self) -> bool:
        return self.future.done()


Batch = list[Slice[_Request[P, R]]]


class Batcher(Generic[P, R]):
    """One model's queue, and the place where its batches run; made and used on `loop`.

    `run` computes a batch: for each payload with the first of its rows and the one after the last, in order, one
    result. `join` makes one result of those of a request that left in several batches. With `inline` a batch runs
    on the event loop, in a turn of its own; else on a thread that takes its next batch from the scheduler by
    itself, the moment it is free. `batch_seconds` is what the largest batch takes, for who is told to come again.

    Every future that `submit` returns is resolved once: with its answer, with a `ComputeError` or `InternalError`,
    or by whoever cancels it.
    """

    def __init__(  # noqa: PLR0913  # its collaborators, then its limits
        self,
        run: Callable[[Sequence[tuple[P, int, int]]], Sequence[R]],
        join: Callable[[Sequence[R]], R],
        stats: ModelStats,
        loop: asyncio.AbstractEventLoop,
        *,
        max_batch: int,
        max_queue: int,
        batch_seconds: float,
        inline: bool,
    ) -> None:
        self._run = run
        self._join = join
        self._stats = stats
        self._loop = loop
        self._scheduler: Scheduler[_Request[P, R]] = Scheduler(max_batch, max_queue)
        self._batch_seconds = batch_seconds
        self._changed = threading.Condition()
        """Guards the scheduler and `_closing`; notified when the thread has reason to look again."""
        self._closing = False
        self._turn_is_due = False
        self._thread = None if inline else threading.Thread(target=self._work, daemon=True)
        if self._thread is not None:
            self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue that have not left in a batch."""
        return self._scheduler.rows

    def submit(self, payload: P, rows: int, key: Hashable) -> "asyncio.Future[R]":
        """Queue the `rows` of a payload; only payloads with equal keys share a batch.

        Raises `QueueFullError` or `DrainingError` at once, never later.
        """
        request: _Request[P, R] = _Request(payload, rows, key, self._loop.create_future())
        with self._changed:
            if self._closing:
                raise DrainingError("the model is being taken out of service")
            if not self._scheduler.add(request):
                raise self._full(rows)
        if not self._turn_is_due:
            # Not now: what else comes in this turn of the loop shall leave with it.
            self._turn_is_due = True
            self._loop.call_soon(self._turn)
        return request.future

    async def close(self) -> None:
        """Refuse what comes from now on, answer everything that waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        while self._scheduler.rows:
            self._turn()

    def _full(self, rows: int) -> QueueFullError:
        waiting, scheduler = self._scheduler.rows, self._scheduler
        seconds = waiting / scheduler.max_batch * self._batch_seconds
        sentence = f"{waiting} rows wait and {scheduler.max_queue} may, so there is no room for {rows} more"
        return QueueFullError(sentence, retry_after=seconds)

    def _turn(self) -> None:
        """Run one batch here, or wake the thread that does."""
        self._turn_is_due = False
        with self._changed:
            if self._thread is not None:
                self._changed.notify()
                return
            batch = self._scheduler.take()
        if batch:
            self._settle(batch, *self._compute(batch))
        if self._scheduler.rows and not self._turn_is_due:
            # Another turn, so that between two batches the loop reads what has come.
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _work(self) -> None:
        """Run batches on this thread until the batcher is closed and its queue is empty."""
        while True:
            with self._changed:
                while not (batch := self._scheduler.take()):
                    if self._closing:
                        return
                    self._changed.wait()
            self._loop.call_soon_threadsafe(self._settle, batch, *self._compute(batch))
            # Nothing of a batch outlives it while the thread waits for the next.
            del batch

    def _compute(self, batch: Batch[P, R]) -> tuple[Sequence[R] | ForwardpassError, float, float]:
        """The results of a batch, or the error that all its requests get; with when it began and ended."""
        began = perf_counter()
        results: Sequence[R] | ForwardpassError
        try:
            results = self._run([(request.payload, start, stop) for request, start, stop in batch])
        except ComputeError as error:
            logger.error("a batch of %d rows failed: %s", _rows(batch), error)  # noqa: TRY400  # it says all
            results = error
        except Exception:
            logger.exception("a batch of %d rows failed", _rows(batch))
            results = InternalError("the server failed on this request; its log says why")
        return results, began, perf_counter()

    def _settle(self, batch: Batch[P, R], results: Sequence[R] | ForwardpassError, began: float, ended: float) -> None:
        """Hand the results to whoever waits for them; on the event loop."""
        self._stats.count_batch(_rows(batch), ended - began)
        for index, (request, start, stop) in enumerate(batch):
            if start == 0:
                self._stats.queue.observe(began - request.since)
            if request.done:
                continue
            if isinstance(results, ForwardpassError):
                request.future.set_exception(results)
                continue
            request.results.append(results[index])
            if stop == request.rows:
                self._answer(request)

    def _answer(self, request: _Request[P, R]) -> None:
        """Resolve a request of which every part is computed."""
        whole, *others = request.results
        try:
            request.future.set_result(self._join(request.results) if others else whole)
        except ComputeError as error:
            request.future.set_exception(error)


def _rows(batch: Batch[P, R]) -> int:
    return sum(stop - start for _, start, stop in batch)
