"""Whose fault it is when a batch fails."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from service.errors import ComputeError, ForwardpassError, InternalError

P = TypeVar("P")
R = TypeVar("R")

Part = tuple[P, int, int]
"""A payload, the first of its rows that is meant, and the one after the last."""
Run = Callable[[Sequence[Part[P]]], Sequence[R]]
"""What computes a batch: one result for each part, in order."""

logger = logging.getLogger(__name__)


def attempt(run: Run[P, R], parts: Sequence[Part[P]]) -> Sequence[R] | ForwardpassError:
    """The results of a run, or why it failed: a `ComputeError`, or an `InternalError` that the log explains."""
    try:
        results = run(parts)
    except ComputeError as error:
        return error
    except Exception:
        logger.exception("a batch of %d requests failed", len(parts))
        return InternalError()
    if len(results) == len(parts):
        return results
    logger.error("a batch of %d requests has %d results", len(parts), len(results))
    return InternalError()


def isolate(run: Run[P, R], parts: Sequence[Part[P]], error: ForwardpassError) -> "list[R | ForwardpassError]":
    """For each part of a batch that failed with `error` its result, or its own error.

    After a `ComputeError` the batch is halved until only those parts fail that do so alone. Of r rows that takes at
    most 2 * log2(r) + 2 runs for one such part. Of several, those that are not yet apart after as many runs share
    the error of the last run that they were in. Any other error is not the fault of a part: all have it.
    """
    outcomes: list[R | ForwardpassError] = [error] * len(parts)
    if not isinstance(error, ComputeError):
        return outcomes
    rows = sum(stop - start for _, start, stop in parts)
    pairs = rows.bit_length()
    failing = deque([(0, len(parts))])
    # The widest first: so the fewest are still together when the runs are used up.
    while failing and pairs:
        first, last = failing.popleft()
        if last - first == 1:
            continue
        pairs -= 1
        middle = (first + last) // 2
        for start, stop in ((first, middle), (middle, last)):
            results = attempt(run, parts[start:stop])
            if isinstance(results, ComputeError):
                failing.append((start, stop))
            outcomes[start:stop] = [results] * (stop - start) if isinstance(results, ForwardpassError) else results
    failed = sum(isinstance(outcome, ForwardpassError) for outcome in outcomes)
    logger.error("a batch of %d rows failed, by %d of its %d requests: %s", rows, failed, len(parts), error)
    return outcomes
