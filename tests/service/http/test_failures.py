"""Behaviour of service.http.failures."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from service.errors import (
    ComputeError,
    DeadlineError,
    ForwardpassError,
    InternalError,
    JsonError,
    QueueFullError,
    ShapeError,
)
from service.http.failures import MOST, Failures, Flood
from service.logs import EyeFormatter
from service.predict import Target

CLIENT = ("10.0.0.1", 4242)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged, without its time."""
    caplog.set_level(logging.INFO)
    formatter = EyeFormatter()
    return lambda: [formatter.format(record).split(" ", 2)[2] for record in caplog.records]


def telling(*errors: ForwardpassError) -> None:
    """Tell of these, and end."""

    async def tell() -> None:
        failures = Failures()
        for error in errors:
            failures.tell(error, CLIENT)
        failures.close()

    asyncio.run(tell())


def test_the_first_of_a_kind_are_told_and_the_others_counted() -> None:
    """Each kind for itself, and anew after each look."""
    flood = Flood(2)
    assert [flood.admits(JsonError) for _ in range(5)] == [True, True, False, False, False]
    assert flood.admits(ShapeError)
    assert flood.look() == {JsonError: 3}
    assert flood.look() == {}
    assert flood.admits(JsonError)


def test_a_prediction_is_told_with_what_it_asked(told: Callable[[], list[str]]) -> None:
    """And who did, under which name, and how long it took."""

    async def tell() -> None:
        failures = Failures()
        failures.tell_of(JsonError("secret"), Target("v2", "line", "3"), ("::1", 5), b"abc", 0.00125)
        failures.tell_of(JsonError("secret"), Target("v1", "line", None), None, None, None)
        failures.close()

    asyncio.run(tell())
    known = "INFO a request is refused status=400 code=invalid_json"
    assert told() == [
        f"{known} protocol=v2 model=line version=3 ms=1.25 request_id=abc client=[::1]:5",
        f"{known} protocol=v1 model=line",
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ShapeError("secret"), "INFO a request is refused status=400 code=shape_mismatch"),
        (QueueFullError("5 rows wait"), "WARNING a request is refused: 5 rows wait status=503 code=queue_full"),
        (DeadlineError("late"), "WARNING a request is refused: late status=504 code=deadline_exceeded"),
        (ComputeError("no memory"), "WARNING a request failed: no memory status=500 code=compute_failed"),
        (InternalError(), "WARNING a request failed status=500 code=internal"),
    ],
)
def test_whose_fault_it_is_decides_how_it_is_told(
    error: ForwardpassError, line: str, told: Callable[[], list[str]]
) -> None:
    """Of a bad request nothing is repeated, for the sentence may hold a part of its body."""
    telling(error)
    assert told() == [f"{line} client=10.0.0.1:4242"]


def test_a_flood_costs_few_lines(told: Callable[[], list[str]]) -> None:
    """The last of them says how many there were."""
    telling(*[JsonError("x")] * 1000, QueueFullError("y"))
    assert len(told()) == MOST + 2
    assert told()[-1] == f"INFO … and {1000 - MOST} more like it within a second status=400 code=invalid_json more=990"


def test_a_second_after_a_flood_its_rest_is_told(told: Callable[[], list[str]]) -> None:
    """Without another request, and by the loop's own clock."""

    async def tell() -> None:
        failures, loop = Failures(), asyncio.get_running_loop()
        for _ in range(MOST + 1):
            failures.tell(JsonError("x"), CLIENT)
        assert len(told()) == MOST
        looked = asyncio.Event()
        loop.call_later(1.0, looked.set)
        await looked.wait()

    asyncio.run(tell())
    assert "… and 1 more like it" in told()[-1]


def test_without_requests_there_is_nothing_to_end(told: Callable[[], list[str]]) -> None:
    """A server may stop before it was asked anything."""
    telling()
    assert told() == []
