"""The asyncio shell around the scheduler: requests come in as jobs, leave in batches and are settled."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import Generic

from service.batching.admission import no_room, require_time
from service.batching.blame import Run, attempt, isolate
from service.batching.job import Job, P, R
from service.batching.scheduler import Batch, Cost, Scheduler
from service.batching.slowness import Slowness
from service.errors import ComputeError, DeadlineError, DrainingError, ForwardpassError, InternalError
from service.metrics import ModelStats

INLINE_SECONDS = 0.0005
"""A batch that takes less than this runs on the event loop. Handing it to a thread costs 50 to 100 µs of the
processor's time, a fifth of such a batch and many times a small one; and for no longer than this nothing else is
read from the network."""

_TIMER_GRAIN = 0.001
"""uvloop's timers count whole milliseconds and may ring one early; a deadline's shall not."""

logger = logging.getLogger(__name__)


_Batch = Batch[Job[P, R]]


class Batcher(Generic[P, R]):
    """One model's queue, and the place where its batches run, one at a time; used on `loop`.

    `run` computes a batch. `join` makes one result of those of a request that left in several batches. What leaves
    when, and how much may wait, is the `Scheduler`'s.

    A batch runs on the event loop, in a turn of its own, or on the model's own thread, which then takes its next
    batches by itself, the moment it is free, until none wait. `inline` says where; None lets each batch run on the
    loop whose predicted cost is below `INLINE_SECONDS`, where the thread is idle. The thread starts when it is
    first needed.

    Every job that `queue` takes is settled once: with its answer, with a `ComputeError`, `InternalError` or
    `DeadlineError`; unless it is given up before.
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
        self._measured = cost
        """What batches took at start."""
        self._slowness = Slowness()
        self._scheduler: Scheduler[Job[P, R]] = Scheduler(max_batch, max_queue, max_queue_bytes)
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
        self._timers: dict[Job[P, R], asyncio.TimerHandle] = {}
        """The jobs with a deadline that are not over."""
        self._timeless = asyncio.Event()
        """Set while there are none of those."""
        self._timeless.set()
        self._turn_is_due = False
        self._told = 0
        """How many of the rows that the model's numbers say wait are those that wait here."""
        self._closing = False

    @property
    def waiting_rows(self) -> int:
        """Rows in the queue that have not left in a batch."""
        return self._scheduler.rows

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the requests in the queue."""
        return self._scheduler.bytes

    def queue(self, job: Job[P, R]) -> None:
        """Queue a job; an answer that is there by its deadline is given, whenever it is computed.

        Raises `DrainingError`, `QueueFullError`, or `DeadlineError` for a deadline that has passed or is certain to,
        at once.
        """
        if self._closing:
            raise DrainingError("the model is being taken out of service")
        deadline = job.deadline
        with self._lock:
            if deadline is not None:
                require_time(self._scheduler, job, deadline - job.since, self._busy_after(job), self._cost)
            if not self._scheduler.add(job):
                raise no_room(self._scheduler, job, self._busy_after(job), self._cost)
        if deadline is not None:
            after = deadline - job.since + _TIMER_GRAIN
            self._timers[job] = self._loop.call_later(after, self._ring, job)
            self._timeless.clear()
        if not self._turn_is_due:
            # Not now: what else comes in this turn of the loop shall leave with it.
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def give_up(self, job: Job[P, R]) -> None:
        """Free the place of a job that nobody waits for any more; it is not settled."""
        if not job.is_over:
            self._leave(job)

    async def close(self) -> None:
        """Refuse what comes from now on, resolve everything that waits, and end the thread."""
        self._closing = True
        while self._scheduler.rows and not self._busy:  # noqa: ASYNC110  # a turn is due: this lets it run
            await asyncio.sleep(0)
        if self._thread is not None:
            # Behind the batch that it may have, after which it takes all that wait.
            self._handover.put(None)
            await asyncio.to_thread(self._thread.join)
        # What was too late to be computed is settled by its own timer.
        await self._timeless.wait()

    def _tell(self) -> None:
        """Say what has changed in the queue: how many rows wait, and whose would be late; on the event loop."""
        scheduler = self._scheduler
        rows = scheduler.rows
        if rows != self._told:
            self._stats.wait(rows - self._told)
            self._told = rows
        if scheduler.late:
            with self._lock:
                late, scheduler.late = scheduler.late, []
            for job in late:
                self._expire(job, "it would not have been computed in time")

    def _busy_after(self, job: Job[P, R]) -> float:
        """The seconds from a job's coming to the predicted end of the thread's batch."""
        return max(0.0, self._free_at - job.since)

    def _cost(self, rows: int, key: Hashable) -> float:
        """The predicted seconds of a batch: as long as runs take lately, behind another one.

        In an idle model it is as at start. A run that is begun tells how long runs take, and a refusal does not: nobody
        shall be refused for ever since they once took long.
        """
        seconds = self._measured(rows, key)
        return self._slowness.factor * seconds if self._busy else seconds

    def _leave(self, job: Job[P, R]) -> None:
        """Free the place of a job that is over."""
        job.is_over = True
        self._stop_timer(job)
        with self._lock:
            self._scheduler.remove(job)
        self._tell()

    def _ring(self, job: Job[P, R]) -> None:
        """Expire a job whose deadline has passed; behind what the thread has said already, which may be its answer."""
        self._loop.call_soon(self._expire, job, "the deadline passed")

    def _expire(self, job: Job[P, R], why: str) -> None:
        """Settle a job that is not answered in time."""
        if job.is_over:
            return
        self._leave(job)
        waited = (perf_counter() - job.since) * 1000
        job.settle(DeadlineError(f"{why}: there was no answer after {waited:.0f} ms"))

    def _turn(self) -> None:
        """Run one batch here, or hand it to the thread where that has none."""
        self._turn_is_due = False
        with self._lock:
            began = perf_counter()
            batch = None if self._busy else self._scheduler.take(began, self._cost)
        self._tell()
        if batch is None:
            return
        inline = self._measured(batch.rows, batch.key) < INLINE_SECONDS if self._inline is None else self._inline
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
                ended = perf_counter()
                self._slowness.note(ended - began, self._measured(batch.rows, batch.key))
                try:
                    self._loop.call_soon_threadsafe(self._settle, batch, outcomes, began, ended)
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
            batch = self._scheduler.take(now, self._cost)
            self._busy = batch is not None
            self._free_at = 0.0 if batch is None else now + self._cost(batch.rows, batch.key)
        return batch

    def _compute(self, batch: _Batch[P, R]) -> "Sequence[R | ForwardpassError]":
        """For each slice of a batch its result, or the error that its request gets."""
        parts = [(job.payload, start, stop) for job, start, stop in batch.slices]
        results = attempt(self._run, parts)
        if not isinstance(results, ForwardpassError):
            return results
        outcomes = isolate(self._run, parts, results)
        with self._lock:
            for (job, _, _), outcome in zip(batch.slices, outcomes, strict=True):
                if isinstance(outcome, ForwardpassError):
                    # What is left of a divided one need not be computed.
                    self._scheduler.remove(job)
        return outcomes

    def _settle(
        self, batch: _Batch[P, R], outcomes: "Sequence[R | ForwardpassError]", began: float, ended: float
    ) -> None:
        """Hand what came out to whoever waits for it; on the event loop."""
        self._tell()
        self._stats.count_batch(batch.rows, ended - began)
        observe = self._stats.queue.observe
        for (job, start, stop), outcome in zip(batch.slices, outcomes, strict=True):
            if start == 0:
                observe(began - job.since)
            if job.is_over:
                continue
            if stop - start == job.rows or isinstance(outcome, ForwardpassError):
                self._end(job, outcome)
            else:
                self._collect(job, outcome, whole=stop == job.rows)

    def _collect(self, job: Job[P, R], part: R, *, whole: bool) -> None:
        """Keep one of several results of a job; with the last of them settle it."""
        if job.parts is None:
            job.parts = []
        job.parts.append(part)
        if not whole:
            return
        outcome: R | ForwardpassError
        # As large as what is made of them: they do not outlive it.
        parts, job.parts = job.parts, None
        try:
            outcome = self._join(parts)
        except ComputeError as error:
            outcome = error
        except Exception:
            logger.exception("the results of a request of %d rows cannot be joined", job.rows)
            outcome = InternalError()
        self._end(job, outcome)

    def _end(self, job: Job[P, R], outcome: R | ForwardpassError) -> None:
        job.is_over = True
        if job.deadline is not None:
            self._stop_timer(job)
        try:
            job.settle(outcome)
        except Exception:
            # The others of its batch are told all the same.
            logger.exception("the outcome of a request of %d rows could not be handed over", job.rows)

    def _stop_timer(self, job: Job[P, R]) -> None:
        timer = self._timers.pop(job, None)
        if timer is not None:
            timer.cancel()
            if not self._timers:
                self._timeless.set()
