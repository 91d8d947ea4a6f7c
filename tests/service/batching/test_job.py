"""Behaviour of service.batching.job."""

import pytest

from service.batching.job import Job


def test_a_job_comes_whole_and_is_not_over() -> None:
    """None of its rows has left, and nothing has been computed of it."""
    job: Job[str, str] = Job("ask", 3, "key", 12, 5.0, 4.0)
    assert (job.payload, job.rows, job.key, job.size, job.deadline, job.since) == ("ask", 3, "key", 12, 5.0, 4.0)
    assert (job.taken, job.parts, job.is_over) == (0, None, False)


def test_two_jobs_are_never_the_same() -> None:
    """Whatever they ask: each has its own place in the queue."""
    first, second = (Job[str, str]("ask", 1, "", 0, None, 0.0) for _ in range(2))
    assert first != second
    assert len({first, second}) == 2


def test_what_becomes_of_it_is_for_whoever_made_it() -> None:
    """A job alone tells nobody."""
    with pytest.raises(NotImplementedError):
        Job[str, str]("ask", 1, "", 0, None, 0.0).settle("answer")
