"""Behaviour of service.batching.admission."""

from collections.abc import Hashable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.admission import no_room, require_time
from service.batching.scheduler import Scheduler
from service.errors import DeadlineError


@dataclass(eq=False)
class Job:
    """A request as the scheduler sees it."""

    rows: int
    key: Hashable = ""
    size: int = 0
    deadline: float | None = None
    taken: int = 0


def filled(*jobs: Job) -> Scheduler[Job]:
    """A queue of batches of four rows, with room for eight rows and a hundred bytes, with jobs in it."""
    scheduler: Scheduler[Job] = Scheduler(4, 8, 100)
    for job in jobs:
        assert scheduler.add(job)
    return scheduler


def is_late(scheduler: Scheduler[Job], job: Job, left: float, busy: float = 0.0) -> bool:
    """Whether a request is refused where each batch takes ten seconds."""
    try:
        require_time(scheduler, job, left, busy, lambda *_: 10.0)
    except DeadlineError:
        return True
    return False


def test_a_deadline_that_has_passed_is_told_with_when_it_was() -> None:
    """However little there is to compute."""
    with pytest.raises(DeadlineError, match="passed 1000 ms before the request was queued"):
        require_time(filled(), Job(1), -1.0, 0.0, lambda *_: 0.0)


def test_a_deadline_that_is_certain_to_be_missed_is_told_with_what_it_takes() -> None:
    """The rows ahead and its own, in batches as full as can be, after the batch that runs."""
    with pytest.raises(DeadlineError, match=r"in 19500\.0 ms, and the answer takes 20500\.0 ms at least"):
        require_time(filled(Job(3), Job(4)), Job(1), 19.5, 0.5, lambda *_: 10.0)


def test_what_may_be_computed_in_time_is_let_in() -> None:
    """Rows of another key need not come before it, and a batch that is not full yet costs nothing more."""
    queue = filled(Job(3), Job(4))
    assert not is_late(queue, Job(1), 20.0)
    assert is_late(queue, Job(2), 20.0)
    assert not is_late(queue, Job(1, key="other"), 10.0)
    assert is_late(queue, Job(1, key="other"), 10.0, busy=0.1)


@given(
    waiting=st.lists(st.integers(1, 8), max_size=3), rows=st.integers(1, 8), left=st.floats(0.1, 99), more=st.floats(0)
)
def test_more_time_is_never_too_little(waiting: list[int], rows: int, left: float, more: float) -> None:
    """Who is let in with a deadline would be with any later one, and behind any fewer rows."""
    queue: Scheduler[Job] = Scheduler(4, 1000, 1000)
    for one in waiting:
        assert queue.add(Job(one))
    if not is_late(queue, Job(rows), left):
        assert not is_late(queue, Job(rows), left + more)
        assert not is_late(filled(), Job(rows), left)


def test_a_long_key_takes_its_own_time() -> None:
    """What a batch costs is asked with the request's key."""
    asked = []

    def cost(rows: int, key: Hashable) -> float:
        asked.append((rows, key))
        return 10.0 if key == "long" else 1.0

    require_time(filled(), Job(5, key="short"), 2.0, 0.0, cost)
    with pytest.raises(DeadlineError, match=r"takes 20000\.0 ms"):
        require_time(filled(), Job(5, key="long"), 19.0, 0.0, cost)
    assert asked == [(4, "short"), (1, "short"), (4, "long"), (1, "long")]
    assert no_room(filled(Job(4), Job(4)), Job(1, key="long"), 0.0, cost).retry_after == 20.0


def test_rows_that_a_request_may_overtake_are_not_held_against_it() -> None:
    """It is refused only where it is certain to be late: a large request's rows need not come before it."""
    queue = filled(Job(8), Job(3))
    assert is_late(queue, Job(2), 19.9)
    assert not is_late(queue, Job(1), 10.0)
    assert not is_late(queue, Job(5), 20.0)
    assert is_late(queue, Job(5), 19.9)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Job(1), "8 rows wait and 8 may, so there is no room for 1 more"),
        (Job(4), "8 rows wait and 8 may, so there is no room for 4 more"),
        (Job(1, size=11), "8 rows wait and 8 may, so there is no room for 1 more"),
        (Job(5), "5 rows of requests larger than a batch wait and 8 may, so there is no room for 5 more"),
    ],
)
def test_who_finds_no_room_is_told_what_waits(job: Job, said: str) -> None:
    """In rows of requests like its own, where they alone are too many."""
    assert no_room(filled(Job(4), Job(4), Job(5, size=90)), job, 0.0, lambda *_: 0.0).message == said


def test_bytes_are_told_where_the_rows_would_fit() -> None:
    """So that the caller knows that fewer rows would not help."""
    error = no_room(filled(Job(2, size=90)), Job(1, size=11), 0.0, lambda *_: 0.0)
    assert error.message == "90 bytes wait and 100 may, so there is no room for 11 more"


def test_who_finds_no_room_is_told_when_the_queue_is_predicted_to_be_empty() -> None:
    """After the batch that runs and all that wait, at the cost of the largest."""
    error = no_room(filled(Job(4), Job(4)), Job(1), 0.25, lambda rows, _: rows / 8)
    assert error.retry_after == 1.25
