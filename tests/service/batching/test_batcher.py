"""Behaviour of service.batching.batcher."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest

from service.batching.batcher import INLINE_SECONDS, Batcher
from service.batching.scheduler import Cost
from service.errors import ComputeError, DeadlineError, DrainingError, InternalError, QueueFullError
from service.metrics import ModelStats
from tests import awaited
from tests.service.conftest import counting

Numbers = list[int]
Doubling = Batcher[Numbers, Numbers]

POISON = -1
LONG = 3600.0
"""Seconds that no test lasts."""

both = pytest.mark.parametrize("inline", [True, False], ids=["inline", "thread"])


class Model:
    """A model that doubles numbers, remembers its batches and fails on `POISON`.

    Where it is `held`, it says when it has `begun` a batch and ends it when it is let `go`.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[Numbers]] = []
        self.begun, self.go = threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def run(self, parts: Sequence[tuple[Numbers, int, int]]) -> list[Numbers]:
        """Double each part's rows."""
        rows = [numbers[start:stop] for numbers, start, stop in parts]
        self.batches.append(rows)
        self.begun.set()
        self.go.wait()
        if any(POISON in own for own in rows):
            raise ComputeError("poison")
        return [[2 * number for number in own] for own in rows]

    @staticmethod
    def join(parts: Sequence[Numbers]) -> Numbers:
        """One list of several."""
        return [number for part in parts for number in part]

    def batcher(  # noqa: PLR0913  # what a test sets of a batcher
        self,
        *,
        inline: bool | None,
        max_batch: int = 4,
        max_queue: int = 100,
        max_queue_bytes: int = 1000,
        cost: Cost = lambda *_: 0.0,
        stats: ModelStats | None = None,
    ) -> Doubling:
        """A batcher that runs this model."""
        return Batcher(
            self.run,
            self.join,
            stats or counting(),
            asyncio.get_running_loop(),
            cost=cost,
            max_batch=max_batch,
            max_queue=max_queue,
            max_queue_bytes=max_queue_bytes,
            inline=inline,
        )


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene on an event loop of its own, on which no callback may fail."""
    failures: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await scene()

    asyncio.run(watched())
    assert not failures


def submit(
    batcher: Doubling, *rows: int, key: str = "", size: int = 0, within: float | None = None
) -> "asyncio.Future[Numbers]":
    """Queue some numbers, to be computed within so many seconds."""
    deadline = None if within is None else perf_counter() + within
    return awaited.submit(batcher, list(rows), len(rows), key, size=size, deadline=deadline)


async def hold(model: Model, batcher: Doubling) -> "asyncio.Future[Numbers]":
    """Occupy the model's thread with one row until it is let go."""
    future = submit(batcher, 0)
    await asyncio.to_thread(model.begun.wait)
    return future


# What other servers get wrong


@both
def test_a_failing_request_fails_alone(*, inline: bool) -> None:
    """Its neighbours in the batch are answered, with their own answers."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_batch=8)
        first = submit(batcher, 9) if inline else await hold(model, batcher)
        members = [submit(batcher, number) for number in (1, 2, POISON, 3, 4)]
        model.go.set()
        answers = await asyncio.gather(*members, return_exceptions=True)
        assert await first
        assert isinstance(answers.pop(2), ComputeError)
        assert answers == [[2], [4], [6], [8]]
        await batcher.close()

    play(scene)


@both
def test_an_answer_has_the_rows_that_were_sent_whatever_their_number(*, inline: bool) -> None:
    """Requests of different lengths share batches, and none gets a neighbour's rows."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline)
        sent = [[1], [2, 3, 4], [5, 6], list(range(7, 16)), [16], [17, 18]]
        answers = await asyncio.gather(*(submit(batcher, *rows) for rows in sent))
        assert answers == [[2 * number for number in rows] for rows in sent]
        await batcher.close()

    play(scene)


