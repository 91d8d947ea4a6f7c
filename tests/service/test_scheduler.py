"""Behaviour of service.scheduler."""

from collections import Counter
from collections.abc import Hashable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from service.scheduler import Scheduler, Slice, Work


class Job(Work):
    """Work of which a test can say that nobody waits for it any more."""

    __slots__ = ("cancelled", "number")

    def __init__(self, rows: int, key: Hashable = None, number: int = 0) -> None:
        super().__init__(rows, key)
        self.number = number
        self.cancelled = False

    @property
    def done(self) -> bool:
        """Whether the test has said so."""
        return self.cancelled


def filled(max_batch: int, *jobs: Job, max_queue: int = 1000) -> Scheduler[Job]:
    """A scheduler with jobs in its queue."""
    scheduler: Scheduler[Job] = Scheduler(max_batch, max_queue)
    for job in jobs:
        assert scheduler.add(job)
    return scheduler


def taken(batch: list[Slice[Job]]) -> list[tuple[int, int, int]]:
    """A batch as numbers: which job, from which row, to before which."""
    return [(job.number, start, stop) for job, start, stop in batch]


class Queue(RuleBasedStateMachine):
    """A scheduler beside the plainest model of it: a list of jobs, each with the rows that have left."""

    @initialize(max_batch=st.integers(1, 8), max_queue=st.integers(1, 24))
    def begin(self, max_batch: int, max_queue: int) -> None:
        """Make an empty scheduler."""
        self.scheduler: Scheduler[Job] = Scheduler(max_batch, max_queue)
        self.jobs: list[Job] = []
        self.left: dict[int, int] = {}
        """Rows that have left, by job."""
        self.passed: dict[Hashable, Counter[Hashable]] = {}
        """For each key that waits, how many batches of each other key it has let pass."""

    def live(self, key: Hashable = ...) -> list[Job]:
        """The jobs, in the order they came, that have rows somebody waits for."""
        return [
            job
            for job in self.jobs
            if not job.cancelled and self.left[job.number] < job.rows and (key is ... or job.key == key)
        ]

    @rule(rows=st.integers(1, 30), key=st.sampled_from("abc"))
    def add(self, rows: int, key: str) -> None:
        """A job is refused just where the rows that wait would be too many with its own."""
        before = self.scheduler.rows
        job = Job(rows, key, len(self.left))
        accepted = self.scheduler.add(job)
        assert accepted == (before + rows <= self.scheduler.max_queue)
        assert self.scheduler.rows == before + rows * accepted
        if accepted:
            self.jobs.append(job)
            self.left[job.number] = 0
            self.passed.setdefault(key, Counter())

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Whoever waited for a job has gone; its rows may stay until the scheduler comes across them."""
        job = data.draw(st.sampled_from(self.live()))
        job.cancelled = True
        if not self.live(job.key):
            self.passed.pop(job.key)

    @rule()
    def take(self) -> None:
        """A batch obeys every rule of the policy."""
        live, scheduler = self.live(), self.scheduler
        batch = scheduler.take()
        assert bool(batch) == bool(live), "work-conserving: a batch wherever a row waits, and only there"
        if not batch:
            assert scheduler.rows == 0, "rows that nobody waits for are freed"
            return
        (key,) = {job.key for job, _, _ in batch}
        size = sum(stop - start for _, start, stop in batch)
        assert 0 < size <= scheduler.max_batch
        for (job, start, stop), first in zip(batch, self.live(key), strict=False):
            assert job is first, "in the order they came, and never a cancelled one"
            assert start == self.left[job.number], "no row lost, none twice"
            assert start < stop <= job.rows
            if job.rows <= scheduler.max_batch:
                assert (start, stop) == (0, job.rows), "what fits is not divided"
            elif stop < job.rows:
                assert size == scheduler.max_batch, "what does not fit leaves in full batches"
        for job, _, stop in batch:
            self.left[job.number] = stop
        if waiting := self.live(key):
            rest = waiting[0].rows - self.left[waiting[0].number]
            assert scheduler.max_batch - size < rest, "no smaller than it needs to be"
        self._count(key)

    def _count(self, key: Hashable) -> None:
        self.passed.pop(key)
        for others in self.passed.values():
            others[key] += 1
            assert others[key] == 1, "no key waits for two batches of another"
        if self.live(key):
            self.passed[key] = Counter()

    def teardown(self) -> None:
        """Whatever happened, the queue empties, and every row that somebody waits for has left."""
        while hasattr(self, "scheduler") and self.scheduler.rows:
            self.take()
        assert not hasattr(self, "scheduler") or not self.live()


Queue.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase


def test_an_empty_queue_gives_no_batch() -> None:
    """Where nothing waits, nothing leaves."""
    assert filled(4).take() == []


def test_small_requests_share_a_batch() -> None:
    """Whole requests leave together as long as there is room."""
    scheduler = filled(4, Job(1, number=0), Job(2, number=1), Job(2, number=2))
    assert taken(scheduler.take()) == [(0, 0, 1), (1, 0, 2)]
    assert taken(scheduler.take()) == [(2, 0, 2)]


def test_a_large_request_leaves_in_full_batches() -> None:
    """It fills what others leave free, and its rest shares a batch with what comes after it."""
    scheduler = filled(4, Job(1, number=0), Job(9, number=1), Job(1, number=2))
    assert taken(scheduler.take()) == [(0, 0, 1), (1, 0, 3)]
    assert taken(scheduler.take()) == [(1, 3, 7)]
    assert taken(scheduler.take()) == [(1, 7, 9), (2, 0, 1)]


def test_keys_take_turns() -> None:
    """A key with many rows does not keep another waiting."""
    jobs = [Job(4, "a", 0), Job(4, "a", 1), Job(4, "a", 2), Job(1, "b", 3)]
    scheduler = filled(4, *jobs)
    assert [taken(scheduler.take())[0][0] for _ in jobs] == [0, 3, 1, 2]


def test_a_large_request_does_not_keep_other_keys_waiting() -> None:
    """Between two batches of one request another key has its turn."""
    scheduler = filled(2, Job(4, "a", 0), Job(1, "b", 1))
    assert [taken(scheduler.take()) for _ in range(3)] == [[(0, 0, 2)], [(1, 0, 1)], [(0, 2, 4)]]


def test_a_request_is_dropped_between_its_batches() -> None:
    """The rest of a divided request does not leave once nobody waits for it."""
    large = Job(6, number=0)
    scheduler = filled(2, large, Job(1, number=1))
    scheduler.take()
    large.cancelled = True
    assert taken(scheduler.take()) == [(1, 0, 1)]
    assert scheduler.rows == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_the_bound_itself_is_allowed(rows: int) -> None:
    """As many rows as the bound says may wait, and not one more."""
    scheduler = filled(8, Job(4 - rows), Job(rows), max_queue=4)
    assert scheduler.rows == 4
    assert not scheduler.add(Job(1))
