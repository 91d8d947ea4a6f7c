"""Behaviour of service.catalog."""

import asyncio
import dataclasses
import json
import logging
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.catalog import Catalog
from service.codec.tensors import Array
from service.config import Settings
from service.errors import (
    DrainingError,
    NotReadyError,
    RequestError,
    SettingsError,
    UnknownModelError,
    UnknownVersionError,
)
from service.manifest import Golden
from service.metrics import Metrics
from service.model.runtime import Arrays, Runtime
from service.served import ServedModel
from tests import awaited
from tests.service.conftest import ODD, SAMPLES, damage, golden_of, graph_of, manifest_of, publish, save, write_version

LOOP = asyncio.new_event_loop()

ROW: Arrays = (np.ones((1, 2), np.float32),)
"""A row for the sample `line`, which answers -0.75."""


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
    assert model.golden is not None
    arrays = tuple(
        np.array(model.golden.inputs[spec.name], np.float32 if spec.datatype == "FP32" else np.int64)
        for spec in model.manifest.inputs
    )
    return list(ask(model, arrays)[0])


def ask(model: ServedModel, *requests: Arrays) -> list[Arrays]:
    """What a model answers to requests that come in one turn of the loop; it is closed after them."""

    async def scene() -> list[Arrays]:
        whole = model.manifest.batching == "none"
        futures = [
            awaited.submit(model.batcher, arrays, 1 if whole else len(arrays[0]), model.plan.key(arrays), size=0)
            for arrays in requests
        ]
        answers = [await future for future in futures]
        await model.batcher.close()
        return answers

    return LOOP.run_until_complete(scene())


def test_every_model_answers(samples: Path) -> None:
    """All models of the folder are loaded, ready, and answer their golden rows."""
    catalog = loaded(samples)
    assert catalog.ready
    assert catalog.names == sorted(path.name for path in samples.iterdir())
    assert [model.manifest.name for model in catalog.served] == catalog.names
    for model in catalog.served:
        assert model.golden is not None
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


def test_models_are_not_ready_before_they_are_loaded(tmp_path: Path) -> None:
    """Between start and load a known model is one that is being loaded."""
    publish(tmp_path, "line")
    catalog = Catalog(Settings(models=tmp_path), Metrics())
    assert not catalog.ready
    assert catalog.index() == [("line", "1", "UNAVAILABLE", "")]
    with pytest.raises(NotReadyError, match="it is being loaded"):
        catalog.find("line")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gone", "there is no such file or folder"),
        ("empty", "expected an ONNX file, or a folder of them or of versions, <name>/<version>/"),
    ],
)
def test_a_place_without_models_is_a_settings_error(place: str, said: str, tmp_path: Path) -> None:
    """A server with nothing to serve does not start."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError) as caught:
        Catalog(Settings(models=tmp_path / place), Metrics())
    assert caught.value.message == f"models is {tmp_path / place}: {said}"


def test_onnx_files_are_served_beside_published_models(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without golden rows; what is to be known of them is in the log and the index, what is no graph is not ready."""
    publish(tmp_path, "line", 3)
    save(tmp_path, "my echo.onnx", "echo")
    save(tmp_path, "fixed.onnx", "fixed")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    catalog = loaded(tmp_path)
    assert not catalog.ready
    fixed, garbage, line, echo = catalog.index()
    assert (line, echo) == (("line", "3", "READY", ""), ("my_echo", "1", "READY", ""))
    assert fixed[:3] == ("fixed", "1", "READY")
    assert "one row at a time" in fixed.reason
    assert "dynamic_shapes" in fixed.reason
    assert garbage[:3] == ("garbage", "1", "UNAVAILABLE")
    assert "garbage.onnx: onnxruntime cannot load the graph" in garbage.reason
    assert f"fixed version 1: {fixed.reason}" in caplog.messages
    model = catalog.find("my_echo")
    assert (model.golden, model.manifest.name) == (None, "my_echo")
    texts = [np.array(rows, object) for rows in ([["a", "b"]], [["c", ""], ["ü", "d"]])]
    assert [answer.tolist() for (answer,) in ask(model, *((rows,) for rows in texts))] == [
        rows.tolist() for rows in texts
    ]