@both
def test_a_cancelled_request_hurts_nobody(*, inline: bool) -> None:
    """Its neighbours in the batch are answered, and its own rows are not computed."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline)
        first = submit(batcher, 9) if inline else await hold(model, batcher)
        left, gone, right = submit(batcher, 1), submit(batcher, 2), submit(batcher, 3)
        gone.cancel()
        model.go.set()
        assert [await left, await right] == [[2], [6]]
        await first
        assert gone.cancelled()
        assert [2] not in [own for batch in model.batches for own in batch]
        await batcher.close()
        assert batcher.waiting_rows == 0

    play(scene)


# One request


@both
def test_a_request_is_answered(*, inline: bool) -> None:
    """The answer is the model's for the request's own rows."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline)
        assert await submit(batcher, 1, 2, 3) == [2, 4, 6]
        await batcher.close()

    play(scene)


def test_requests_of_one_turn_leave_in_one_batch() -> None:
    """On the event loop, what comes before the loop goes round is one batch."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=True)
        answers = await asyncio.gather(*(submit(batcher, number) for number in range(4)))
        assert answers == [[0], [2], [4], [6]]
        assert model.batches == [[[0], [1], [2], [3]]]
        await batcher.close()

    play(scene)


def test_what_comes_while_the_thread_is_busy_leaves_in_one_batch() -> None:
    """A thread's next batch is all that has come while it computed the last."""

    async def scene() -> None:
        model = Model(held=True)
        batcher = model.batcher(inline=False)
        first = await hold(model, batcher)
        others = [submit(batcher, number) for number in (1, 2, 3)]
        assert batcher.waiting_rows == 3
        model.go.set()
        assert await asyncio.gather(first, *others) == [[0], [2], [4], [6]]
        assert model.batches == [[[0]], [[1], [2], [3]]]
        await batcher.close()

    play(scene)


@both
def test_keys_never_share_a_batch(*, inline: bool) -> None:
    """Rows of different shapes are computed apart."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=inline)
        answers = await asyncio.gather(*(submit(batcher, n, key=key) for n, key in enumerate("abab")))
        assert answers == [[0], [2], [4], [6]]
        for batch in model.batches:
            assert len({number % 2 for (number,) in batch}) == 1
        await batcher.close()

    play(scene)


@both
def test_an_oversized_request_is_rejoined_in_order(*, inline: bool) -> None:
    """A request of several batches gets one answer, its rows as they came."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=inline)
        small, large = submit(batcher, 100), submit(batcher, *range(11))
        assert await small == [200]
        assert await large == [2 * number for number in range(11)]
        assert max(sum(map(len, batch)) for batch in model.batches) == 4
        await batcher.close()

    play(scene)


@both
def test_a_small_request_does_not_wait_for_an_oversized_one(*, inline: bool) -> None:
    """It leaves with the next batch, ahead of rows that came before it, and the oversized one is answered too."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_queue=40)
        first = submit(batcher, 9) if inline else await hold(model, batcher)
        large = submit(batcher, *range(40))
        small = submit(batcher, 100)
        model.go.set()
        assert await small == [200]
        assert await large == [2 * number for number in range(40)]
        await first
        await batcher.close()
        assert [100] in model.batches[0 if inline else 1]

    play(scene)


@both
def test_an_oversized_request_is_answered_beside_small_ones_that_never_end(*, inline: bool) -> None:
    """Whoever sends a small request whenever one is answered does not keep it out."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline)
        large = submit(batcher, *range(11))
        small = [submit(batcher, number) for number in range(8)]
        batches = 0
        while not large.done():
            assert batches < 100
            batches += 1
            assert await small.pop(0)
            small.append(submit(batcher, batches))
        assert await large == [2 * number for number in range(11)]
        await asyncio.gather(*small)
        await batcher.close()

    play(scene)


