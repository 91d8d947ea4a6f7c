"""Behaviour of service.timed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from service.catalog import Catalog
from service.config import Settings
from service.metrics import Metrics
from service.predict import Prediction, Predictor, Reply, Target, Timeline
from service.timed import TimedPrediction
from tests.service.conftest import COMMITTED

ROWS = b'{"instances": [[1, 2], [3, 4]]}'
WORDS = b'{"instances": [{"context": ["the"]}, {"context": ["the", "value"]}]}'


def ask(folder: Path, model: str, body: bytes, leave: Callable[[Prediction], None] | None = None) -> Timeline | None:
    """The timeline of one prediction: of its reply, or of when it was left."""

    async def scene() -> Timeline | None:
        metrics = Metrics()
        catalog = Catalog(Settings(models=folder, max_batch=2), metrics)
        catalog.load(asyncio.get_running_loop())
        told = asyncio.Event()
        begun = Predictor(catalog, metrics, TimedPrediction).begin(Target("v1", model, None), body, None, told.set)
        try:
            if isinstance(begun, Reply):
                return begun.timeline
            if leave is not None:
                leave(begun)
                return begun.timeline
            await told.wait()
            return begun.finish().timeline
        finally:
            await catalog.close()

    return asyncio.run(scene())


def names(timeline: Timeline) -> list[str]:
    """The phases that there were, each of which begins where none before it has not ended."""
    times = [time for _, *both in timeline.phases for time in both]
    assert times == sorted(times)
    return [name for name, _, _ in timeline.phases]


@pytest.mark.parametrize("rows", [2, 7], ids=["in one batch", "in several"])
def test_an_answer_has_four_phases(rows: int, samples: Path) -> None:
    """Its rows wait until the first leave, and are computed until the last are back."""
    body = b'{"instances": [%b]}' % b",".join([b"[1, 2]"] * rows)
    timeline = ask(samples, "line", body)
    assert timeline is not None
    assert (timeline.version, timeline.rows) == (1, rows)
    assert names(timeline) == ["decode", "queue", "compute", "encode"]
    assert timeline.phases[1][2] == timeline.phases[2][1]


def test_rows_that_are_not_computed_together_are_one_phase() -> None:
    """Of words in contexts of several lengths the first group that leaves ends the wait of all."""
    timeline = ask(COMMITTED, "next_word_rnn", WORDS)
    assert timeline is not None
    assert (timeline.version, timeline.rows) == (1, 2)
    assert names(timeline) == ["decode", "queue", "compute", "encode"]


def test_what_cannot_be_read_was_only_read(samples: Path) -> None:
    """It has no rows."""
    timeline = ask(samples, "line", b'{"instances": [[1]]}')
    assert timeline is not None
    assert (timeline.rows, names(timeline)) == (None, ["decode"])


def test_no_model_has_no_timeline(samples: Path) -> None:
    """Nothing was done."""
    assert ask(samples, "nothing", ROWS) is None


def test_one_that_is_let_go_ends_where_it_is(samples: Path) -> None:
    """It waited until now."""
    timeline = ask(samples, "line", ROWS, leave=Prediction.abandon)
    assert timeline is not None
    assert names(timeline) == ["decode", "queue"]


def test_any_other_prediction_keeps_no_time(samples: Path) -> None:
    """It would cost."""

    async def scene() -> None:
        metrics = Metrics()
        catalog = Catalog(Settings(models=samples), metrics)
        catalog.load(asyncio.get_running_loop())
        told = asyncio.Event()
        begun = Predictor(catalog, metrics).begin(Target("v1", "line", None), ROWS, None, told.set)
        assert isinstance(begun, Prediction)
        await told.wait()
        assert begun.finish().timeline is None
        assert begun.timeline is None
        await catalog.close()

    asyncio.run(scene())
