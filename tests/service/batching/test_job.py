"""Behaviour of service.batching.job."""

import asyncio

import pytest

from service.batching.job import Answer, AwaitedJob
from service.errors import ComputeError


def awaited(given_up: list[str]) -> AwaitedJob[str, str]:
    """A job whose end is awaited, and which notes that it was given up."""
    job: AwaitedJob[str, str] = AwaitedJob("ask", 1, "", 0, None, 0.0)
    job.answer = Answer(asyncio.get_running_loop(), lambda: given_up.append("given up"))
    return job


def test_a_settled_job_resolves_its_future() -> None:
    """With the answer, or with the error that is there in its place."""

    async def scene() -> None:
        answered, failed = awaited([]), awaited([])
        answered.settle("answer")
        failed.settle(ComputeError("it fails"))
        assert await answered.answer == "answer"
        with pytest.raises(ComputeError, match="it fails"):
            await failed.answer

    asyncio.run(scene())


def test_a_job_is_given_up_once_by_whoever_cancels_its_future() -> None:
    """Its place is free at once; when it is settled there is nothing to give up any more."""
    given_up: list[str] = []

    async def scene() -> None:
        waiting, settled = awaited(given_up), awaited(given_up)
        assert waiting.answer.cancel()
        assert not waiting.answer.cancel()
        settled.settle("answer")
        assert not settled.answer.cancel()

    asyncio.run(scene())
    assert given_up == ["given up"]