@both
def test_a_batch_that_fails_is_an_error_for_its_members_only(*, inline: bool) -> None:
    """Each member gets a `ComputeError` with the reason; the batches before and after it are answered."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline, max_batch=1)
        before, poisoned, after = submit(batcher, 1), submit(batcher, POISON), submit(batcher, 2)
        with pytest.raises(ComputeError, match="poison"):
            await poisoned
        assert await before == [2]
        assert await after == [4]
        assert await submit(batcher, 3) == [6]
        await batcher.close()

    play(scene)


@both
def test_results_that_cannot_be_joined_are_an_error_of_that_request_only(*, inline: bool) -> None:
    """A request of several batches whose parts do not fit is told so, and its neighbour is answered."""

    class Unjoinable(Model):
        @staticmethod
        def join(parts: Sequence[Numbers]) -> Numbers:
            raise ComputeError(f"{len(parts)} parts do not fit")

    async def scene() -> None:
        batcher = Unjoinable().batcher(inline=inline, max_batch=2)
        divided, neighbour = submit(batcher, 1, 2, 3), submit(batcher, 4)
        with pytest.raises(ComputeError, match="2 parts do not fit"):
            await divided
        assert await neighbour == [8]
        await batcher.close()

    play(scene)


@both
def test_a_fault_of_our_own_is_an_error_and_no_hang(*, inline: bool) -> None:
    """What a run raises that is not onnxruntime's failure is logged, and told without its innards."""

    class Faulty(Model):
        def run(self, parts: Sequence[tuple[Numbers, int, int]]) -> list[Numbers]:
            raise IndexError(len(parts))

    async def scene() -> None:
        batcher = Faulty().batcher(inline=inline)
        with pytest.raises(InternalError, match="its log says why"):
            await submit(batcher, 1)
        await batcher.close()

    play(scene)


def test_requests_of_one_turn_leave_together_on_a_thread_too() -> None:
    """A thread that waits is woken once the loop has gone round, however long that takes."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=False)
        waiting = []
        for number in range(4):
            waiting.append(submit(batcher, number))
            # Time enough for a thread that was woken too early.
            model.begun.wait(0.01)
        assert await asyncio.gather(*waiting) == [[0], [2], [4], [6]]
        assert model.batches == [[[0], [1], [2], [3]]]
        await batcher.close()

    play(scene)


@both
def test_an_oversized_request_fails_with_any_of_its_batches(*, inline: bool) -> None:
    """One error is its answer, the rows that have not left leave no more, and the next request is answered."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=inline, max_batch=1)
        with pytest.raises(ComputeError):
            await submit(batcher, 1, POISON, 2)
        assert await submit(batcher, 5) == [10]
        await batcher.close()
        assert batcher.waiting_rows == 0

    play(scene)


def test_a_request_cancelled_while_it_is_computed_hurts_nobody() -> None:
    """The answer that nobody waits for is dropped, its neighbour's is not."""

    async def scene() -> None:
        model = Model(held=True)
        batcher = model.batcher(inline=False)
        first = await hold(model, batcher)
        model.begun.clear()
        first.cancel()
        neighbour = submit(batcher, 1, 2, 3, 4, 5)
        model.go.set()
        assert await neighbour == [2, 4, 6, 8, 10]
        await batcher.close()

    play(scene)


@both
def test_a_full_queue_refuses_at_once(*, inline: bool) -> None:
    """The error says when to come again; once there is room, requests are taken again."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_queue=4)
        first = None if inline else await hold(model, batcher)
        waiting = [submit(batcher, 1, 2), submit(batcher, 3, 4)]
        with pytest.raises(QueueFullError, match="4 rows wait and 4 may, so there is no room for 1 more") as refused:
            submit(batcher, 5)
        assert refused.value.retry_after >= 0
        model.go.set()
        assert await asyncio.gather(*waiting) == [[2, 4], [6, 8]]
        assert first is None or await first == [0]
        assert await submit(batcher, 5) == [10]
        await batcher.close()

    play(scene)


@both
def test_close_answers_all_that_waits(*, inline: bool) -> None:
    """What was taken is answered, however many batches it needs; what comes after is refused."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_batch=2)
        first = [] if inline else [await hold(model, batcher)]
        futures = [*first, *(submit(batcher, number, number, key="ab"[number % 2]) for number in range(6))]
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            submit(batcher, 1)
        model.go.set()
        await closing
        assert all(future.done() for future in futures)
        assert [future.result() for future in futures[-6:]] == [[2 * number] * 2 for number in range(6)]
        with pytest.raises(DrainingError):
            submit(batcher, 1)

    play(scene)