def test_one_onnx_file_is_served(tmp_path: Path) -> None:
    """Its neighbours are not."""
    save(tmp_path, "vote.onnx", "vote")
    assert loaded(save(tmp_path, "line.onnx", "line")).index() == [("line", "1", "READY", "")]


def test_a_model_of_one_row_at_a_time_answers_many(tmp_path: Path) -> None:
    """Its rows are computed one by one and come back together."""
    publish(tmp_path, "fixed")
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    model = loaded(tmp_path).find("fixed")
    assert (model.plan.max_batch, ask(model, (rows,))[0][0].tolist()) == (1, rows.tolist())


def test_a_model_without_rows_answers_each_request_by_itself(tmp_path: Path) -> None:
    """In its own shapes, and version 1 has no way to ask it."""
    publish(tmp_path, "whole")
    model = loaded(tmp_path).find("whole")
    squares = [(np.full((2, 2), number, np.float32),) for number in (1, 2, 3)]
    assert [answer.tolist() for (answer,) in ask(model, *squares)] == [[2, 2], [4, 4], [6, 6]]
    assert model.rows is None


def quantised_answers(root: Path, **options: object) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """What two requests of one turn and one row more are answered: a small row, a large one, and both together."""
    model = loaded(root, **options).find("quantised")
    small = np.array([[0.1, 0.25, -0.7, 0.33]], np.float32)
    large = np.array([[10, -20, 30, 5]], np.float32)
    answers = ask(model, (small,), (large,), (np.concatenate([small, large]),))
    first, second, both = (answer.tolist() for (answer,) in answers)
    return first, second, both


