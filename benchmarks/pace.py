"""Something done again and again, at a steady pace."""

import time
from collections.abc import Callable


def again(seconds: float, distance: float, act: Callable[[int], None]) -> int:
    """How often it was done in so many seconds, with a `distance` from one time to the next and half of it at the ends.

    Less often, where it takes longer itself. Each time it is told how often it was done before.
    """
    began, count = time.monotonic(), 0
    while True:
        due = began + distance * (count + 0.5)
        time.sleep(max(0, due - time.monotonic()))
        if max(due, time.monotonic()) + distance / 2 > began + seconds:
            return count
        act(count)
        count += 1
