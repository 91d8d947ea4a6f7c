"""Behaviour of service.watch."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.watch import watch
from tests.service.conftest import publish, save
from training.publish import exchange


class Calls:
    """Counts the calls, and waits for the next."""

    def __init__(self) -> None:
        self.count = 0
        self._came = asyncio.Event()

    async def changed(self) -> None:
        """Note a call."""
        self.count += 1
        self._came.set()

    async def next(self) -> None:
        """Return once there was a call."""
        async with asyncio.timeout(20):
            await self._came.wait()
        self._came.clear()


@asynccontextmanager
async def watching(place: Path) -> AsyncIterator[Calls]:
    """The calls of a watch, which has begun."""
    calls, stop = Calls(), asyncio.Event()
    task = asyncio.create_task(watch(place, calls.changed, stop))
    try:
        await calls.next()
        yield calls
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


def run(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene on a loop of its own."""

    async def main() -> None:
        await scene()

    asyncio.run(main())


def test_what_comes_is_exchanged_and_goes_is_noticed(tmp_path: Path) -> None:
    """By renaming, as versions are published; also in a folder that came by renaming itself."""
    root, staging = tmp_path / "models", tmp_path / "staging"
    publish(root, "line")

    async def scene() -> None:
        async with watching(root) as calls:
            publish(staging, "vote").parent.rename(root / "vote")
            await calls.next()
            publish(staging, "vote", 2).rename(root / "vote" / "2")
            await calls.next()
            exchange(publish(staging, "vote", 2), root / "vote" / "2")
            await calls.next()
            (root / "vote" / "2" / "model.onnx").unlink()
            await calls.next()

    run(scene)


def test_reading_is_no_change(tmp_path: Path) -> None:
    """Whoever looks for changes causes none: else it would never end."""
    folder = publish(tmp_path / "models", "line")

    async def scene() -> None:
        async with watching(tmp_path / "models") as calls:
            before = calls.count
            for path in folder.iterdir():
                path.read_bytes()
            # A change in the end, so that nothing has to be waited for that does not come.
            (folder / "more").touch()
            await calls.next()
            assert calls.count == before + 1

    run(scene)


def test_a_file_alone_is_watched(tmp_path: Path) -> None:
    """Whether it is written or another one gets its name."""
    file = save(tmp_path, "line.onnx", "line")

    async def scene() -> None:
        async with watching(file) as calls:
            file.write_bytes(b"other")
            await calls.next()
            save(tmp_path, "other", "line").rename(file)
            await calls.next()

    run(scene)


def test_a_place_that_is_gone_is_watched_once_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once that it is gone."""
    root = tmp_path / "models"
    publish(root, "line")

    async def scene() -> None:
        async with watching(root) as calls:
            root.rename(tmp_path / "elsewhere")
            await calls.next()
            await calls.next()
            (tmp_path / "elsewhere").rename(root)
            while not [record for record in caplog.records if "is watched again" in record.message]:
                await calls.next()
            publish(root, "vote")
            await calls.next()

    with caplog.at_level(logging.INFO):
        run(scene)
    assert [record.message.partition(" is ")[2][:15] for record in caplog.records] == [
        "not watched but",
        "watched again",
    ]


def test_a_name_that_is_no_text_is_told_and_the_watch_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The library gives up over it, inside a group of errors that says nothing."""

    async def scene() -> None:
        async with watching(tmp_path) as calls:
            save(tmp_path, os.fsdecode(b"\xff"), "line")
            await calls.next()
            publish(tmp_path, "line")
            await calls.next()

    run(scene)
    assert [message for message in caplog.messages if "Unable to decode path" in message] == caplog.messages != []


def test_a_failure_of_who_is_told_does_not_end_it(tmp_path: Path) -> None:
    """The next change is told all the same."""
    publish(tmp_path, "line")

    async def scene() -> None:
        calls, stop = Calls(), asyncio.Event()

        async def fails_first() -> None:
            await calls.changed()
            if calls.count == 1:
                raise ValueError("out of order")

        task = asyncio.create_task(watch(tmp_path, fails_first, stop))
        await calls.next()
        await calls.next()
        stop.set()
        await task

    run(scene)
