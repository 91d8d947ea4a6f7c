"""The asyncio shell around the scheduler: requests come in as calls, leave in batches and answer as futures."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Any, Generic, TypeVar

from service.batching.admission import Cost, no_room, require_time
from service.batching.blame import Run, attempt, isolate
from service.batching.scheduler import Batch, Scheduler
from service.errors import ComputeError, DeadlineError, DrainingError, ForwardpassError, InternalError
from service.metrics import ModelStats

P = TypeVar("P")
R = TypeVar("R")

INLINE_SECONDS = 0.0005
"""A batch that takes less than this runs on the event loop. Handing it to a thread costs 50 to 100 µs of the
processor's time, a fifth of such a batch and many times a small one; and for no longer than this nothing else is
read from the network."""

_TIMER_GRAIN = 0.001
"""uvloop's timers count whole milliseconds and may ring one early; a deadline's shall not."""

logger = logging.getLogger(__name__)


class _Request(asyncio.Future[R], Generic[P, R]):
    """A request in the queue and, as a future, who waits for it: one object, made once for each request.

    `left` is told when nobody waits any more.
    """

    __slots__ = ("deadline", "key", "left", "parts", "payload", "rows", "since", "size", "taken")

    def __init__(  # noqa: PLR0913, PLR0917  # its parts, by place: names would cost on every request
        self,
        payload: P,
        rows: int,
        key: Hashable,
        size: int,
        deadline: float | None,
        loop: asyncio.AbstractEventLoop,
        left: "Callable[[_Request[P, R]], None]",
    ) -> None:
        asyncio.Future.__init__(self, loop=loop)
        self.payload = payload
        self.rows = rows
        self.key = key
        self.size = size
        self.deadline = deadline
        self.taken = 0
        self.left = left
        self.parts: list[R] | None = None
        """The results so far, of one that leaves in several batches."""
        self.since = perf_counter()

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # as asyncio has it
        """Cancel, and free the place in the queue at once."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.left(self)
        return cancelled


_Batch = Batch[_Request[P, R]]


