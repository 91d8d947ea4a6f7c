"""Behaviour of service.served."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.config import Settings
from service.errors import ChecksumError
from service.served import Prepared, ServedModel, names_in, prepare, serve
from tests import awaited
from tests.service.conftest import counting, damage, publish, save


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of its own."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def answer(model: ServedModel, rows: list[list[float]], loop: asyncio.AbstractEventLoop) -> list[list[float]]:
    """What a model answers; it is closed after that."""

    async def scene() -> list[list[float]]:
        arrays = (np.array(rows, np.float32),)
        outputs = await awaited.submit(model.batcher, arrays, len(rows), model.plan.key(arrays), size=0)
        await model.batcher.close()
        values: list[list[float]] = outputs[0].tolist()
        return values

    return loop.run_until_complete(scene())


def test_a_version_is_prepared_on_any_thread(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """All that takes long of it; what is left for the loop is its place there."""
    folder = publish(tmp_path, "line")
    settings = Settings(models=tmp_path)
    made: list[Prepared] = []
    thread = threading.Thread(target=lambda: made.append(prepare(folder, "line", settings)))
    thread.start()
    thread.join()
    stats = counting()
    model = serve(made[0], settings, stats, loop)
    assert answer(model, [[1, 2], [1, 0]], loop) == [[-2.0], [0.5]]
    assert (model.stats, stats.batch_rows.total) == (stats, 2)
    assert model.golden is not None


def test_a_version_that_is_not_sound_is_not_prepared(tmp_path: Path) -> None:
    """It says why."""
    folder = publish(tmp_path, "line")
    damage(folder)
    with pytest.raises(ChecksumError, match=r"line/1/model\.onnx"):
        prepare(folder, "line", Settings(models=tmp_path))


def test_a_served_version_needs_its_files_no_more(tmp_path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """It answers what it answered when it was prepared."""
    file = save(tmp_path, "line.onnx", "line")
    settings = Settings(models=file)
    prepared = prepare(file, "line", settings)
    file.unlink()
    assert answer(serve(prepared, settings, counting(), loop), [[1, 2]], loop) == [[-2.0]]


@pytest.mark.parametrize(
    ("setting", "names"), [("all", []), ("none", []), ("", []), ("line", ["line"]), (" line, vote,", ["line", "vote"])]
)
def test_models_are_named_with_commas_between_them(setting: str, names: list[str]) -> None:
    """`all` and `none` are no names."""
    assert names_in(setting) == names
