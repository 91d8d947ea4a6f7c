"""Behaviour of service.retirement."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from service.config import Settings
from service.errors import DrainingError
from service.model.runtime import Arrays
from service.retirement import Retirement
from service.served import ServedModel, prepare, serve
from tests import awaited
from tests.awaited import Answer
from tests.service.conftest import counting, publish

ROW: Arrays = (np.ones((1, 2), np.float32),)


def made(root: Path, execution: str = "auto") -> ServedModel:
    """A model on the loop that runs."""
    settings = Settings(models=root, execution=execution)
    prepared = prepare(publish(root, "line"), "line", settings)
    return serve(prepared, settings, counting(), asyncio.get_running_loop())


def ask(model: ServedModel) -> Answer[Arrays]:
    """The answer to a row."""
    return awaited.submit(model.batcher, ROW, 1, model.plan.key(ROW), size=0)


def run(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene on a loop of its own."""

    async def main() -> None:
        await scene()

    asyncio.run(main())


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_who_knows_a_model_is_answered(execution: str, tmp_path: Path) -> None:
    """As long as somebody does; then it ends, with its thread."""

    async def scene() -> None:
        model = made(tmp_path, execution)
        retirement = Retirement()
        waiting = ask(model)
        retirement.add(model)
        late = ask(model)
        assert [(await one)[0].tolist() for one in (waiting, late)] == [[[-0.75]]] * 2
        batcher = model.batcher
        del model
        # Behind what the end of the model has left for the loop to do.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            awaited.submit(batcher, ROW, 1, "", size=0)
        await retirement.close()

    run(scene)


def test_what_a_model_computed_with_is_freed(tmp_path: Path) -> None:
    """The batcher goes, and all that it holds."""

    async def scene() -> None:
        model = made(tmp_path)
        batcher = weakref.ref(model.batcher)
        retirement = Retirement()
        retirement.add(model)
        del model
        for _ in range(3):
            await asyncio.sleep(0)
        await retirement.close()
        gc.collect()
        assert batcher() is None

    run(scene)


def test_at_the_end_nobody_is_waited_for(tmp_path: Path) -> None:
    """What is queued is answered, and what is known to somebody takes no more."""

    async def scene() -> None:
        model = made(tmp_path)
        retirement = Retirement()
        retirement.add(model)
        waiting = ask(model)
        await retirement.close()
        assert (await waiting)[0].tolist() == [[-0.75]]
        with pytest.raises(DrainingError):
            ask(model)
        await retirement.close()

    run(scene)
