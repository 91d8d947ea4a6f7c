"""One timer for all connections of a server, in place of one for each."""

from asyncio import AbstractEventLoop, TimerHandle
from itertools import islice
from typing import Protocol

SECONDS = 0.5
"""In which each is looked at once, or more often where they are few."""
PARTS = 10
"""In which all of them are looked at: however many they are, none of them delays the requests of others for long."""


class Watched(Protocol):
    """What may have to end when its time is over."""

    def look(self, now: float) -> None:
        """Act, where it is time; `now` is on the loop's clock."""


class Rounds:
    """Looks at all that have joined, over and over, as long as there are any."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[Watched, None] = {}
        """In the order of their turns."""
        self._timer: TimerHandle | None = None

    def join(self, one: Watched) -> None:
        """Look at one more."""
        self._watched[one] = None
        if self._timer is None:
            self._timer = self._loop.call_later(SECONDS / PARTS, self._look)

    def leave(self, one: Watched) -> None:
        """Look at it no more; again, it does nothing."""
        self._watched.pop(one, None)

    def _look(self) -> None:
        """Look at those whose turn it is, who then have the last."""
        self._timer = None
        turns = list(islice(self._watched, -(-len(self._watched) // PARTS)))
        if not turns:
            return
        self._timer = self._loop.call_later(SECONDS / PARTS, self._look)
        now = self._loop.time()
        for one in turns:
            del self._watched[one]
            self._watched[one] = None
            one.look(now)
