"""Behaviour of service.model.loading."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from service.errors import ChecksumError, GoldenError, GraphError, ModelError, SettingsError
from service.manifest import Golden
from service.model.loading import load
from tests.service.conftest import (
    SAMPLES,
    damage,
    golden_of,
    graph_of,
    manifest_of,
    publish,
    save,
    tabled,
    write_version,
)
from tests.service.model.conftest import copies_held, copies_held_before


def test_a_published_version_comes_with_its_golden_rows(tmp_path: Path) -> None:
    """They are proven, and there is nothing more to say of it."""
    loaded = load(publish(tmp_path, "line", 7), "line")
    assert (loaded.manifest.name, loaded.manifest.version, loaded.notes) == ("line", 7, ())
    assert loaded.golden == golden_of("line")
    assert loaded.rows is not None
    assert loaded.runtime.run((np.array([[1, 2]], np.float32),))[0].tolist() == [[-2.0]]


def test_a_version_that_is_loaded_needs_no_file(tmp_path: Path) -> None:
    """No copy of it is held, and what becomes of its folder does not change an answer."""
    before = copies_held_before()
    folder = publish(tmp_path, "line")
    loaded = load(folder, "line")
    assert copies_held() == before
    shutil.rmtree(folder)
    assert loaded.runtime.run((np.array([[1, 2]], np.float32),))[0].tolist() == [[-2.0]]


def test_a_version_brings_in_no_weights_from_its_folder(tmp_path: Path) -> None:
    """Its manifest vouches for the graph, not for what else lies there."""
    files = {"model.onnx": tabled(tmp_path, 1.0).read_bytes(), "golden.json": golden_of("line").render()}
    folder = write_version(tmp_path, manifest_of("line", SAMPLES["line"]), files)
    (tmp_path / "table.bin").rename(folder / "table.bin")
    with pytest.raises(GraphError, match=r"model\.onnx: onnxruntime cannot load the graph: .*table\.bin"):
        load(folder, "line")


def test_an_onnx_file_comes_with_what_it_says_of_itself(tmp_path: Path) -> None:
    """Under the name that it is given, with what is to be known of it."""
    loaded = load(save(tmp_path, "any name.onnx", "fixed"), "other")
    assert (loaded.manifest.name, loaded.manifest.version, loaded.manifest.max_batch) == ("other", 1, 1)
    assert (loaded.golden, loaded.rows) == (None, None)
    assert "one row at a time" in loaded.notes[0]


def test_what_is_wrong_is_told_as_it_is(tmp_path: Path) -> None:
    """Files that are not those of the manifest, answers that are not those recorded, a graph that is none."""
    folder = publish(tmp_path, "line")
    damage(folder)
    with pytest.raises(ChecksumError):
        load(folder, "line")
    wrong = Golden(inputs={"score": [[0.0]]}, outputs={"probability": [[0.75]]})
    files = {"model.onnx": graph_of(SAMPLES["vote"]), "golden.json": wrong.render()}
    with pytest.raises(GoldenError, match=r"model\.onnx: output 'probability' of golden row 0 is 0\.5"):
        load(write_version(tmp_path, manifest_of("vote", SAMPLES["vote"]), files), "vote")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(GraphError, match=r"garbage\.onnx: onnxruntime cannot load the graph"):
        load(tmp_path / "garbage.onnx", "garbage")
    with pytest.raises(ModelError, match="gone"):
        load(tmp_path / "gone", "gone")


def test_a_file_that_does_not_tell_its_shapes_is_refused(tmp_path: Path) -> None:
    """What onnxruntime announces as a scalar may be anything; a scalar that is told is one."""
    for shape, name in ((None, "unknown"), ([], "scalar")):
        values = [helper.make_tensor_value_info(one, TensorProto.FLOAT, shape) for one in ("x", "y")]
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", values[:1], values[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        (tmp_path / f"{name}.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(GraphError) as caught:
        load(tmp_path / "unknown.onnx", "unknown")
    said = "it does not say how many dimensions 'x', 'y' has: export it with its shapes"
    assert caught.value.message == f"{tmp_path / 'unknown.onnx'}: {said}"
    assert load(tmp_path / "scalar.onnx", "scalar").manifest.inputs[0].shape == ()


def test_a_file_s_name_must_be_text(tmp_path: Path) -> None:
    """Linux takes any bytes for one, onnxruntime does not; the sentence can be printed."""
    path = save(tmp_path, os.fsdecode(b"caf\xe9.onnx"), "line")
    with pytest.raises(GraphError) as caught:
        load(path, "caf")
    said = "its name is not UTF-8, and onnxruntime opens no such file: give it another name"
    assert caught.value.message == f"{tmp_path}/caf\\xe9.onnx: {said}"
    assert load(save(tmp_path, "café.onnx", "line"), "cafe").manifest.name == "cafe"


def test_a_missing_provider_is_a_settings_error(tmp_path: Path) -> None:
    """It is no model's fault."""
    with pytest.raises(SettingsError, match="CUDAExecutionProvider"):
        load(publish(tmp_path, "line"), "line", provider="cuda")
