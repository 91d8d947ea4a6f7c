"""Versions come, go and are exchanged while a real server answers; nobody who asks is turned away."""

import asyncio
import dataclasses
import gzip
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from service.catalog import Catalog
from service.config import Settings
from service.manifest import Golden
from service.metrics import Metrics
from tests.server import running
from tests.service.conftest import SAMPLES, damage, graph_of, manifest_of, publish, reference, tabled, write_version
from training.publish import exchange

PATIENCE = 30
"""Seconds after which a test no longer waits for what has to happen."""

ROW = {"inputs": [{"name": "point", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 0.0]}]}


def scaled(root: Path, version: int, factor: float) -> Path:
    """A version of the model `line` that answers `factor` to the row above."""
    sample = dataclasses.replace(SAMPLES["line"], constants={"weights": np.array([[factor], [0]], np.float32)})
    golden = Golden(
        inputs=dict(sample.rows),
        outputs={name: values.tolist() for name, values in reference(sample, sample.rows).items()},
    )
    files = {"model.onnx": graph_of(sample), "golden.json": golden.render()}
    return write_version(root, manifest_of("line", sample, version), files)


@contextmanager
def asking(*asks: Callable[[], None]) -> Iterator[None]:
    """Meanwhile each of these is called again and again on a thread of its own; an error of one is raised here."""
    over = threading.Event()

    def again(ask: Callable[[], None]) -> int:
        count = 0
        while not over.is_set():
            ask()
            count += 1
        return count

    with ThreadPoolExecutor(len(asks)) as pool:
        running_asks = [pool.submit(again, ask) for ask in asks]
        try:
            yield
        finally:
            over.set()
        assert all(ask.result() > 0 for ask in running_asks)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"


def value(client: httpx.Client, path: str = "/v2/models/line/infer") -> tuple[str, float]:
    """Which version answers, and what."""
    reply = client.post(path, json=ROW)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    return answer["model_version"], answer["outputs"][0]["data"][0]


def entries(client: httpx.Client) -> dict[str, tuple[str, str]]:
    """The index: by `<name>/<version>` the state and the reason."""
    index = client.post("/v2/repository/index").json()
    return {f"{entry['name']}/{entry['version']}": (entry["state"], entry["reason"]) for entry in index}


def test_reloads_fail_no_request(tmp_path: Path) -> None:
    """Twenty new versions and six exchanged ones, while clients ask by both ways: a whole version answers each."""
    models, staging = tmp_path / "models", tmp_path / "staging"
    scaled(models, 1, 1.0)
    with running("--models", str(models)) as server, server.client() as client:
        other, large = server.client(), server.client()
        rows = 30_000
        body = {"inputs": [{**ROW["inputs"][0], "shape": [rows, 2], "data": [1.0, 0.0] * rows}]}
        packed = gzip.compress(json.dumps(body).encode())

        def small() -> None:
            version, answer = value(other)
            # An exchanged version answers a tenth more or not.
            assert answer - int(version) in (0.0, 0.5)

        def through_the_application() -> None:
            reply = large.post("/v2/models/line/infer", content=packed, headers={"Content-Encoding": "gzip"})
            assert reply.status_code == 200, reply.text
            answer = reply.json()
            assert set(answer["outputs"][0]["data"]) < {float(answer["model_version"]), answer_of_exchanged(answer)}

        with other, large, asking(small, through_the_application):
            for version in range(2, 22):
                scaled(staging, version, float(version)).rename(models / "line" / str(version))
                wait_for(lambda version=version: value(client) == (str(version), version), f"version {version}")  # type: ignore[misc]  # a loop's own
            for turn in range(6):
                factor = 21.0 if turn % 2 else 21.5
                exchange(scaled(staging / str(turn), 21, factor), models / "line" / "21")
                wait_for(lambda factor=factor: value(client) == ("21", factor), f"factor {factor}")  # type: ignore[misc]  # a loop's own
        page = client.get("/metrics").text
        assert 'forwardpass_model_loads_total{model="line",outcome="ok",version="21"} 7.0' in page
        assert (
            'outcome="failed",version' not in page.partition("forwardpass_model_loads_total")[2].partition("# HELP")[0]
        )
        assert entries(client) == {"line/21": ("READY", "")}


def answer_of_exchanged(answer: dict[str, str]) -> float:
    """What an exchanged version answers to the row."""
    return float(answer["model_version"]) + 0.5


def truncated(root: Path) -> None:
    """Half a graph, as a copy leaves it that was interrupted."""
    graph = publish(root, "vote", 2) / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:40])


def other_hash(root: Path) -> None:
    """A graph of the right length in which a byte is another one."""
    damage(publish(root, "vote", 2))


def no_graph(root: Path) -> None:
    """Bytes that the manifest vouches for, and that are no graph."""
    manifest, golden = manifest_of("vote", SAMPLES["vote"], 2), (publish(root / "sound", "vote") / "golden.json")
    write_version(root, manifest, {"model.onnx": b"no graph", "golden.json": golden.read_bytes()})