@both
def test_close_ends_the_thread(*, inline: bool) -> None:
    """After it, no thread of the batcher is left."""

    async def scene() -> None:
        before = set(threading.enumerate())
        batcher = Model().batcher(inline=inline)
        await submit(batcher, 1)
        own = set(threading.enumerate()) - before
        assert len(own) == (0 if inline else 1)
        await batcher.close()
        assert not any(thread.is_alive() for thread in own)

    play(scene)


@both
def test_a_batcher_closes_unused_and_twice(*, inline: bool) -> None:
    """A server that stops before its first request has nothing to wait for."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline)
        await batcher.close()
        await batcher.close()
        with pytest.raises(DrainingError):
            submit(batcher, 1)

    play(scene)


@both
def test_batches_are_counted(*, inline: bool) -> None:
    """Rows and durations of each batch, and the time that each request waited, are in the numbers."""

    async def scene() -> None:
        stats = counting()
        model = Model()
        batcher = model.batcher(stats=stats, inline=inline, max_batch=2, max_queue=9)
        await awaited.submit(batcher, [1, 2, 3], 3, "")
        await batcher.close()
        assert stats.batch_rows.total == 3
        assert (sum(stats.batch_rows.counts), sum(stats.compute.counts), sum(stats.queue.counts)) == (2, 2, 1)

    play(scene)


# Failures


@both
def test_the_rest_of_a_request_that_failed_is_not_computed(*, inline: bool) -> None:
    """Its rows leave the queue with the failure of the first."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_batch=2)
        first = submit(batcher, 7) if inline else await hold(model, batcher)
        large = submit(batcher, POISON, 1, 2, 3, 4, 5, key="large")
        model.go.set()
        with pytest.raises(ComputeError):
            await large
        assert await first
        assert await submit(batcher, 6) == [12]
        await batcher.close()
        assert [number for batch in model.batches for own in batch for number in own if number in range(2, 6)] == []

    play(scene)


@both
def test_results_whose_joining_breaks_are_a_fault_of_our_own(*, inline: bool) -> None:
    """Whatever goes wrong there, the request is told and its neighbour is answered."""

    class Breaking(Model):
        @staticmethod
        def join(parts: Sequence[Numbers]) -> Numbers:
            raise IndexError(len(parts))

    async def scene() -> None:
        batcher = Breaking().batcher(inline=inline, max_batch=2)
        divided, neighbour = submit(batcher, 1, 2, 3), submit(batcher, 4)
        with pytest.raises(InternalError, match="its log says why"):
            await divided
        assert await neighbour == [8]
        await batcher.close()

    play(scene)


# Room


def test_a_cancelled_request_makes_room_at_once() -> None:
    """In the middle of a full queue, before anything leaves or the loop goes round."""

    async def scene() -> None:
        model = Model(held=True)
        batcher = model.batcher(inline=False, max_queue=3, max_queue_bytes=30)
        first = await hold(model, batcher)
        left, gone, right = (submit(batcher, number, size=10) for number in (1, 2, 3))
        gone.cancel()
        assert (batcher.waiting_rows, batcher.waiting_bytes) == (2, 20)
        new = submit(batcher, 4, size=10)
        model.go.set()
        assert await asyncio.gather(*[first, left, right, new]) == [[0], [2], [6], [8]]
        await batcher.close()

    play(scene)


