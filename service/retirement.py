"""Versions that are no longer served but still known to a request: each ends when none knows it any more."""

import asyncio
import weakref
from typing import Any

from service.batching.batcher import Batcher
from service.served import ServedModel


class Retirement:
    """Ends what is taken out of service, on the event loop on which it is called."""

    def __init__(self) -> None:
        self._waiting: set[Batcher[Any, Any]] = set()
        """The batchers of models that a request may still know."""
        self._ending: set[asyncio.Task[None]] = set()

    def add(self, model: ServedModel) -> None:
        """Close the batcher of a model once nobody knows the model any more.

        Not before: a request that is being read now, on another thread perhaps, is yet to be queued.
        """
        self._waiting.add(model.batcher)
        loop = asyncio.get_running_loop()
        weakref.finalize(model, self._forgotten, model.batcher, loop).atexit = False

    async def close(self) -> None:
        """Close all of them now: what waits is answered, what comes is refused."""
        waiting, self._waiting = self._waiting, set()
        await asyncio.gather(*(batcher.close() for batcher in waiting), *self._ending)

    def _forgotten(self, batcher: Batcher[Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        """Go on where batchers are closed; this may be any thread."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._end, batcher)

    def _end(self, batcher: Batcher[Any, Any]) -> None:
        if batcher in self._waiting:
            self._waiting.discard(batcher)
            task = asyncio.ensure_future(batcher.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