def other_answers(root: Path) -> None:
    """A graph that does not answer its golden rows as they say."""
    rows = SAMPLES["vote"].rows
    golden = Golden(inputs=dict(rows), outputs={"probability": [[0.5]] * len(rows["score"])})
    files = {"model.onnx": graph_of(SAMPLES["vote"]), "golden.json": golden.render()}
    write_version(root, manifest_of("vote", SAMPLES["vote"], 2), files)


def other_shape(root: Path) -> None:
    """A manifest that says of the graph what is not so."""
    folder = publish(root, "vote", 2)
    rewrite(folder, lambda manifest: manifest["inputs"][0].update(shape=[-1, 7]))


def link_out(root: Path) -> None:
    """A graph that is a link to a file somewhere else."""
    graph = publish(root, "vote", 2) / "model.onnx"
    graph.rename(root / "elsewhere.txt")
    graph.symlink_to(Path("..", "..", "..", "elsewhere.txt"))


def name_with_dots(root: Path) -> None:
    """A manifest that names a file above its folder."""

    def climb(manifest: dict[str, Any]) -> None:
        manifest["files"]["../../line/1/model.onnx"] = manifest["files"].pop("model.onnx")

    rewrite(publish(root, "vote", 2), climb)


def no_manifest(root: Path) -> None:
    """A folder that was begun to be copied."""
    (publish(root, "vote", 2) / "manifest.json").unlink()


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a version's manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


def endless_manifest(root: Path) -> None:
    """A pipe in the place of the manifest: whoever reads it waits for ever."""
    manifest = publish(root, "vote", 2) / "manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)


DAMAGES: dict[Callable[[Path], None], str] = {
    truncated: r"vote/2/model.onnx: it has 40 bytes with SHA-256 .*, but the manifest says",
    other_hash: r"vote/2/model.onnx: it has .* with SHA-256 .*, but the manifest says .*: publish the version again",
    no_graph: r"vote/2/model.onnx: onnxruntime cannot load the graph",
    other_answers: r"vote/2/.*golden",
    other_shape: r"vote/2/model.onnx: .*score.*7",
    link_out: r"vote/2/model.onnx: it is a link that leads out of the version's folder",
    name_with_dots: r"vote/2/manifest.json: files/\.\./\.\./line/1/model.onnx.*: String should match pattern",
    no_manifest: r"vote/2/manifest.json: there is no such file",
    endless_manifest: r"vote/2/manifest.json: it is no file",
}


def lay(root: Path, make: Callable[[Path], None]) -> None:
    """Lay a damaged version 2 of `vote` into a folder of models, in one step."""
    staging = root.parent / "staging"
    staging.mkdir()
    make(staging)
    (root / "vote").mkdir(exist_ok=True)
    (staging / "vote" / "2").rename(root / "vote" / "2")
    shutil.rmtree(staging)


