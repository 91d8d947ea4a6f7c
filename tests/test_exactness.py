"""Batching changes no answer: random traffic through the real batcher and the real runtime."""

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.exactness import LARGEST, POOL, Ask, InexactError, Round, Subject, Tally, play, run, subjects

REQUESTS = 100_000


@pytest.fixture(scope="module")
def tested() -> list[Subject]:
    """The models, with each of their rows answered alone."""
    return subjects()


@pytest.fixture(autouse=True)
def _no_log(caplog: pytest.LogCaptureFixture) -> None:
    """The failures that the log tells of are meant, and there are thousands."""
    caplog.set_level(logging.CRITICAL, "service")


def test_every_request_of_random_traffic_ends_as_it_must() -> None:
    """Each answer is that of its rows alone, bit for bit, and each future is resolved once.

    Nobody's failure, deadline or cancellation is another's, and a drain in the middle leaves nothing behind.
    """
    tally = run(seed=0, requests=REQUESTS)
    assert tally.requests == REQUESTS
    # Each way to end was well tried.
    assert tally.ends["answered"] > REQUESTS / 2
    for end in ("cancelled", "late", "failed", "refused: queue_full", "refused: draining"):
        assert tally.ends[end] > REQUESTS / 1000, end
    # So were large requests beside small ones.
    assert tally.divided > REQUESTS / 100
    assert tally.mixed_runs > REQUESTS / 1000


ASKS = st.builds(
    lambda place, **more: Ask(*place, **more),
    # A model, and one of its shapes.
    place=st.sampled_from([(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]),
    rows=st.lists(st.integers(0, POOL - 1), min_size=1, max_size=20).map(np.array)
    | st.integers(21, LARGEST).map(lambda rows: np.arange(rows) % POOL),
    bad=st.booleans(),
    fate=st.sampled_from(["wait", "wait", "wait", "cancel", "cancel later"]),
    within=st.none() | st.sampled_from([60.0, 0.002, -1.0]),
    turn=st.booleans(),
)
ROUNDS = st.builds(
    Round,
    asks=st.lists(ASKS, max_size=30),
    inline=st.sampled_from([True, False, None]),
    max_batch=st.integers(1, 64),
    max_queue=st.integers(1, 1000),
    drain=st.integers(0, 40),
)


@given(some=ROUNDS)
@settings(max_examples=100, deadline=None)
def test_every_request_ends_as_it_must_whatever_comes_together(some: Round, tested: list[Subject]) -> None:
    """As above, for requests that are chosen to break it."""
    tally = Tally()
    asyncio.run(play(tested, some, tally))
    assert tally.requests == len(some.asks)


def test_another_answer_than_alone_is_noticed(tested: list[Subject]) -> None:
    """The comparison itself works: a single bit of one row's answer is enough."""
    shape = tested[0].shapes[0]
    answers = shape.answers[0].copy()
    answers.view(np.uint32)[3] ^= 1
    wrong = Subject("wrong", tested[0].runtime, [type(shape)(shape.rows, (answers,), None)])
    some = Round([Ask(0, 0, np.array([1, 3]))], inline=True, max_batch=4, max_queue=4, drain=1)
    with pytest.raises(InexactError, match="answers 2 rows otherwise than each alone"):
        asyncio.run(play([wrong], some, Tally()))
