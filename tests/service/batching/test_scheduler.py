"""Behaviour of service.batching.scheduler."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.batching.scheduler import Batch, Scheduler


def free(rows: int, key: Hashable) -> float:
    """A batch that takes no time."""
    del rows, key
    return 0.0


@dataclass(eq=False)
class Job:
    """A request as the scheduler sees it, with a number by which a test knows it."""

    rows: int
    key: Hashable = None
    number: int = 0
    size: int = 0
    deadline: float | None = None
    taken: int = 0


def filled(max_batch: int, *jobs: Job, max_queue: int = 1000, max_queue_bytes: int = 1000) -> Scheduler[Job]:
    """A scheduler with jobs in its queue."""
    scheduler: Scheduler[Job] = Scheduler(max_batch, max_queue, max_queue_bytes)
    for job in jobs:
        assert scheduler.add(job)
    return scheduler


def take(scheduler: Scheduler[Job], now: float = 0.0) -> list[tuple[int, int, int]]:
    """The next batch as numbers: which job, from which row, to before which."""
    batch = scheduler.take(now, free)
    return [] if batch is None else [(job.number, start, stop) for job, start, stop in batch.slices]


class Queue(RuleBasedStateMachine):
    """A scheduler beside the plainest model of it: a list of jobs, each with the rows that have left."""

    @initialize(max_batch=st.integers(1, 8), max_queue=st.integers(1, 60), max_queue_bytes=st.integers(1, 60))
    def begin(self, max_batch: int, max_queue: int, max_queue_bytes: int) -> None:
        """Make an empty scheduler."""
        self.scheduler: Scheduler[Job] = Scheduler(max_batch, max_queue, max_queue_bytes)
        self.now = 0.0
        self.queue: list[Job] = []
        """The jobs of which rows are in the queue, in the order they came."""
        self.left: Counter[int] = Counter()
        """Rows that have left, by job."""
        self.added = 0
        self.passed: dict[Hashable, Counter[Hashable]] = {}
        """For each key that waits, how many batches of each other key it has let pass."""
        self.seen: Counter[int] = Counter()
        """Batches of its key since it came, by job."""
        self.bound: dict[int, int] = {}
        """For each whole job, with which batch of its key it has left at the latest."""
        self.rivals: Counter[int] = Counter()
        """For each divided job, the most divided ones of its key that ever waited with it, itself included."""

    def divided(self, job: Job) -> bool:
        """Whether the job does not fit into one batch."""
        return job.rows > self.scheduler.max_batch

    def waiting(self, key: Hashable, *, divided: bool) -> list[Job]:
        """The jobs of one key and kind in the queue."""
        return [job for job in self.queue if job.key == key and self.divided(job) == divided]

    def rows(self, jobs: list[Job]) -> int:
        """Those of some jobs that have not left."""
        return sum(job.rows - self.left[job.number] for job in jobs)

    def late(self, job: Job) -> bool:
        """Whether the job's deadline has passed."""
        return job.deadline is not None and job.deadline <= self.now

    def drop(self, job: Job) -> None:
        """Strike a job from the list."""
        self.queue.remove(job)
        if not any(other.key == job.key for other in self.queue):
            self.passed.pop(job.key, None)

    @rule(
        rows=st.integers(1, 5) | st.integers(1, 30),
        key=st.sampled_from("aabc"),
        size=st.integers(0, 3) | st.integers(0, 20),
        time=st.none() | st.integers(-2, 9),
    )
    def add(self, rows: int, key: str, size: int, time: int | None) -> None:
        """A job is refused just where the rows of its kind or the bytes that wait would be too many with its own."""
        scheduler = self.scheduler
        job = Job(rows, key, self.added, size, None if time is None else self.now + time)
        self.added += 1
        kind = [other for other in self.queue if self.divided(other) == self.divided(job)]
        assert scheduler.beside(job) == self.rows(kind)
        own = self.waiting(key, divided=self.divided(job))
        assert scheduler.ahead(job) == (0 if self.divided(job) else self.rows(own))
        fits = self.rows(kind) + rows <= scheduler.max_queue and scheduler.bytes + size <= scheduler.max_queue_bytes
        assert scheduler.add(job) == fits
        if not fits:
            return
        self.queue.append(job)
        self.passed.setdefault(key, Counter())
        if self.divided(job):
            for rival in [*own, job]:
                self.rivals[rival.number] = max(self.rivals[rival.number], len(own) + 1)
        else:
            ahead = self.rows(own) + rows
            self.bound[job.number] = 2 * (2 * (ahead - 1) // (scheduler.max_batch + 1) + 1)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Whoever waited for a job has gone: its place is free at once, also if that is said twice."""
        job = data.draw(st.sampled_from(self.queue))
        self.scheduler.remove(job)
        self.scheduler.remove(job)
        self.drop(job)

    @rule(time=st.integers(1, 5))
    def advance(self, time: int) -> None:
        """Time passes."""
        self.now += time

    @rule()
    def take(self) -> None:
        """A batch obeys every rule of the policy, and then whatever is late is removed, as its owner does."""
        computable = [job for job in self.queue if not self.late(job)]
        batch = self.scheduler.take(self.now, free)
        assert (batch is not None) == bool(computable), "work-conserving: a batch wherever it may, and only there"
        for job in [job for job in self.queue if self.late(job)]:
            # Of those that the scheduler came across nothing is left to remove.
            self.scheduler.remove(job)
            self.drop(job)
        if batch is not None:
            self.check(batch)

    def check(self, batch: Batch[Job]) -> None:
        """The batch's rows are the right ones, and strike them from the list."""
        scheduler = self.scheduler
        (key,) = {job.key for job, _, _ in batch.slices}
        assert batch.key == key
        assert batch.rows == sum(stop - start for _, start, stop in batch.slices)
        assert 0 < batch.rows <= scheduler.max_batch
        self.check_waits(key)
        whole = [job for job, _, _ in batch.slices if not self.divided(job)]
        assert whole == self.waiting(key, divided=False)[: len(whole)], "in the order they came"
        assert len({job.number for job, _, _ in batch.slices}) == len(batch.slices)
        for job, start, stop in batch.slices:
            assert job in self.queue, "none that is late or gone"
            assert start == self.left[job.number] < stop <= job.rows, "no row lost, none twice"
            assert self.divided(job) or stop == job.rows, "what fits is not divided"
            self.left[job.number] = stop
            if stop == job.rows:
                self.drop(job)
        room = scheduler.max_batch - batch.rows
        assert not (room and self.waiting(key, divided=True)), "no room is left while rows of a divided one wait"
        assert all(room < job.rows for job in self.waiting(key, divided=False)[:1]), "nor where the next one fits"

    def check_waits(self, key: Hashable) -> None:
        """A batch of this key comes no later than is promised to anyone who waits."""
        for job in self.queue:
            if job.key == key:
                self.seen[job.number] += 1
                batches = -(-job.rows // self.scheduler.max_batch)
                bound = 2 * batches * self.rivals[job.number] if self.divided(job) else self.bound[job.number]
                assert self.seen[job.number] <= bound
        for other, passed in self.passed.items():
            if other == key:
                passed.clear()
            else:
                passed[key] += 1
                assert passed[key] == 1, "no key waits for two batches of another"

    @invariant()
    def counts(self) -> None:
        """The rows and bytes that wait are those of the jobs in the list."""
        if not hasattr(self, "scheduler"):
            return
        assert self.scheduler.rows == self.rows(self.queue)
        assert self.scheduler.divided_rows == self.rows([job for job in self.queue if self.divided(job)])
        assert self.scheduler.bytes == sum(job.size for job in self.queue)

    def teardown(self) -> None:
        """Whatever happened, the queue empties, and each row has left once or was let go."""
        while hasattr(self, "scheduler") and self.queue:
            self.take()
        assert not hasattr(self, "scheduler") or self.scheduler.take(self.now, free) is None


Queue.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase


def test_an_empty_queue_gives_no_batch() -> None:
    """Where nothing waits, nothing leaves."""
    assert filled(4).take(0.0, free) is None


def test_small_requests_share_a_batch() -> None:
    """Whole requests leave together as long as there is room."""
    scheduler = filled(4, Job(1, number=0), Job(2, number=1), Job(2, number=2))
    assert take(scheduler) == [(0, 0, 1), (1, 0, 2)]
    assert take(scheduler) == [(2, 0, 2)]


def test_a_batch_says_how_many_rows_it_has() -> None:
    """All its slices together."""
    batch = filled(4, Job(1), Job(9)).take(0.0, free)
    assert batch is not None
    assert batch.rows == 4


def test_a_large_request_fills_what_whole_ones_leave_free() -> None:
    """Its rows leave in full batches, and the whole ones go before it though they came after it."""
    scheduler = filled(4, Job(10, number=0), Job(1, number=1), Job(2, number=2))
    assert take(scheduler) == [(1, 0, 1), (2, 0, 2), (0, 0, 1)]
    assert take(scheduler) == [(0, 1, 5)]
    assert take(scheduler) == [(0, 5, 9)]
    assert take(scheduler) == [(0, 9, 10)]


def test_a_whole_request_that_does_not_fit_leaves_its_room_to_a_large_one() -> None:
    """Work-conserving: the batch is full, and the whole request goes first in a batch soon after."""
    scheduler = filled(4, Job(3, number=0), Job(3, number=1), Job(6, number=2))
    assert take(scheduler) == [(0, 0, 3), (2, 0, 1)]
    assert take(scheduler) == [(2, 1, 5)]
    assert take(scheduler) == [(1, 0, 3), (2, 5, 6)]


def test_a_request_that_comes_beside_a_large_one_leaves_with_the_next_batch() -> None:
    """It does not wait for the rest of what was there before it."""
    scheduler = filled(4, Job(100, number=0))
    for start in (0, 4):
        assert take(scheduler) == [(0, start, start + 4)]
    assert scheduler.add(Job(1, number=1))
    assert take(scheduler) == [(1, 0, 1), (0, 8, 11)]


def test_a_large_request_goes_on_beside_any_number_of_whole_ones() -> None:
    """Every second batch begins with its rows."""
    scheduler = filled(2, Job(5, number=9), *(Job(2, number=number) for number in range(6)))
    batches = [take(scheduler) for _ in range(6)]
    assert batches[1::2] == [[(9, 0, 2)], [(9, 2, 4)], [(9, 4, 5)]]
    assert batches[::2] == [[(number, 0, 2)] for number in range(3)]


def test_whole_requests_fill_what_the_end_of_a_large_one_leaves_free() -> None:
    """A batch that begins with the last rows of a large request is as full as any."""
    scheduler = filled(2, Job(3, number=9), Job(2, number=0), Job(2, number=1), Job(1, number=2), Job(1, number=3))
    assert [take(scheduler) for _ in range(3)] == [[(0, 0, 2)], [(9, 0, 2)], [(1, 0, 2)]]
    assert take(scheduler) == [(9, 2, 3), (2, 0, 1)]
    assert take(scheduler) == [(3, 0, 1)]


def test_large_requests_take_turns() -> None:
    """Each has a batch before any has two; a batch that ends one is filled with the next one's rows."""
    scheduler = filled(4, Job(9, number=0), Job(6, number=1), Job(6, number=2))
    assert [take(scheduler) for _ in range(3)] == [[(0, 0, 4)], [(1, 0, 4)], [(2, 0, 4)]]
    assert take(scheduler) == [(0, 4, 8)]
    assert take(scheduler) == [(1, 4, 6), (2, 4, 6)]
    assert take(scheduler) == [(0, 8, 9)]


def test_a_large_request_that_comes_as_another_ends_waits_for_the_whole_ones() -> None:
    """No two batches in a row begin with large requests while a whole one waits, whichever these are."""
    scheduler = filled(2, Job(2, number=0), Job(4, number=1))
    assert [take(scheduler) for _ in range(2)] == [[(0, 0, 2)], [(1, 0, 2)]]
    for job in (Job(2, number=2), Job(1, number=3)):
        assert scheduler.add(job)
    assert [take(scheduler) for _ in range(2)] == [[(2, 0, 2)], [(1, 2, 4)]]
    assert scheduler.add(Job(3, number=4))
    assert take(scheduler) == [(3, 0, 1), (4, 0, 1)]


def test_filling_a_batch_takes_no_turn() -> None:
    """Who fills the room of a batch that another begins is still the next to begin one."""
    scheduler = filled(4, Job(9, number=0), Job(9, number=1), Job(3, number=2))
    assert take(scheduler) == [(2, 0, 3), (0, 0, 1)]
    assert take(scheduler) == [(0, 1, 5)]
    assert take(scheduler) == [(1, 0, 4)]


def test_late_whole_requests_keep_no_large_one_from_its_turn() -> None:
    """A batch that begins with a large one's rows is its turn, for whatever reason it does."""
    scheduler = filled(2, Job(6, number=0), Job(6, number=1))
    for expected in (0, 1, 0, 1):
        assert scheduler.add(Job(1, number=9, deadline=0.0))
        (only,) = take(scheduler)
        assert only[0] == expected


def test_neither_kind_takes_the_others_room() -> None:
    """Beside as many rows as may wait of large requests, as many of whole ones may, and not one more of either."""
    scheduler = filled(2, Job(5, number=0), max_queue=5)
    for rows in (2, 2, 1):
        assert not scheduler.add(Job(3))
        assert scheduler.add(Job(rows))
    assert not scheduler.add(Job(1))
    assert (scheduler.rows, scheduler.divided_rows) == (10, 5)


def test_keys_take_turns() -> None:
    """A key with many rows does not keep another waiting."""
    jobs = [Job(4, "a", 0), Job(4, "a", 1), Job(4, "a", 2), Job(1, "b", 3)]
    scheduler = filled(4, *jobs)
    assert [take(scheduler)[0][0] for _ in jobs] == [0, 3, 1, 2]


def test_a_large_request_does_not_keep_other_keys_waiting() -> None:
    """Between two batches of one request another key has its turn."""
    scheduler = filled(2, Job(4, "a", 0), Job(1, "b", 1))
    assert [take(scheduler) for _ in range(3)] == [[(0, 0, 2)], [(1, 0, 1)], [(0, 2, 4)]]


@pytest.mark.parametrize("rows", [1, 3])
def test_the_bound_itself_is_allowed(rows: int) -> None:
    """As many rows as the bound says may wait, and not one more."""
    scheduler = filled(8, Job(4 - rows), Job(rows), max_queue=4)
    assert scheduler.rows == 4
    assert not scheduler.add(Job(1))


def test_bytes_are_bounded_apart_from_rows() -> None:
    """As many bytes as the bound says may wait, however few rows have them; a refused request changes nothing."""
    scheduler = filled(8, Job(1, size=6), max_queue_bytes=10)
    assert not scheduler.add(Job(1, size=5))
    assert (scheduler.rows, scheduler.bytes) == (1, 6)
    assert scheduler.add(Job(1, size=4))


def test_a_divided_request_holds_its_bytes_until_its_last_row_leaves() -> None:
    """Its payload is one, whatever of it has been computed."""
    scheduler = filled(2, Job(3, size=6))
    assert (take(scheduler), scheduler.bytes) == ([(0, 0, 2)], 6)
    assert (take(scheduler), scheduler.bytes) == ([(0, 2, 3)], 0)


def test_removal_frees_the_place_at_once() -> None:
    """A request in the middle of a full queue that is let go makes room for another, before anything leaves."""
    first, gone, last = Job(1, number=0, size=1), Job(2, number=1, size=2), Job(1, number=2, size=1)
    scheduler = filled(8, first, gone, last, max_queue=4, max_queue_bytes=4)
    new = Job(2, number=3, size=2)
    assert not scheduler.add(new)
    scheduler.remove(gone)
    assert scheduler.add(new)
    assert take(scheduler) == [(0, 0, 1), (2, 0, 1), (3, 0, 2)]


def test_the_rest_of_a_divided_request_is_removed() -> None:
    """What has left has left, and what has not leaves no more."""
    large = Job(6, number=0, size=6)
    scheduler = filled(2, large)
    take(scheduler)
    assert scheduler.add(Job(1, number=1))
    scheduler.remove(large)
    assert (scheduler.rows, scheduler.divided_rows, scheduler.bytes) == (1, 0, 0)
    assert take(scheduler) == [(1, 0, 1)]


def test_what_is_not_in_the_queue_is_not_removed() -> None:
    """A request that has left, one of a key that does not wait and one that was never added leave all as it is."""
    left, waits = Job(1, "a", 0), Job(1, "a", 1)
    scheduler = filled(1, left, waits)
    take(scheduler)
    for job in (left, Job(1, "a"), Job(1, "b")):
        scheduler.remove(job)
    assert scheduler.rows == 1


def test_late_rows_do_not_leave() -> None:
    """From its deadline on a request has no place in a batch, and none in the queue once it is come across."""
    scheduler = filled(4, Job(1, number=0, deadline=1.0), Job(1, number=1, deadline=1.5), Job(1, number=2))
    assert take(scheduler, now=1.0) == [(1, 0, 1), (2, 0, 1)]
    assert scheduler.rows == 0


def a_second_a_row(rows: int, key: Hashable) -> float:
    """A batch that takes so many seconds as it has rows."""
    del key
    return float(rows)


@pytest.mark.parametrize("order", [1, -1])
def test_a_large_request_that_is_late_makes_no_other_late(order: int) -> None:
    """What will not be computed takes no time, whichever came first."""
    late, small, smaller = Job(6, number=0, deadline=5.0), Job(2, number=1, deadline=6.0), Job(1, deadline=4.0)
    scheduler = filled(8, *[late, small, smaller][::order])
    batch = scheduler.take(0.0, a_second_a_row)
    assert batch is not None
    assert [job for job, _, _ in batch.slices] == [small, smaller]
    assert (batch.rows, scheduler.rows, scheduler.late) == (3, 0, [late])


def test_who_has_less_time_makes_no_other_late() -> None:
    """Of those that are not in time together, the ones with the most time leave; the rest of the queue waits."""
    jobs = [Job(3, number=number, deadline=4.5 + number / 4) for number in range(3)]
    scheduler = filled(8, Job(12, number=9, deadline=1.0), *jobs, Job(5, number=8))
    batch = scheduler.take(0.0, a_second_a_row)
    assert batch is not None
    assert [job.number for job, _, _ in batch.slices] == [8]
    assert [job.number for job in scheduler.late] == [0, 1, 2, 9]
    jobs = [Job(3, number=number, deadline=4.5 + number / 4) for number in range(3)]
    scheduler = filled(8, Job(12, number=9, deadline=1.0), *jobs)
    batch = scheduler.take(0.0, a_second_a_row)
    assert batch is not None
    assert [job.number for job, _, _ in batch.slices] == [2]
    assert [job.number for job in scheduler.late] == [0, 1, 9]


@given(
    st.lists(st.tuples(st.integers(1, 12), st.none() | st.integers(1, 14)), min_size=1, max_size=12), st.integers(1, 10)
)
@settings(max_examples=300, deadline=None)
def test_none_is_late_that_a_batch_had_time_for(requests: list[tuple[int, int | None]], max_batch: int) -> None:
    """All of a batch are in time for its end, and each that was late before it would be with it, or has no room."""
    scheduler = filled(max_batch, *[Job(rows, deadline=deadline) for rows, deadline in requests])
    waiting = scheduler.rows
    batch = scheduler.take(0.0, a_second_a_row)
    rows = 0 if batch is None else batch.rows
    for job, _, _ in [] if batch is None else batch.slices:
        assert job.deadline is None or job.deadline > rows
    for job in scheduler.late:
        assert job.deadline is not None
        assert rows + job.rows > max_batch or job.deadline <= rows + job.rows
    assert waiting == scheduler.rows + rows + sum(job.rows for job in scheduler.late)


def test_a_queue_of_late_rows_only_gives_no_batch() -> None:
    """Of no key, and it is empty then."""
    scheduler = filled(4, *(Job(2, key, deadline=1.0, size=3) for key in "aab"))
    assert scheduler.take(2.0, free) is None
    assert (scheduler.rows, scheduler.bytes) == (0, 0)


def test_the_rest_of_a_divided_request_can_be_late() -> None:
    """Its first rows left in time, the others do not leave."""
    scheduler = filled(2, Job(6, number=0, deadline=1.0), Job(3, number=1))
    assert take(scheduler, now=0.0) == [(0, 0, 2)]
    assert take(scheduler, now=1.0) == [(1, 0, 2)]
    assert take(scheduler, now=1.0) == [(1, 2, 3)]
    assert scheduler.rows == 0


def test_late_rows_take_no_turn() -> None:
    """A key of which all is late does not cost another its turn."""
    scheduler = filled(1, Job(1, "a", 0, deadline=1.0), Job(1, "b", 1))
    assert take(scheduler, now=1.0) == [(1, 0, 1)]


def test_rows_ahead_are_those_of_the_own_key_that_cannot_be_overtaken() -> None:
    """Those of whole requests, for a whole request that comes now; for a large one none are certain to be."""
    scheduler = filled(4, Job(3, "a"), Job(2, "a"), Job(9, "a"), Job(1, "b"))
    assert [scheduler.ahead(Job(1, key)) for key in "abc"] == [5, 1, 0]
    assert scheduler.ahead(Job(5, "a")) == 0
    take(scheduler)
    assert [scheduler.ahead(Job(1, key)) for key in "abc"] == [2, 1, 0]