@both
def test_bytes_are_bounded_apart_from_rows(*, inline: bool) -> None:
    """A request is refused for its bytes however few rows it has, and told that it is they."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline, max_queue_bytes=100)
        waiting = [submit(batcher, number, size=45) for number in (1, 2)]
        with pytest.raises(QueueFullError, match="90 bytes wait and 100 may, so there is no room for 11 more"):
            submit(batcher, 3, size=11)
        waiting.append(submit(batcher, 3, size=10))
        assert await asyncio.gather(*waiting) == [[2], [4], [6]]
        assert batcher.waiting_bytes == 0
        await batcher.close()

    play(scene)


# Deadlines


@both
def test_a_deadline_that_has_passed_is_refused_at_once(*, inline: bool) -> None:
    """Nothing of the request is queued or computed."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=inline)
        with pytest.raises(DeadlineError, match="passed 1000 ms before the request was queued"):
            submit(batcher, 1, within=-1.0)
        assert batcher.waiting_rows == 0
        await batcher.close()
        assert model.batches == []

    play(scene)


@both
def test_a_deadline_that_passes_in_the_queue_is_told_at_that_time(*, inline: bool) -> None:
    """Though the model is busy or the loop was; its place is free, its rows are not computed, others are answered."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline)
        first = submit(batcher, 9) if inline else await hold(model, batcher)
        late, neighbour = submit(batcher, 1, within=0.05), submit(batcher, 2)
        if inline:
            # The loop is kept from its next turn until the deadline has passed.
            busy_until = perf_counter() + 0.06
            while perf_counter() < busy_until:
                pass
        with pytest.raises(DeadlineError, match="there was no answer after"):
            await late
        assert inline or batcher.waiting_rows == 1
        model.go.set()
        assert await neighbour == [4]
        await first
        await batcher.close()
        assert [1] not in [own for batch in model.batches for own in batch]

    play(scene)


@both
def test_a_deadline_to_come_changes_nothing(*, inline: bool) -> None:
    """The request is answered as any other, and no timer is left to keep the loop or the request."""

    async def scene() -> None:
        batcher = Model().batcher(inline=inline, max_batch=2)
        whole, divided, failed, gone = (submit(batcher, *rows, within=LONG) for rows in ([1], [2, 3, 4], [POISON], [5]))
        gone.cancel()
        assert await whole == [2]
        assert await divided == [4, 6, 8]
        with pytest.raises(ComputeError):
            await failed
        # With a timer left it would wait for an hour.
        await batcher.close()

    play(scene)


def test_a_deadline_that_is_certain_to_be_missed_is_refused_at_once() -> None:
    """Nothing of it is queued, and who has the time is."""

    async def scene() -> None:
        batcher = Model().batcher(inline=True, max_batch=4, cost=lambda *_: 10.0)
        waiting = [submit(batcher, *range(3)), submit(batcher, *range(4))]
        with pytest.raises(DeadlineError, match=r"the answer takes 20000\.\d ms"):
            submit(batcher, 1, within=19.9)
        assert batcher.waiting_rows == 7
        waiting.append(submit(batcher, 1, within=20.1))
        await asyncio.gather(*waiting)
        await batcher.close()

    play(scene)


def test_the_batch_that_runs_counts_for_a_deadline() -> None:
    """What is left of its predicted time comes before all that waits."""

    async def scene() -> None:
        model = Model(held=True)
        batcher = model.batcher(inline=False, cost=lambda rows, _: 50.0 * rows)
        first = await hold(model, batcher)
        with pytest.raises(DeadlineError, match="at least"):
            submit(batcher, 1, within=60.0)
        second = submit(batcher, 1, within=101.0)
        model.go.set()
        assert await asyncio.gather(*[first, second]) == [[0], [2]]
        await batcher.close()

    play(scene)


def test_runs_that_took_long_refuse_nobody_at_an_idle_model() -> None:
    """Those behind another are refused, and how long runs take now is learnt from one that is begun."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=False, cost=lambda *_: 1e-9 if model.go.is_set() else 10.0)
        for _ in range(50):
            await submit(batcher, 1)
        model.go.clear()
        model.begun.clear()
        first = None
        async with asyncio.timeout(30):
            # The model is idle once its thread has found that nothing waits, which may be after the last answer.
            while first is None:
                with suppress(DeadlineError):
                    first = submit(batcher, 1, within=15.0)
                await asyncio.sleep(0)
        await asyncio.to_thread(model.begun.wait)
        with pytest.raises(DeadlineError, match="at least"):
            submit(batcher, 1, within=70.0)
        model.go.set()
        assert await first == [2]
        await batcher.close()

    play(scene)