class Batcher(Generic[P, R]):
    """One model's queue, and the place where its batches run, one at a time; made and used on `loop`.

    `run` computes a batch. `join` makes one result of those of a request that left in several batches. What leaves
    when, and how much may wait, is the `Scheduler`'s.

    A batch runs on the event loop, in a turn of its own, or on the model's own thread, which then takes its next
    batches by itself, the moment it is free, until none wait. `inline` says where; None lets each batch run on the
    loop whose predicted cost is below `INLINE_SECONDS`, where the thread is idle. The thread starts when it is
    first needed.

    Every future that `submit` returns is resolved once: with its answer, with a `ComputeError`, `InternalError` or
    `DeadlineError`, or by whoever cancels it.
    """

    def __init__(  # noqa: PLR0913  # its collaborators, then its limits
        self,
        run: Run[P, R],
        join: Callable[[Sequence[R]], R],
        stats: ModelStats,
        loop: asyncio.AbstractEventLoop,
        *,
        cost: Cost,
        max_batch: int,
        max_queue: int,
        max_queue_bytes: int,
        inline: bool | None,
    ) -> None:
        self._run = run
        self._join = join
        self._stats = stats
        self._loop = loop
        self._cost = cost
        self._scheduler: Scheduler[_Request[P, R]] = Scheduler(max_batch, max_queue, max_queue_bytes)
        self._inline = inline
        self._lock = Lock()
        """Guards the scheduler, and the end of the thread's work."""
        self._busy = False
        """Whether the thread has a batch: then it takes all that waits, and the loop none. The loop sets it, the
        thread clears it."""
        self._free_at = 0.0
        """When the thread's batch is predicted to end."""
        self._handover: SimpleQueue[_Batch[P, R] | None] = SimpleQueue()
        """The batch with which an idle thread begins; None ends it."""
        self._thread: Thread | None = None
        self._timers: dict[_Request[P, R], asyncio.TimerHandle] = {}
        """The requests with a deadline that are not resolved."""
        self._left = self._leave  # bound once, not for each request
        self._turn_is_due = False
        self._closing = False

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue that have not left in a batch."""
        return self._scheduler.rows

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the requests in the queue."""
        return self._scheduler.bytes

    def submit(
        self, payload: P, rows: int, key: Hashable, *, size: int = 0, deadline: float | None = None
    ) -> "asyncio.Future[R]":
        """Queue the `rows` of a payload of `size` bytes; only payloads with equal keys share a batch.

        Once the clock `perf_counter` reaches the deadline its rows are not computed any more; an answer that is
        there by then is given. Raises `DrainingError`, `QueueFullError`, or `DeadlineError` for a deadline that
        has passed or is certain to, at once.
        """
        if self._closing:
            raise DrainingError("the model is being taken out of service")
        request: _Request[P, R] = _Request(payload, rows, key, size, deadline, self._loop, self._left)
        with self._lock:
            if deadline is not None:
                require_time(self._scheduler, request, deadline - request.since, self._busy_after(request), self._cost)
            if not self._scheduler.add(request):
                raise no_room(self._scheduler, request, self._busy_after(request), self._cost)
        if deadline is not None:
            after = deadline - request.since + _TIMER_GRAIN
            self._timers[request] = self._loop.call_later(after, self._expire, request)
        if not self._turn_is_due:
            # Not now: what else comes in this turn of the loop shall leave with it.
            self._turn_is_due = True
            self._loop.call_soon(self._turn)
        return request

    async def close(self) -> None:
        """Refuse what comes from now on, resolve everything that waits, and end the thread."""
        self._closing = True
        while self._scheduler.rows and not self._busy:  # noqa: ASYNC110  # a turn is due: this lets it run
            await asyncio.sleep(0)
        if self._thread is not None:
            # Behind the batch that it may have, after which it takes all that wait.
            self._handover.put(None)
            await asyncio.to_thread(self._thread.join)
        if self._timers:
            # What was too late to be computed is resolved by its own timer.
            await asyncio.wait(list(self._timers))

    def _busy_after(self, request: _Request[P, R]) -> float:
        """The seconds from a request's coming to the predicted end of the thread's batch."""
        return max(0.0, self._free_at - request.since)

    def _leave(self, request: _Request[P, R]) -> None:
        """Free the place of a request that nobody waits for."""
        self._stop_timer(request)
        with self._lock:
            self._scheduler.remove(request)

    def _expire(self, request: _Request[P, R]) -> None:
        """Resolve a request whose deadline has passed before its answer was there."""
        self._leave(request)
        waited = (perf_counter() - request.since) * 1000
        request.set_exception(DeadlineError(f"the deadline passed: there was no answer after {waited:.0f} ms"))

    def _turn(self) -> None:
        """Run one batch here, or hand it to the thread where that has none."""
        self._turn_is_due = False
        with self._lock:
            if self._busy:
                return
            began = perf_counter()
            batch = self._scheduler.take(began)
        if batch is None:
            return
        inline = self._cost(batch.rows, batch.key) < INLINE_SECONDS if self._inline is None else self._inline
        if not inline and self._ensure_thread():
            self._busy = True
            self._free_at = began + self._cost(batch.rows, batch.key)
            self._handover.put(batch)
            return
        self._settle(batch, self._compute(batch), began, perf_counter())
        if self._scheduler.rows and not self._turn_is_due:
            # Another turn, so that between two batches the loop reads what has come.
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _ensure_thread(self) -> bool:
        """Whether the model has its thread, which starts now at the latest, unless the system gives none."""
        if self._thread is None:
            thread = Thread(target=self._work, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                logger.exception("the system starts no thread, so the event loop computes and reads nothing meanwhile")
                return False
            self._thread = thread
        return True

    def _work(self) -> None:
        """Run, on this thread, each batch that is handed over and then those that wait."""
        while (batch := self._handover.get()) is not None:
            while batch is not None:
                began = perf_counter()
                outcomes = self._compute(batch)
                try:
                    self._loop.call_soon_threadsafe(self._settle, batch, outcomes, began, perf_counter())
                except RuntimeError:
                    # The loop was closed under the computation: nobody is left to be told.
                    return
                # Nothing of a batch outlives it while the thread waits for the next.
                del outcomes
                batch = self._take_next()

    def _take_next(self) -> _Batch[P, R] | None:
        """The thread's next batch; None, with the thread idle from now on, where no rows wait."""
        with self._lock:
            now = perf_counter()
            batch = self._scheduler.take(now)
            self._busy = batch is not None
            self._free_at = 0.0 if batch is None else now + self._cost(batch.rows, batch.key)
        return batch

    def _compute(self, batch: _Batch[P, R]) -> "Sequence[R | ForwardpassError]":
        """For each slice of a batch its result, or the error that its request gets."""
        parts = [(request.payload, start, stop) for request, start, stop in batch.slices]
        results = attempt(self._run, parts)
        if not isinstance(results, ForwardpassError):
            return results
        outcomes = isolate(self._run, parts, results)
        with self._lock:
            for (request, _, _), outcome in zip(batch.slices, outcomes, strict=True):
                if isinstance(outcome, ForwardpassError):
                    # What is left of a divided one need not be computed.
                    self._scheduler.remove(request)
        return outcomes

    def _settle(
        self, batch: _Batch[P, R], outcomes: "Sequence[R | ForwardpassError]", began: float, ended: float
    ) -> None:
        """Hand what came out to whoever waits for it; on the event loop."""
        self._stats.count_batch(batch.rows, ended - began)
        observe = self._stats.queue.observe
        for (request, start, stop), outcome in zip(batch.slices, outcomes, strict=True):
            if start == 0:
                observe(began - request.since)
            if request.done():
                continue
            if isinstance(outcome, ForwardpassError):
                self._stop_timer(request)
                request.set_exception(outcome)
            elif stop - start == request.rows:
                if request.deadline is not None:
                    self._stop_timer(request)
                request.set_result(outcome)
            else:
                self._collect(request, outcome, whole=stop == request.rows)

    def _collect(self, request: _Request[P, R], part: R, *, whole: bool) -> None:
        """Keep one of several results of a request; with the last of them resolve it."""
        if request.parts is None:
            request.parts = []
        request.parts.append(part)
        if not whole:
            return
        self._stop_timer(request)
        try:
            request.set_result(self._join(request.parts))
        except ComputeError as error:
            request.set_exception(error)
        except Exception:
            logger.exception("the results of a request of %d rows cannot be joined", request.rows)
            request.set_exception(InternalError())

    def _stop_timer(self, request: _Request[P, R]) -> None:
        timer = self._timers.pop(request, None)
        if timer is not None:
            timer.cancel()
