"""Behaviour of service.catalog."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.catalog import Catalog, ServedModel
from service.codec.tensors import Array
from service.config import Settings
from service.errors import (
    DrainingError,
    NotReadyError,
    SettingsError,
    UnknownModelError,
    UnknownVersionError,
)
from service.manifest import Golden
from service.metrics import Metrics
from tests.service.conftest import SAMPLES, damage, graph_of, manifest_of, publish, write_version

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _loop() -> Iterator[None]:
    """Close the loop that all catalogs here are loaded for."""
    yield
    LOOP.close()


def loaded(root: Path, **options: object) -> Catalog:
    """A catalog with the models of a folder."""
    catalog = Catalog(Settings(models=root, **options), Metrics())  # type: ignore[arg-type]  # settings by name
    catalog.load(LOOP)
    return catalog


def answer(model: ServedModel) -> list[Array]:
    """What a model answers to its golden rows."""

    async def ask() -> tuple[Array, ...]:
        arrays = tuple(
            np.array(model.golden.inputs[spec.name], np.float32 if spec.datatype == "FP32" else np.int64)
            for spec in model.manifest.inputs
        )
        outputs = await model.batcher.submit(arrays, len(arrays[0]), "")
        await model.batcher.close()
        return outputs

    return list(LOOP.run_until_complete(ask()))


def test_every_model_answers(samples: Path) -> None:
    """All models of the folder are loaded, ready, and answer their golden rows."""
    catalog = loaded(samples)
    assert catalog.ready
    assert catalog.names == sorted(path.name for path in samples.iterdir())
    assert [model.manifest.name for model in catalog.served] == catalog.names
    for model in catalog.served:
        for output, expected in zip(answer(model), model.golden.outputs.values(), strict=True):
            np.testing.assert_allclose(output, expected, rtol=1e-6)


def test_the_latest_version_is_served(tmp_path: Path) -> None:
    """Ten is later than nine; the others are not loaded."""
    for version in (10, 9):
        publish(tmp_path, "line", version)
    damage(tmp_path / "line" / "9")
    catalog = loaded(tmp_path)
    assert catalog.ready
    assert catalog.find("line").manifest.version == 10
    assert catalog.find("line", "10") is catalog.find("line")


@pytest.mark.parametrize("version", ["9", "11", "010", "latest", ""])
def test_another_version_is_unknown(version: str, tmp_path: Path) -> None:
    """Only the served version can be named, and only as it is written."""
    publish(tmp_path, "line", 9)
    publish(tmp_path, "line", 10)
    with pytest.raises(UnknownVersionError, match=f"line is served in version 10, not in {version!r}"):
        loaded(tmp_path).find("line", version)


def test_an_unknown_model_is_answered_with_the_known(tmp_path: Path) -> None:
    """A slip in a name is easily mended."""
    publish(tmp_path, "line")
    publish(tmp_path, "vote")
    with pytest.raises(UnknownModelError, match="no model 'lime' is served: the models are line, vote"):
        loaded(tmp_path).find("lime", "1")


def test_a_damaged_model_stays_out_and_the_others_are_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is in the log, the index and the error; the server is not ready."""
    publish(tmp_path, "line")
    damage(publish(tmp_path, "vote"))
    with caplog.at_level(logging.ERROR):
        catalog = loaded(tmp_path)
    assert not catalog.ready
    assert catalog.names == ["line", "vote"]
    assert [model.manifest.name for model in catalog.served] == ["line"]
    sound, refused = catalog.index()
    assert sound == ("line", "1", "READY", "")
    assert refused[:3] == ("vote", "1", "UNAVAILABLE")
    assert "model.onnx: it has" in refused.reason
    for version in (None, "1"):
        with pytest.raises(NotReadyError) as caught:
            catalog.find("vote", version)
        assert caught.value.message == f"vote version 1 is not served: {refused.reason}"
    assert caplog.messages == [f"vote version 1 is not served: {refused.reason}"]


def test_all_versions_are_served_where_the_setting_says(tmp_path: Path) -> None:
    """A version is asked for by its number; without one the latest answers, and one that is damaged hurts no other."""
    for version in (1, 2, 10):
        publish(tmp_path, "line", version)
    assert loaded(tmp_path).versions("line") == ["10"]
    catalog = loaded(tmp_path, versions="all")
    assert catalog.versions("line") == ["1", "2", "10"]
    assert [catalog.find("line", version).manifest.version for version in (None, "1", "2")] == [10, 1, 2]
    damage(tmp_path / "line" / "2")
    hurt = loaded(tmp_path, versions="all")
    assert not hurt.ready
    assert [entry.state for entry in hurt.entries("line")] == ["READY", "UNAVAILABLE", "READY"]
    assert hurt.find("line").manifest.version == 10
    with pytest.raises(NotReadyError, match="line version 2 is not served"):
        hurt.find("line", "2")
    with pytest.raises(UnknownVersionError, match="line is served in version 1, 2, 10, not in '3'"):
        hurt.find("line", "3")


