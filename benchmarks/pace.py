"""Something done again and again, at a steady pace."""

import time
from collections.abc import Callable


def again(seconds: float, distance: float, act: Callable[[], object]) -> int:
    """How often it was done to its end in so many seconds, with half of the `distance` before the first time.

    It is begun once at least, however short the time; less often, where it takes longer than the distance. It is
    not begun in the last quarter of a distance.
    """
    began = time.monotonic()
    distance = min(distance, seconds)
    times = done = 0
    while True:
        time.sleep(max(0, began + distance * (times + 0.5) - time.monotonic()))
        if time.monotonic() > began + seconds - distance / 4:
            return done
        act()
        times += 1
        done += time.monotonic() <= began + seconds
