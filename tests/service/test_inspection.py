"""Behaviour of service.inspection."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.errors import ModelError
from service.inspection import Finding, inspect
from tests.service.conftest import COMMITTED, SAMPLES, damage, graph_of, publish, save


def only(path: Path) -> Finding:
    """The one finding about a path."""
    (finding,) = inspect(Settings(models=path))
    return finding


@pytest.mark.parametrize("place", [".", "binary_classifier", "binary_classifier/1"])
def test_the_committed_models_are_sound(place: str) -> None:
    """The folder of models, a model's and a version's can be looked at."""
    findings = inspect(Settings(models=COMMITTED / place))
    assert all(finding.sound for finding in findings)
    assert findings[0].text.startswith("binary_classifier version 1\n")


def test_a_version_is_told_at_a_glance() -> None:
    """Tensors, names, origin, figures and parity stand in a few lines."""
    text = only(COMMITTED / "sum_of_three" / "1").text
    for word in (
        "input      addends  FP32 [any, 3]  first_addend, second_addend, third_addend",
        "output     sum  FP32 [any, 1]",
        "seed 11",
        "train_loss 0.0685",
        "held against: tutorial 0.1012",
        "differ by at most",
        "6 files match their checksums, 3 golden rows their answers",
    ):
        assert word in text
    assert len(text.splitlines()) < 12


def test_long_lists_of_names_are_cut() -> None:
    """Twenty features are six and a number."""
    assert "feature_4, feature_5, … 14 more\n" in only(COMMITTED / "binary_classifier" / "1").text


def test_labels_are_shown(tmp_path: Path) -> None:
    """A reader sees which classes there are."""
    assert "setosa, versicolor, virginica" in only(publish(tmp_path, "species")).text


def test_every_version_of_every_model_is_looked_at(tmp_path: Path) -> None:
    """In the order of names and numbers, the unsound ones among them."""
    for name, version in (("vote", 1), ("line", 10), ("line", 9)):
        publish(tmp_path, name, version)
    damage(tmp_path / "line" / "9")
    findings = inspect(Settings(models=tmp_path))
    assert [finding.text.splitlines()[0] for finding in findings] == [
        "line version 9",
        "line version 10",
        "vote version 1",
    ]
    assert [finding.sound for finding in findings] == [False, True, True]


def test_a_models_folder_is_all_its_versions(tmp_path: Path) -> None:
    """A model alone is looked at without its neighbours."""
    for version in (1, 2):
        publish(tmp_path, "line", version)
    publish(tmp_path, "vote")
    assert [finding.text.splitlines()[0] for finding in inspect(Settings(models=tmp_path / "line"))] == [
        "line version 1",
        "line version 2",
    ]


def test_a_version_is_found_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing in a version's folder, `.` is its path."""
    monkeypatch.chdir(publish(tmp_path, "line"))
    assert only(Path()).text.startswith("line version 1\n")


def test_a_damaged_version_is_not_sound(tmp_path: Path) -> None:
    """The finding says what is wrong with which file."""
    folder = publish(tmp_path, "line")
    damage(folder)
    finding = only(folder)
    assert not finding.sound
    assert f"NOT SOUND  {folder / 'model.onnx'}: it has" in finding.text


def test_a_version_with_a_broken_manifest_is_not_sound(tmp_path: Path) -> None:
    """What cannot be read is a finding, not an error."""
    folder = publish(tmp_path, "line")
    (folder / "manifest.json").write_bytes(b"{")
    finding = only(folder)
    assert not finding.sound
    assert "manifest.json: Invalid JSON" in finding.text


def test_a_version_without_a_manifest_is_not_sound(tmp_path: Path) -> None:
    """In a folder of models, a version that lacks its manifest is told."""
    folder = publish(tmp_path, "line")
    (folder / "manifest.json").unlink()
    finding = only(tmp_path)
    assert (finding.sound, "there is no such file" in finding.text) == (False, True)


@pytest.mark.parametrize(
    ("file", "name"),
    [("plain.onnx", "plain"), ("with space & more.onnx", "with_space_more"), ("ünïcode.net", "unicode")],
)
def test_an_onnx_file_is_shown_as_it_would_be_served(file: str, name: str, tmp_path: Path) -> None:
    """A graph needs no manifest, and the model is called as the file is, as far as an address can hold it."""
    path = tmp_path / file
    path.write_bytes(graph_of(SAMPLES["pair"]))
    finding = only(path)
    assert finding.sound
    assert finding.text.startswith(f"{file}, an ONNX file without a manifest, served as {name} version 1\n")
    for word in ("left  FP32 [any, 2]", "right  INT64 [any, 1]", " rows, of any requests", "no golden rows"):
        assert word in finding.text


