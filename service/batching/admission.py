"""Whom a queue turns away at once, and what they are told."""

from service.batching.scheduler import Cost, Scheduler, W
from service.errors import DeadlineError, QueueFullError


def require_time(scheduler: Scheduler[W], work: W, left: float, busy: float, cost: Cost) -> None:
    """Raise `DeadlineError` unless the request may be computed in the seconds that are `left`.

    The model is taken for another `busy` seconds. The request is certain to be late only if its own rows and those
    of its key that are certain to leave by then, in batches as full as can be, take longer after that: other keys'
    rows are left out, since some come after it and any may be cancelled.
    """
    if left <= 0:
        raise DeadlineError(f"the deadline passed {-left * 1000:.0f} ms before the request was queued")
    batches, rest = divmod(scheduler.ahead(work) + work.rows, scheduler.max_batch)
    seconds = busy + batches * cost(scheduler.max_batch, work.key)
    if rest:
        seconds += cost(rest, work.key)
    if seconds > left:
        raise DeadlineError(
            f"the deadline is in {left * 1000:.1f} ms, and the answer takes {seconds * 1000:.1f} ms at least"
        )


def no_room(scheduler: Scheduler[W], work: W, busy: float, cost: Cost) -> QueueFullError:
    """What a request is told that does not fit into the queue of a model that is taken for another `busy` seconds."""
    waiting, bound, more, unit = scheduler.beside(work), scheduler.max_queue, work.rows, "rows"
    if waiting + more <= bound:
        waiting, bound, more, unit = scheduler.bytes, scheduler.max_queue_bytes, work.size, "bytes"
    elif more > scheduler.max_batch:
        unit = "rows of requests larger than a batch"
    sentence = f"{waiting} {unit} wait and {bound} may, so there is no room for {more} more"
    seconds = busy + scheduler.rows / scheduler.max_batch * cost(scheduler.max_batch, work.key)
    return QueueFullError(sentence, retry_after=seconds)