def alone(root: Path) -> tuple[list[list[float]], list[list[float]]]:
    """What the two rows are answered by a server that computes nothing else."""
    rows = [[0.1, 0.25, -0.7, 0.33]], [[10, -20, 30, 5]]
    first, second = (ask(loaded(root).find("quantised"), (np.array(row, np.float32),))[0][0].tolist() for row in rows)
    return first, second


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_requests_do_not_change_each_other(execution: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a network whose batch sets a row's scale, every row is answered as it is alone; the log says what is done."""
    publish(tmp_path, "quantised")
    first, second = alone(tmp_path)
    assert quantised_answers(tmp_path, execution=execution) == (first, second, first + second)
    assert "quantised version 1: a row's answer depends on the batch" in caplog.messages[0]
    assert "each row is computed by itself" in caplog.messages[0]


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_rows_of_one_request_may_be_computed_together(execution: str, tmp_path: Path) -> None:
    """Where the operator says so, a request's rows share a batch with each other and with nobody else's."""
    publish(tmp_path, "quantised")
    alone_first, alone_second = alone(tmp_path)
    first, second, both = quantised_answers(tmp_path, execution=execution, dependent_rows="request")
    assert (first, second) == (alone_first, alone_second)
    assert both != first + second


def body_of(rows: Array) -> bytes:
    """A request of version 2 to the quantised sample."""
    given = {"name": "signal", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    return json.dumps({"inputs": [given]}).encode()


def test_a_request_of_rows_computed_together_is_never_divided(tmp_path: Path) -> None:
    """However many batches it would fill; one that is larger than the queue is refused."""
    publish(tmp_path, "quantised")
    model = loaded(tmp_path, dependent_rows="request", max_batch=2, max_queue=40, execution="inline").find("quantised")
    rows = np.random.default_rng(1).standard_normal((40, 4), np.float32)
    whole = Runtime(graph_of(ODD["quantised"]), "whole").run((rows,))
    ((answered,),) = ask(model, (rows,))
    assert answered.tobytes() == whole[0].tobytes()
    with pytest.raises(RequestError, match="40"):
        model.infer.decode(body_of(np.zeros((41, 4))))


def test_a_graph_that_takes_few_rows_together_gets_no_more(tmp_path: Path) -> None:
    """Where they may not be divided, a request with more is refused before it is queued."""
    manifest = manifest_of("quantised", dataclasses.replace(ODD["quantised"], max_batch=3))
    files = {"model.onnx": graph_of(ODD["quantised"]), "golden.json": golden_of("quantised").render()}
    write_version(tmp_path, manifest, files)
    model = loaded(tmp_path, dependent_rows="request").find("quantised")
    assert model.infer.decode(body_of(np.zeros((3, 4)))).inputs.rows == 3
    with pytest.raises(RequestError, match="3"):
        model.infer.decode(body_of(np.zeros((4, 4))))


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_a_graph_alone_whose_rows_depend_answers_as_the_graph_does(execution: str, tmp_path: Path) -> None:
    """Nobody else says what its rows are: each request is a run, as it came, and what keeps rows away is told."""
    save(tmp_path, "quantised.onnx", "quantised")
    catalog = loaded(tmp_path, execution=execution)
    model = catalog.find("quantised")
    runtime = Runtime(graph_of(ODD["quantised"]), "graph")
    requests = [(np.array(rows, np.float32),) for rows in ([[0.1, 0.25, -0.7, 0.33], [10, -20, 30, 5]], [[1, 2, 3, 4]])]
    for (answered,), arrays in zip(ask(model, *requests), requests, strict=True):
        assert answered.tobytes() == runtime.run(arrays)[0].tobytes()
    assert (model.manifest.batching, model.rows) == ("none", None)
    assert model.obstacle.startswith("a row's answer depends on the batch, by up to ")
    assert model.obstacle == catalog.index()[0].reason


def test_what_keeps_a_model_from_taking_rows_is_told(tmp_path: Path) -> None:
    """By the graph's own lengths, or by its manifest; a model that takes rows has nothing of the kind."""
    publish(tmp_path, "whole")
    publish(tmp_path, "line")
    save(tmp_path, "square.onnx", "whole")
    catalog = loaded(tmp_path)
    assert catalog.find("square").obstacle.startswith("the first dimension of 'square' is fixed at 2")
    assert catalog.find("whole").obstacle == "its manifest says so: each request is a run by itself"
    assert not catalog.find("line").obstacle


def test_a_long_row_runs_on_the_thread(tmp_path: Path) -> None:
    """Whatever the rows cost that the model was tried with: the loop does not wait for what may take long."""
    publish(tmp_path, "tokens")
    model = loaded(tmp_path).find("tokens")
    before = set(threading.enumerate())

    async def threads_after(length: int) -> int:
        arrays = (np.zeros((1, length), np.int64),)
        await awaited.submit(model.batcher, arrays, 1, model.plan.key(arrays))
        return len(set(threading.enumerate()) - before)

    async def scene() -> list[int]:
        counts = [await threads_after(3), await threads_after(400_000)]
        await model.batcher.close()
        return counts

    assert LOOP.run_until_complete(scene()) == [0, 1]


def test_replies_have_the_limit_of_the_setting(tmp_path: Path) -> None:
    """In both protocols."""
    publish(tmp_path, "quantised")
    model = loaded(tmp_path, max_reply=100).find("quantised")
    assert model.rows is not None
    rows = np.zeros((100, 4))
    with pytest.raises(RequestError, match="100"):
        model.infer.decode(body_of(rows))
    with pytest.raises(RequestError, match="100"):
        model.rows.decode(json.dumps({"instances": rows.tolist()}).encode())


def test_rows_of_all_requests_may_be_computed_together(tmp_path: Path) -> None:
    """Where the operator says so, the answers are those of the batch."""
    publish(tmp_path, "quantised")
    first, _, both = quantised_answers(tmp_path, execution="inline", dependent_rows="mixed")
    assert first != alone(tmp_path)[0]
    assert first == both[:1]


def test_values_outside_the_ranges_are_counted_once_computed(tmp_path: Path) -> None:
    """By feature; what the model was tried with at the start does not count."""
    publish(tmp_path, "line")
    model = loaded(tmp_path).find("line")
    assert not model.stats.outside.by_labels
    ask(model, *((np.array(rows, np.float32),) for rows in ([[0, 3], [9, 9]], [[1, 1]], [[-2, 0]])))
    assert model.stats.outside.by_labels == {("width",): 2, ("height",): 2}


@pytest.mark.parametrize(
    ("setting", "refusing"), [("none", []), ("all", ["line"]), ("line", ["line"]), ("vote, line", ["line"]), ("", [])]
)
def test_values_outside_the_ranges_are_refused_where_the_setting_says(
    setting: str, refusing: list[str], tmp_path: Path
) -> None:
    """Of the models that are named and know ranges."""
    publish(tmp_path, "line")
    publish(tmp_path, "vote")
    catalog = loaded(tmp_path, refuse_outside=setting)
    assert [model.manifest.name for model in catalog.served if model.refuses is not None] == refusing


def test_a_model_that_cannot_refuse_says_so(tmp_path: Path) -> None:
    """Whoever names a model without ranges is told that it refuses nothing; `all` means those that can."""
    publish(tmp_path, "vote")
    assert "it knows no ranges" in loaded(tmp_path, refuse_outside="vote").index()[0].reason
    assert not loaded(tmp_path, refuse_outside="all").index()[0].reason


def test_a_setting_that_names_no_model_is_told(tmp_path: Path) -> None:
    """The server does not start with a rule that would hold for nothing."""
    publish(tmp_path, "line")
    with pytest.raises(SettingsError, match="refuse_outside names 'lime', which is no model: the models are line"):
        Catalog(Settings(models=tmp_path, refuse_outside="line,lime"), Metrics())


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
        arrays = (np.zeros((64, *model.manifest.inputs[0].row_shape), np.float32),)
        await awaited.submit(model.batcher, arrays, len(arrays[0]), model.plan.key(arrays), size=0)
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
        waiting = awaited.submit(batcher, rows, 1, "", size=0)
        await catalog.close()
        assert waiting.result()[0].tolist() == [[-0.75]]
        with pytest.raises(DrainingError):
            awaited.submit(batcher, rows, 1, "", size=0)

    LOOP.run_until_complete(scene())


def changing(root: Path, scene: Callable[[Catalog], Awaitable[None]], **options: object) -> Catalog:
    """A catalog of which something is changed on the loop, and which is closed after that."""
    catalog = loaded(root, **options)

    async def whole() -> None:
        try:
            await scene(catalog)
        finally:
            await catalog.close()

    LOOP.run_until_complete(whole())
    return catalog


def test_named_versions_are_served(tmp_path: Path) -> None:
    """Of the model that is named these, of others the latest; a name or a version of none is told at start."""
    for version in (1, 2, 10):
        publish(tmp_path, "line", version)
    publish(tmp_path, "vote", 3)
    catalog = loaded(tmp_path, versions="line:1+2")
    assert [entry[:3] for entry in catalog.index()] == [
        ("line", "1", "READY"),
        ("line", "2", "READY"),
        ("vote", "3", "READY"),
    ]
    assert catalog.find("line").manifest.version == 2
    for setting, said in (
        ("lime:1", "'lime', which is no model"),
        ("line:3", "line version 3"),
        ("x", "expected latest"),
    ):
        with pytest.raises(SettingsError, match=said):
            Catalog(Settings(models=tmp_path, versions=setting), Metrics())


def test_a_new_version_takes_the_place_of_the_latest(tmp_path: Path) -> None:
    """The one before ends when nobody knows it any more, and until then answers what it is asked."""
    publish(tmp_path, "line")

    async def scene(catalog: Catalog) -> None:
        before = catalog.find("line")
        waiting = awaited.submit(before.batcher, ROW, 1, before.plan.key(ROW), size=0)
        publish(tmp_path, "line", 2)
        await catalog.rescan()
        assert catalog.find("line").manifest.version == 2
        assert catalog.versions("line") == ["2"]
        # A request that was being read is queued only now.
        late = awaited.submit(before.batcher, ROW, 1, before.plan.key(ROW), size=0)
        assert [(await one)[0].tolist() for one in (waiting, late)] == [[[-0.75]]] * 2
        batcher = before.batcher
        del before
        # The end of what nobody knows is a turn of the loop away.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(DrainingError):
            awaited.submit(batcher, ROW, 1, "", size=0)

    changing(tmp_path, scene)


def test_all_versions_come_and_go(tmp_path: Path) -> None:
    """Each by itself, where all are served; the latest is always the last of those that answer."""
    publish(tmp_path, "line", 2)

    async def scene(catalog: Catalog) -> None:
        for version in (1, 10):
            publish(tmp_path, "line", version)
        await catalog.rescan()
        assert catalog.versions("line") == ["1", "2", "10"]
        assert catalog.find("line").manifest.version == 10
        shutil.rmtree(tmp_path / "line" / "10")
        await catalog.rescan()
        assert catalog.versions("line") == ["1", "2"]
        assert catalog.find("line").manifest.version == 2
        damage(publish(tmp_path, "line", 11))
        await catalog.rescan()
        assert catalog.find("line").manifest.version == 2
        assert [entry.state for entry in catalog.index()] == ["READY", "READY", "UNAVAILABLE"]

    changing(tmp_path, scene, versions="all")


def test_what_lies_there_unchanged_is_not_loaded_again(tmp_path: Path) -> None:
    """Nor is what could not be served, until anything of it is another."""
    publish(tmp_path, "line")
    damage(publish(tmp_path, "vote"))
    metrics = Metrics()
    catalog = Catalog(Settings(models=tmp_path), metrics)
    catalog.load(LOOP)

    async def scene() -> None:
        model = catalog.find("line")
        await catalog.rescan()
        await catalog.rescan()
        assert catalog.find("line") is model
        assert metrics.loads.by_labels == {("line", "1", "ok"): 1, ("vote", "1", "failed"): 1}
        assert dict(metrics.selected()) == {("line", "1"): "regression", ("vote", "1"): None}
        ready = [catalog.ready]
        (tmp_path / "vote" / "1" / "model.onnx").write_bytes(graph_of(SAMPLES["vote"]))
        await catalog.rescan()
        assert metrics.loads.by_labels == {("line", "1", "ok"): 1, ("vote", "1", "failed"): 1, ("vote", "1", "ok"): 1}
        assert [*ready, catalog.ready] == [False, True]
        await catalog.close()

    LOOP.run_until_complete(scene())


def test_a_version_that_is_exchanged_is_served_anew(tmp_path: Path) -> None:
    """Its manifest says that it is another one; where that cannot be served, the one before goes on and says so."""
    publish(tmp_path / "models", "line")
    rows = dataclasses.replace(SAMPLES["line"], rows={"point": [[1.0, 2.0]]})
    golden = golden_of("line")
    other = Golden(inputs=dict(rows.rows), outputs={"value": golden.outputs["value"][:1]})
    files = {"model.onnx": graph_of(rows), "golden.json": other.render()}

    async def scene(catalog: Catalog) -> None:
        before = catalog.find("line")
        shutil.rmtree(tmp_path / "models" / "line" / "1")
        damage(write_version(tmp_path / "models", manifest_of("line", rows), files))
        await catalog.rescan()
        assert catalog.find("line") is before
        (entry,) = catalog.index()
        assert entry.state == "READY"
        assert entry.reason.startswith("it is served as it was, for what lies there now cannot be: ")
        shutil.rmtree(tmp_path / "models" / "line" / "1")
        write_version(tmp_path / "models", manifest_of("line", rows), files)
        await catalog.rescan()
        assert catalog.find("line") is not before
        assert catalog.find("line").stats is before.stats
        assert catalog.index() == [("line", "1", "READY", "")]
        del before

    changing(tmp_path / "models", scene)


def test_a_model_goes_with_its_folder_and_all_stay_where_all_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is empty, or not there, is more likely a disk that failed; it is said once."""
    publish(tmp_path / "models", "line")
    publish(tmp_path / "models", "vote")

    async def scene(catalog: Catalog) -> None:
        shutil.rmtree(tmp_path / "models" / "vote")
        await catalog.rescan()
        assert catalog.names == ["line"]
        with pytest.raises(UnknownModelError):
            catalog.find("vote")
        shutil.rmtree(tmp_path / "models" / "line")
        await catalog.rescan()
        await catalog.rescan()
        shutil.rmtree(tmp_path / "models")
        await catalog.rescan()
        assert catalog.find("line").manifest.version == 1
        assert catalog.ready
        publish(tmp_path / "models", "line", 2)
        await catalog.rescan()
        assert catalog.find("line").manifest.version == 2

    changing(tmp_path / "models", scene)
    assert len([message for message in caplog.messages if "goes on as it is" in message]) == 2


def test_the_latest_is_awaited_until_one_answers(tmp_path: Path) -> None:
    """A server that was not ready becomes so by whatever version answers first."""
    damage(publish(tmp_path, "line"))

    async def scene(catalog: Catalog) -> None:
        damage(publish(tmp_path, "line", 2))
        await catalog.rescan()
        ready = [catalog.ready]
        with pytest.raises(NotReadyError, match="line version 2 is not served"):
            catalog.find("line")
        publish(tmp_path, "line", 3)
        await catalog.rescan()
        ready.append(catalog.ready)
        damage(publish(tmp_path, "line", 4))
        await catalog.rescan()
        assert [*ready, catalog.ready] == [False, True, True]
        assert catalog.find("line").manifest.version == 3

    changing(tmp_path, scene)


def test_a_model_is_unloaded_and_loaded_when_asked(tmp_path: Path) -> None:
    """As it lies there then; what was refused is tried again; what is there not is unknown."""
    publish(tmp_path, "line")
    damage(publish(tmp_path, "vote"))

    async def scene(catalog: Catalog) -> None:
        publish(tmp_path, "line", 2)
        await catalog.unload_model("line")
        await catalog.unload_model("vote")
        assert catalog.ready
        with pytest.raises(NotReadyError, match="line version 1 is not served: it was unloaded"):
            catalog.find("line")
        assert [(entry.version, entry.state) for entry in catalog.entries("line")] == [("1", "UNAVAILABLE")]
        await catalog.load_model("line")
        assert catalog.find("line").manifest.version == 2
        with pytest.raises(NotReadyError, match=r"vote version 1 is not loaded: .*model.onnx: it has"):
            await catalog.load_model("vote")
        for change in (catalog.load_model, catalog.unload_model):
            with pytest.raises(UnknownModelError):
                await change("lime")
        shutil.rmtree(tmp_path)
        with pytest.raises(NotReadyError, match=r"line is not loaded: .*there is no such file or folder"):
            await catalog.load_model("line")
        assert catalog.find("line").manifest.version == 2

    changing(tmp_path, scene, model_control="explicit")


def test_only_what_is_selected_is_loaded_when_asked(tmp_path: Path) -> None:
    """Where nothing of it is left, what is served goes on as it is."""
    publish(tmp_path, "line")

    async def scene(catalog: Catalog) -> None:
        before = catalog.find("line")
        publish(tmp_path, "line", 2)
        shutil.rmtree(tmp_path / "line" / "1")
        with pytest.raises(UnknownModelError, match="line lies where the models are, but in no version that is sel"):
            await catalog.load_model("line")
        assert catalog.find("line") is before

    changing(tmp_path, scene, model_control="explicit", versions="line:1")


def test_what_is_left_out_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is looked; and again where it was away."""
    publish(tmp_path, "line")
    publish(tmp_path, "vote")
    other = save(tmp_path, "line.onnx", "line")

    async def scene(catalog: Catalog) -> None:
        await catalog.rescan()
        await catalog.load_model("vote")
        other.rename(tmp_path / "vote.onnx")
        await catalog.rescan()
        (tmp_path / "vote.onnx").rename(other)
        await catalog.rescan()

    changing(tmp_path, scene)
    line, vote = (f"{tmp_path / name}.onnx is not served: " for name in ("line", "vote"))
    assert caplog.messages == [
        f"{line}{tmp_path}/line/1 is a model called line already",
        f"{vote}{tmp_path}/vote/1 is a model called vote already",
        f"{line}{tmp_path}/line/1 is a model called line already",
    ]


def test_what_is_left_out_is_told_also_where_nothing_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else nobody would know why there is nothing."""
    # Followed, it is an error for everybody, as a closed folder is for most.
    (tmp_path / "line").symlink_to("x" * 300)
    with pytest.raises(SettingsError, match="expected an ONNX file, or a folder"):
        loaded(tmp_path)
    assert caplog.messages == [f"{tmp_path}/line is not served: it cannot be looked into: File name too long"]


def test_a_server_about_to_stop_is_not_ready(tmp_path: Path) -> None:
    """Though its models answer."""
    publish(tmp_path, "line")
    catalog = loaded(tmp_path)
    ready = [catalog.ready]
    catalog.draining = True
    assert [*ready, catalog.ready] == [True, False]
    assert catalog.find("line")