def test_a_folder_of_onnx_files_is_looked_at(tmp_path: Path) -> None:
    """Beside what is published there, in the order of the names."""
    publish(tmp_path, "line", 3)
    save(tmp_path, "vote.onnx", "vote")
    save(tmp_path, "echo.onnx", "echo")
    assert [finding.text.splitlines()[0] for finding in inspect(Settings(models=tmp_path))] == [
        "echo.onnx, an ONNX file without a manifest, served as echo version 1",
        "line version 3",
        "vote.onnx, an ONNX file without a manifest, served as vote version 1",
    ]


def test_a_fixed_batch_is_told_with_the_way_out(tmp_path: Path) -> None:
    """A graph that takes one row at a time works, and can be exported better."""
    finding = only(save(tmp_path, "fixed.onnx", "fixed"))
    assert finding.sound
    for word in ("row  FP32 [any, 2]", "batches    of one row", "fixed at 1, so it is served", "dynamic_shapes"):
        assert word in finding.text


def test_a_version_with_a_fixed_batch_is_sound(tmp_path: Path) -> None:
    """Its manifest says so itself, so there is nothing to note."""
    finding = only(publish(tmp_path, "fixed"))
    assert finding.sound
    assert "batches    of one row\n  sound" in finding.text


def test_a_graph_without_a_batch_is_told(tmp_path: Path) -> None:
    """With its own shapes, and why each request is a run."""
    finding = only(save(tmp_path, "whole.onnx", "whole"))
    assert finding.sound
    for word in ("FP32 [2, 2]", "batches    none: each request is a run by itself", "'square' is fixed at 2"):
        assert word in finding.text


@pytest.mark.parametrize(
    ("options", "batches", "note"),
    [
        ({}, "of one row", "each row is computed by itself"),
        ({"dependent_rows": "request"}, "all rows of one request", "only rows of one request"),
        ({"dependent_rows": "mixed"}, r"up to [2-8] rows, of any requests", "together all the same"),
    ],
)
def test_rows_that_change_each_other_are_told(options: Any, batches: str, note: str, tmp_path: Path) -> None:  # noqa: ANN401  # settings
    """With what the server does about it, as its settings say."""
    (finding,) = inspect(Settings(models=publish(tmp_path, "quantised"), max_batch=8, **options))
    assert finding.sound
    # How many depends on what this machine has measured.
    assert re.search(rf"  batches    {batches}\n", finding.text)
    assert note in finding.text


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_file_that_is_no_graph_is_not_sound(content: bytes, tmp_path: Path) -> None:
    """Any other file is told as what onnxruntime makes of it."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    finding = only(path)
    assert not finding.sound
    assert f"NOT SOUND  {path}: onnxruntime cannot load the graph" in finding.text


@pytest.mark.parametrize(
    ("place", "said"), [("gone", "there is no such file"), ("empty", "expected an ONNX file, or a folder of them")]
)
def test_where_there_is_nothing_an_error_says_what_is_expected(place: str, said: str, tmp_path: Path) -> None:
    """An empty folder and a missing one are no models."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError) as caught:
        inspect(Settings(models=tmp_path / place))
    assert caught.value.message.startswith(f"{tmp_path / place}: {said}")


def test_a_graph_alone_whose_rows_change_each_other_has_no_batches(tmp_path: Path) -> None:
    """As the server serves it."""
    finding = only(save(tmp_path, "quantised.onnx", "quantised"))
    assert "  batches    none: each request is a run by itself\n" in finding.text
    assert "  note       a row's answer depends on the batch" in finding.text


def test_a_name_that_is_no_text_can_be_printed(tmp_path: Path) -> None:
    """With its bytes written out."""
    finding = only(save(tmp_path, os.fsdecode(b"caf\xe9.onnx"), "line"))
    assert not finding.sound
    assert finding.text.encode().startswith(rb"caf\xe9.onnx, an ONNX file without a manifest, served as caf version 1")