@pytest.mark.parametrize(("make", "said"), DAMAGES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_damaged_at_start_stays_out_and_says_why(
    make: Callable[[Path], None], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sentence with file and cause in the index and the log, a count, and the others are served."""
    publish(tmp_path / "models", "line")
    lay(tmp_path / "models", make)
    metrics = Metrics()
    catalog = Catalog(Settings(models=tmp_path / "models"), metrics)
    loop = asyncio.new_event_loop()
    try:
        catalog.load(loop)
    finally:
        loop.close()
    line, vote = catalog.index()
    assert line == ("line", "1", "READY", "")
    assert vote[:3] == ("vote", "2", "UNAVAILABLE")
    assert re.search(said, vote.reason)
    assert caplog.messages == [f"vote version 2 is not served: {vote.reason}"]
    assert metrics.loads.by_labels == {("line", "1", "ok"): 1, ("vote", "2", "failed"): 1}
    assert not catalog.ready


def test_what_is_damaged_when_it_comes_stays_out_and_the_old_one_goes_on(tmp_path: Path) -> None:
    """One damage after the other; each says why, none changes what is answered, and a sound version ends it."""
    models = tmp_path / "models"
    publish(models, "line")
    publish(models, "vote")
    row = {"inputs": [{"name": "score", "datatype": "FP32", "shape": [1, 1], "data": [0]}]}
    with running("--models", str(models)) as server, server.client() as client, server.client() as other:

        def ask() -> None:
            assert other.post("/v2/models/vote/infer", json=row).json()["outputs"][0]["data"] == [0.5]
            assert other.get("/v2/health/ready").status_code == 200
            assert other.get("/v1/models/vote").json()["ready"]

        with asking(ask):
            for make, said in DAMAGES.items():
                lay(models, make)
                wait_for(
                    lambda said=said: bool(re.search(said, entries(client).get("vote/2", ("", ""))[1])),  # type: ignore[misc]  # a loop's own
                    said,
                )
                assert entries(client)["vote/1"] == ("READY", "")
                asked = client.post("/v2/models/vote/versions/2/infer", json=row)
                assert (asked.status_code, asked.json()["code"]) == (503, "model_not_ready")
                assert re.search(said, asked.json()["error"])
                shutil.rmtree(models / "vote" / "2")
                wait_for(lambda: set(entries(client)) == {"line/1", "vote/1"}, "that it has gone")
            publish(tmp_path, "vote", 2).rename(models / "vote" / "2")
            wait_for(lambda: entries(client).get("vote/2") == ("READY", ""), "that a sound one answers")
        page = client.get("/metrics").text
        failed = re.search(r'forwardpass_model_loads_total\{model="vote",outcome="failed",version="2"\} (\S+)', page)
        assert failed
        assert float(failed[1]) >= len(DAMAGES)
    for said in DAMAGES.values():
        assert re.search(rf"vote version 2 is not served: .*{said}", "".join(server.log))


def test_models_come_and_go_with_their_folders(tmp_path: Path) -> None:
    """A new model is served, one without its folder is not; where all is gone, all goes on."""
    models = tmp_path / "models"
    publish(models, "line")
    with running("--models", str(models)) as server, server.client() as client:
        publish(tmp_path / "staging", "vote")
        (tmp_path / "staging" / "vote").rename(models / "vote")
        wait_for(lambda: "vote/1" in entries(client) and entries(client)["vote/1"][0] == "READY", "a new model")
        # In pieces, as a copy comes: what is not whole is not served, whatever of it is there.
        whole = publish(tmp_path / "staging", "species")
        (models / "species" / "1").mkdir(parents=True)
        for name in ("manifest.json", "golden.json", "model.onnx"):
            assert entries(client).get("species/1", ("UNAVAILABLE", ""))[0] == "UNAVAILABLE"
            shutil.copy(whole / name, models / "species" / "1" / name)
        wait_for(lambda: entries(client).get("species/1") == ("READY", ""), "a model that was copied")
        shutil.rmtree(models / "vote")
        wait_for(lambda: "vote/1" not in entries(client), "that it has gone")
        assert client.get("/v2/models/vote").json()["code"] == "unknown_model"
        models.rename(tmp_path / "elsewhere")
        wait_for(lambda: any("goes on as it is" in line for line in server.log), "that it is noticed")
        assert value(client) == ("1", 0.5)
        shutil.rmtree(tmp_path / "elsewhere" / "line")
        scaled(tmp_path / "elsewhere", 2, 2.0)
        (tmp_path / "elsewhere").rename(models)
        wait_for(lambda: value(client) == ("2", 2.0), "the folder that is there again")
        assert client.get("/v2/health/ready").status_code == 200


def test_weights_of_a_file_alone_are_written_anew(tmp_path: Path) -> None:
    """In their place, as a copy does that first cuts them off: who asks gets all of the old or of the new."""
    tabled(tmp_path, 1.0)
    indices = list(range(0, 4096, 7))
    body = {"inputs": [{"name": "index", "datatype": "INT64", "shape": [len(indices)], "data": indices}]}
    with running("--models", str(tmp_path)) as server, server.client() as client, server.client() as other:

        def answers(asker: httpx.Client) -> set[float]:
            return set(asker.post("/v2/models/table/infer", json=body).json()["outputs"][0]["data"])

        def ask() -> None:
            assert answers(other) in ({1.0}, {2.0})

        with asking(ask), (tmp_path / "table.bin").open("r+b") as file:
            file.truncate(0)
            wait_for(lambda: "it is served as it was" in entries(client)["table/1"][1], "that they are noticed")
            file.write(np.full((4096, 64), 2, np.float32).tobytes())
            file.flush()
            wait_for(lambda: answers(client) == {2.0}, "that they are whole")


def test_requests_load_and_unload_where_the_setting_says(tmp_path: Path) -> None:
    """Nothing changes by itself; the clients of the protocol load what lies there, and unload."""
    models = tmp_path / "models"
    scaled(models, 1, 1.0)
    with running("--models", str(models), "--model-control", "explicit") as server, server.client() as client:
        triton = tritonclient.http.InferenceServerClient(server.address)
        scaled(models, 2, 2.0)
        assert value(client) == ("1", 1.0)
        triton.load_model("line")
        assert value(client) == ("2", 2.0)
        triton.unload_model("line")
        assert not triton.is_model_ready("line")
        assert [(one["version"], one["state"], one["reason"]) for one in triton.get_model_repository_index()] == [
            ("2", "UNAVAILABLE", "it was unloaded")
        ]
        with pytest.raises(InferenceServerException, match="line version 2 is not served: it was unloaded"):
            triton.infer("line", [])
        assert triton.is_server_ready()
        triton.load_model("line")
        assert value(client) == ("2", 2.0)
        damage(scaled(models, 3, 3.0))
        with pytest.raises(InferenceServerException, match=r"line version 3 is not loaded: .*model.onnx: it has"):
            triton.load_model("line")
        assert value(client) == ("2", 2.0)
        with pytest.raises(InferenceServerException, match="no model 'vote' lies where the models are"):
            triton.load_model("vote")
        publish(models, "vote")
        triton.load_model("vote")
        assert triton.is_model_ready("vote")
        with pytest.raises(InferenceServerException, match="no model 'lime' is served"):
            triton.unload_model("lime")
        with pytest.raises(InferenceServerException, match="'config' cannot replace that"):
            triton.load_model("line", config="{}")
        triton.close()
