"""Behaviour of service.batcher."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batcher import Batcher
from service.errors import ComputeError, DrainingError, InternalError, QueueFullError
from service.metrics import ModelStats

Numbers = list[int]
Doubling = Batcher[Numbers, Numbers]

POISON = -1

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

    def batcher(self, *, inline: bool, max_batch: int = 4, max_queue: int = 100) -> Doubling:
        """A batcher that runs this model."""
        return self.counted(ModelStats(), inline=inline, max_batch=max_batch, max_queue=max_queue)

    def counted(self, stats: ModelStats, *, inline: bool, max_batch: int, max_queue: int) -> Doubling:
        """A batcher that runs this model and counts in `stats`."""
        return Batcher(
            self.run,
            self.join,
            stats,
            asyncio.get_running_loop(),
            max_batch=max_batch,
            max_queue=max_queue,
            batch_seconds=0.5,
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


def submit(batcher: Doubling, *rows: int, key: str = "") -> "asyncio.Future[Numbers]":
    """Queue some numbers."""
    return batcher.submit(list(rows), len(rows), key)


async def hold(model: Model, batcher: Doubling) -> "asyncio.Future[Numbers]":
    """Occupy the model's thread with one row until it is let go."""
    future = submit(batcher, 0)
    await asyncio.to_thread(model.begun.wait)
    return future


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


def test_every_member_of_a_batch_that_fails_is_told() -> None:
    """No neighbour is left hanging."""

    async def scene() -> None:
        batcher = Model().batcher(inline=True)
        answers = await asyncio.gather(submit(batcher, 1), submit(batcher, POISON), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ComputeError, ComputeError]
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


@both
def test_a_cancelled_request_hurts_nobody(*, inline: bool) -> None:
    """Its neighbours in the batch are answered, and its own rows need not be computed."""

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
        stats = ModelStats()
        model = Model()
        batcher = model.counted(stats, inline=inline, max_batch=2, max_queue=9)
        await batcher.submit([1, 2, 3], 3, "")
        await batcher.close()
        assert stats.batch_rows.total == 3
        assert (sum(stats.batch_rows.counts), sum(stats.compute.counts), sum(stats.queue.counts)) == (2, 2, 1)

    play(scene)


REQUESTS = st.lists(
    st.tuples(
        st.lists(st.integers(POISON, 9), min_size=1, max_size=9),
        st.sampled_from("ab"),
        st.sampled_from(["wait", "wait", "wait", "cancel"]),
        st.booleans(),
    ),
    max_size=20,
)


@both
@given(requests=REQUESTS, max_batch=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_each_answer_is_that_of_its_own_rows(
    *, inline: bool, requests: list[tuple[Numbers, str, str, bool]], max_batch: int
) -> None:
    """Whatever comes together, a request has its own answer, or the error of a batch that it was in."""

    async def scene() -> None:
        model = Model()
        batcher = model.batcher(inline=inline, max_batch=max_batch, max_queue=10**6)
        futures = []
        # Each number is told from every other, so that a batch shows whose rows it had.
        marked = [
            [POISON if number == POISON else 10 * (index + 1) + number for number in rows]
            for index, (rows, _, _, _) in enumerate(requests)
        ]
        for rows, (_, key, fate, new_turn) in zip(marked, requests, strict=True):
            futures.append(submit(batcher, *rows, key=key))
            if fate == "cancel":
                futures[-1].cancel()
            if new_turn:
                await asyncio.sleep(0)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        await batcher.close()
        failed = [model.join(batch) for batch in model.batches if any(POISON in own for own in batch)]
        for rows, answer, (_, _, fate, _) in zip(marked, answers, requests, strict=True):
            if fate == "cancel":
                assert isinstance(answer, asyncio.CancelledError)
            elif isinstance(answer, ComputeError):
                assert any(set(rows) & set(batch) for batch in failed)
            else:
                assert answer == [2 * number for number in rows]
        assert all(sum(map(len, batch)) <= max_batch for batch in model.batches)
        assert batcher.waiting_rows == 0

    play(scene)
