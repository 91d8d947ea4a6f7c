"""Notices that something changed where the models lie."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import awatch

_GROUP_MILLISECONDS, _QUIET_MILLISECONDS = 1000, 200
"""Changes are told together that follow each other within the second of these, for no longer than the first. The
library wakes up as often as the second says, also where nothing changes."""
_LOOK_SECONDS = 1.0
"""How often it is looked whether the place itself is still the one that is watched, or is there again."""

logger = logging.getLogger(__name__)


async def watch(place: Path, changed: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Await `changed` after each change at or below `place`, until `stop` is set.

    The system tells of changes on this machine's own disks; `WATCHFILES_FORCE_POLLING=true` in the environment makes
    it look instead, which finds those that another machine made on a shared one too. A place that is gone, or cannot
    be watched, is looked for again from time to time.
    """
    # It tells each group of changes, which says nothing of models.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    told, behind = "", False
    while not stop.is_set():
        try:
            if behind:
                await changed()
            async with aclosing(_changes(place, stop)) as changes:
                async for _ in changes:
                    if told:
                        logger.info("%s is watched again", place)
                        told = ""
                    await changed()
            behind = False
        except Exception as error:  # noqa: BLE001  # whatever it is, the watch goes on
            reason = _reason(error)
            if reason != told:
                logger.warning("%s is not watched but looked at every %g s: %s", place, _LOOK_SECONDS, reason)
            told, behind = reason, True
            await _wait(stop, _LOOK_SECONDS)


async def _changes(place: Path, stop: asyncio.Event) -> AsyncGenerator[None]:
    """Something for each change, and first for what happened before anybody watched.

    It ends once the place's name is another folder's or file's, and raises what the system has against it.
    """
    watched, fresh = _identity(place), True
    async for changes in awatch(
        place,
        watch_filter=None,
        debounce=_GROUP_MILLISECONDS,
        step=_QUIET_MILLISECONDS,
        rust_timeout=int(_LOOK_SECONDS * 1000),
        yield_on_timeout=True,
        stop_event=stop,
    ):
        if _identity(place) != watched:
            return
        if changes or fresh:
            yield
        fresh = False


def _reason(error: Exception) -> str:
    """What is wrong, without the groups in which the library hides it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _identity(place: Path) -> tuple[int, int]:
    stat = place.stat()
    return stat.st_dev, stat.st_ino


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return once the event is set, or so many seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
