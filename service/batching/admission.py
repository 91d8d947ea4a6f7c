"""Whom a queue turns away at once, and what they are told."""

from collections.abc import Callable

from service.batching.scheduler import Scheduler, W
from service.errors import DeadlineError, QueueFullError

Cost = Callable[[int], float]
"""The predicted seconds of a batch of so many rows, never less than for fewer."""


def require_time(scheduler: Scheduler[W], work: W, left: float, busy: float, cost: Cost) -> None:
    """Raise `DeadlineError` unless the request may be computed in the seconds that are `left`.

    The model is taken for another `busy` seconds. The request is certain to be late only if its own key's rows
    alone, in batches as full as can be, take longer after that: other keys' rows are left out, since some come after
    it and any may be cancelled.
    """
    if left <= 0:
        raise DeadlineError(f"the deadline passed {-left * 1000:.0f} ms before the request was queued")
    batches, rest = divmod(scheduler.ahead(work.key) + work.rows, scheduler.max_batch)
    seconds = busy + batches * cost(scheduler.max_batch)
    if rest:
        seconds += cost(rest)
    if seconds > left:
        raise DeadlineError(
            f"the deadline is in {left * 1000:.1f} ms, and the answer takes {seconds * 1000:.1f} ms at least"
        )


def no_room(scheduler: Scheduler[W], work: W, busy: float, cost: Cost) -> QueueFullError:
    """What a request is told that does not fit into the queue of a model that is taken for another `busy` seconds."""
    if scheduler.rows + work.rows > scheduler.max_queue:
        waiting, bound, more, unit = scheduler.rows, scheduler.max_queue, work.rows, "rows"
    else:
        waiting, bound, more, unit = scheduler.bytes, scheduler.max_queue_bytes, work.size, "bytes"
    sentence = f"{waiting} {unit} wait and {bound} may, so there is no room for {more} more"
    seconds = busy + scheduler.rows / scheduler.max_batch * cost(scheduler.max_batch)
    return QueueFullError(sentence, retry_after=seconds)