def test_a_model_of_which_only_an_input_is_odd_stays_out_alone(tmp_path: Path) -> None:
    """Golden rows that are no numbers keep their model from being served, and no other."""
    publish(tmp_path, "line")
    odd = Golden(inputs={spec.name: [{"a": 1}] for spec in SAMPLES["vote"].inputs}, outputs={})
    files = {"model.onnx": graph_of(SAMPLES["vote"]), "golden.json": odd.render()}
    write_version(tmp_path, manifest_of("vote", SAMPLES["vote"]), files)
    assert [model.manifest.name for model in loaded(tmp_path).served] == ["line"]


def test_a_model_that_cannot_take_a_batch_stays_out(tmp_path: Path) -> None:
    """A graph that fails on the largest batch does not take the server down with it."""
    publish(tmp_path, "line")
    publish(tmp_path, "fixed")
    catalog = loaded(tmp_path)
    assert [model.manifest.name for model in catalog.served] == ["line"]
    with pytest.raises(NotReadyError, match=r"fixed version 1 .*model\.onnx: onnxruntime fails on a batch"):
        catalog.find("fixed")


def test_models_are_not_ready_before_they_are_loaded(tmp_path: Path) -> None:
    """Between start and load a known model is one that is being loaded."""
    publish(tmp_path, "line")
    catalog = Catalog(Settings(models=tmp_path), Metrics())
    assert not catalog.ready
    assert catalog.index() == [("line", "1", "UNAVAILABLE", "")]
    with pytest.raises(NotReadyError, match="it is being loaded"):
        catalog.find("line")


@pytest.mark.parametrize(
    ("place", "said"), [("gone", "which is no folder"), ("empty", "which holds no folder <name>/<version>")]
)
def test_a_folder_without_models_is_a_settings_error(place: str, said: str, tmp_path: Path) -> None:
    """A server with nothing to serve does not start."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError) as caught:
        Catalog(Settings(models=tmp_path / place), Metrics())
    assert caught.value.message == f"models is {tmp_path / place}, {said}"


def test_a_missing_provider_is_a_settings_error(samples: Path) -> None:
    """It is found before a model is loaded, and not counted against the models."""
    with pytest.raises(SettingsError, match="CUDAExecutionProvider"):
        Catalog(Settings(models=samples, provider="cuda"), Metrics())


@pytest.mark.parametrize(
    ("name", "execution", "threads"),
    [
        ("line", "inline", 0),
        ("line", "thread", 1),
        ("deep", "inline", 0),
        ("deep", "thread", 1),
        ("line", "auto", 0),
        ("deep", "auto", 1),
    ],
)
def test_batches_run_where_the_setting_says(name: str, execution: str, threads: int, tmp_path: Path) -> None:
    """On the event loop or on a thread of the model's own; left to itself, a heavy model gets the thread."""
    publish(tmp_path, name)
    before = set(threading.enumerate())
    model = loaded(tmp_path, execution=execution).find(name)

    async def count() -> int:
        arrays = (np.array(next(iter(model.golden.inputs.values())), np.float32),)
        await model.batcher.submit(arrays, len(arrays[0]), "")
        own = set(threading.enumerate()) - before
        await model.batcher.close()
        return len(own)

    assert LOOP.run_until_complete(count()) == threads


def test_the_metrics_know_the_catalog(tmp_path: Path) -> None:
    """Readiness on the page is the catalog's, and each model has its numbers from the start."""
    publish(tmp_path, "line")
    metrics = Metrics()
    catalog = Catalog(Settings(models=tmp_path), metrics)
    assert not metrics.ready()
    catalog.load(LOOP)
    assert metrics.ready()
    assert list(metrics.models) == [("line", "1")]
    assert catalog.find("line").stats is metrics.model("line", 1)


def test_a_closed_catalog_takes_no_more(tmp_path: Path) -> None:
    """What waits is answered, what comes is refused."""
    publish(tmp_path, "line")
    catalog = loaded(tmp_path)
    rows = (np.ones((1, 2), np.float32),)

    async def scene() -> None:
        batcher = catalog.find("line").batcher
        waiting = batcher.submit(rows, 1, "")
        await catalog.close()
        assert waiting.result()[0].tolist() == [[-0.75]]
        with pytest.raises(DrainingError):
            batcher.submit(rows, 1, "")

    LOOP.run_until_complete(scene())