def test_an_answer_that_comes_too_late_is_none() -> None:
    """A deadline that passes while the rows are computed is told at once, and the neighbours are answered."""

    async def scene() -> None:
        model = Model(held=True)
        batcher = model.batcher(inline=False)
        late = submit(batcher, 1, within=0.05)
        neighbour = submit(batcher, 2)
        with pytest.raises(DeadlineError):
            await late
        model.go.set()
        assert await neighbour == [4]
        await batcher.close()

    play(scene)


@both
def test_deadlines_hold_while_a_batcher_closes(*, inline: bool) -> None:
    """What is too late is not computed for the sake of the drain, and is told before `close` is done."""

    async def scene() -> None:
        model = Model(held=not inline)
        batcher = model.batcher(inline=inline, max_batch=1)
        first = submit(batcher, 9) if inline else await hold(model, batcher)
        deadline = perf_counter() + 0.05
        late, last = awaited.submit(batcher, [1], 1, "", deadline=deadline), submit(batcher, 2)
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        # So that the rest of the drain comes right after the deadline.
        while perf_counter() < deadline:
            pass
        model.go.set()
        await closing
        assert all(future.done() for future in (first, late, last))
        assert isinstance(late.exception(), DeadlineError)
        assert last.result() == [4]
        assert [[1]] not in model.batches

    play(scene)


# Where batches run


class Watched(Model):
    """A model that notes where each batch runs, and whether two ever run at a time."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__(held=held)
        self.threads: list[int] = []
        self.alone = threading.Lock()
        self.together = False

    def run(self, parts: Sequence[tuple[Numbers, int, int]]) -> list[Numbers]:
        """Double each part's rows, and note it."""
        self.threads.append(threading.get_ident())
        if not self.alone.acquire(blocking=False):
            self.together = True
            return super().run(parts)
        try:
            return super().run(parts)
        finally:
            self.alone.release()


def dear(rows: int, _: Hashable) -> float:
    """A cost by which up to two rows are cheap enough for the loop."""
    return INLINE_SECONDS * (rows - 1) / 2


def test_a_batch_runs_where_its_cost_says() -> None:
    """A cheap one on the loop, any other on the model's own thread, which it has from then on."""

    async def scene() -> None:
        model, here = Watched(), threading.get_ident()
        batcher = model.batcher(inline=None, cost=dear)
        before = set(threading.enumerate())
        assert await submit(batcher, 1, 2) == [2, 4]
        assert set(threading.enumerate()) == before
        assert await submit(batcher, 1, 2, 3) == [2, 4, 6]
        await batcher.close()
        assert [thread == here for thread in model.threads] == [True, False]

    play(scene)


def test_a_batch_of_a_dear_key_runs_on_the_thread() -> None:
    """As many rows that are longer cost more, so where a batch runs is decided by its own key."""

    def cost(rows: int, key: Hashable) -> float:
        return rows * INLINE_SECONDS * (2.0 if key == "long" else 0.1)

    async def scene() -> None:
        model, here = Watched(), threading.get_ident()
        batcher = model.batcher(inline=None, cost=cost)
        for key in ("short", "long"):
            assert await submit(batcher, 1, key=key) == [2]
        assert [thread == here for thread in model.threads] == [True, False]
        async with asyncio.timeout(30):
            # The thread takes what comes until it has found that nothing waits.
            while model.threads[-1] != here:
                assert await submit(batcher, 1, key="short") == [2]
        await batcher.close()

    play(scene)


def test_a_batch_that_takes_as_long_as_the_loop_may_not_wait_runs_on_the_thread() -> None:
    """The bound itself is too long."""

    async def scene() -> None:
        model, here = Watched(), threading.get_ident()
        batcher = model.batcher(inline=None, cost=lambda *_: INLINE_SECONDS)
        assert await submit(batcher, 1) == [2]
        await batcher.close()
        assert here not in model.threads

    play(scene)


def test_a_cheap_batch_waits_for_the_thread_that_is_busy() -> None:
    """It is taken by it, the moment it is free: a model never computes two batches at a time."""

    async def scene() -> None:
        model, here = Watched(held=True), threading.get_ident()
        batcher = model.batcher(inline=None, cost=dear)
        large = submit(batcher, 1, 2, 3, 4)
        await asyncio.to_thread(model.begun.wait)
        small = submit(batcher, 5)
        await asyncio.sleep(0)
        assert not small.done()
        model.go.set()
        assert await asyncio.gather(*[large, small]) == [[2, 4, 6, 8], [10]]
        await batcher.close()
        assert here not in model.threads
        assert not model.together

    play(scene)


def test_the_loop_computes_again_once_the_thread_is_idle() -> None:
    """The thread keeps no batch to itself that costs less on the loop."""

    async def scene() -> None:
        model, here = Watched(), threading.get_ident()
        batcher = model.batcher(inline=None, cost=dear)
        for number in range(50):
            assert await submit(batcher, *range(number % 2 * 2 + 1)) == [2 * n for n in range(number % 2 * 2 + 1)]
        await batcher.close()
        assert not model.together
        assert here in model.threads

    play(scene)


def test_a_model_on_its_thread_never_computes_on_the_loop() -> None:
    """Nor does the thread start before the first batch."""

    async def scene() -> None:
        model, here = Watched(), threading.get_ident()
        before = set(threading.enumerate())
        batcher = model.batcher(inline=False)
        assert set(threading.enumerate()) == before
        assert await asyncio.gather(*(submit(batcher, number) for number in range(20)))
        await batcher.close()
        assert here not in model.threads

    play(scene)


def test_a_model_that_gets_no_thread_computes_on_the_loop() -> None:
    """A system that starts no more threads makes the server slow, and leaves nobody without an answer."""

    async def scene() -> None:
        model = Watched()
        batcher = model.batcher(inline=False)
        # No machine has an address space for such a stack.
        usual = threading.stack_size(2**46)
        try:
            assert await submit(batcher, 1) == [2]
        finally:
            threading.stack_size(usual)
        assert model.threads == [threading.get_ident()]
        assert await submit(batcher, 1) == [2]
        assert len(set(model.threads)) == 2
        await batcher.close()

    play(scene)


def test_nothing_of_a_batch_outlives_it_while_the_thread_waits() -> None:
    """What requests brought and what they got is freed with their answers, not with the next batch."""

    class Watchable(list[int]):
        """A list that can be watched."""

    class Watching(Model):
        def run(self, parts: Sequence[tuple[Numbers, int, int]]) -> list[Numbers]:
            return [Watchable(own) for own in super().run(parts)]

    async def scene() -> None:
        batcher = Watching().batcher(inline=False)
        payload, freed = Watchable([1]), [threading.Event(), threading.Event()]
        weakref.finalize(payload, freed[0].set)
        answer = await awaited.submit(batcher, payload, 1, "")
        weakref.finalize(answer, freed[1].set)
        assert answer == [2]
        del payload, answer
        gc.collect()
        for event in freed:
            assert await asyncio.to_thread(event.wait, 30)
        await batcher.close()

    play(scene)


def test_a_loop_that_is_closed_under_a_computation_breaks_nothing() -> None:
    """The thread ends quietly, with nobody left to tell."""
    model = Model(held=True)
    before = set(threading.enumerate())

    async def scene() -> None:
        await hold(model, model.batcher(inline=False))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(scene())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    own = set(threading.enumerate()) - before
    assert len(own) == 1
    model.go.set()
    # An exception in it would be a failure of this test.
    for thread in own:
        thread.join()
