"""Behaviour of training.check."""

import dataclasses
from pathlib import Path

import pytest

from training.check import check
from training.errors import DifferenceError
from training.export import export
from training.pipeline import Produced
from training.publish import publish
from training.tasks import TASKS


def elsewhere(produced: Produced, **changes: object) -> Produced:
    """Say that a training took place in another environment."""
    training = produced.manifest.training
    assert training is not None
    there = training.environment.model_copy(update=changes)
    manifest = produced.manifest.model_copy(update={"training": training.model_copy(update={"environment": there})})
    return dataclasses.replace(produced, manifest=manifest)


def test_the_same_training_is_identical(tmp_path: Path, binary_classifier: Produced) -> None:
    """Where the manifest's environment is this machine's, every byte is compared, and found again."""
    publish(tmp_path, binary_classifier.manifest, binary_classifier.files)
    assert check(tmp_path, binary_classifier) == "identical"


@pytest.mark.parametrize("file", ["model.onnx", "losses.png"])
def test_other_bytes_are_named(tmp_path: Path, binary_classifier: Produced, file: str) -> None:
    """The files that differ are in the message, the manifest with its checksums among them."""
    publish(tmp_path, binary_classifier.manifest, {**binary_classifier.files, file: b"other"})
    with pytest.raises(DifferenceError, match=rf"other bytes than are published: .*{file}") as raised:
        check(tmp_path, binary_classifier)
    assert "manifest.json" in str(raised.value)
    assert "golden.json" not in str(raised.value)


def test_a_file_that_was_tampered_with_is_found(tmp_path: Path, binary_classifier: Produced) -> None:
    """A published file that is no longer what its manifest says differs, here as elsewhere."""
    for produced in (binary_classifier, elsewhere(binary_classifier, cpu_capability="ABACUS")):
        publish(tmp_path, produced.manifest, produced.files, replace=True)
        (tmp_path / "binary_classifier" / "1" / "model.pt").write_bytes(b"other")
        with pytest.raises(DifferenceError, match=r": model\.pt$"):
            check(tmp_path, binary_classifier)


def test_elsewhere_the_gate_is_enough(tmp_path: Path, binary_classifier: Produced) -> None:
    """Other bytes are no fault on another machine, and the answer says what is another."""
    there = elsewhere(binary_classifier, cpu_capability="ABACUS", libraries={"torch": "0.1"}, threads=9)
    publish(tmp_path, there.manifest, {**there.files, "losses.png": b"other"})
    answer = check(tmp_path, binary_classifier)
    assert answer.startswith("gate passed again (CPU ")
    assert ", not ABACUS, threads 1, not 9, " in answer
    assert ", not 0.1" in answer
    assert "Python" not in answer


def test_elsewhere_a_graph_must_give_its_golden_answers(tmp_path: Path, binary_classifier: Produced) -> None:
    """Another graph, whose checksum is the manifest's, is not what was published."""
    there = elsewhere(binary_classifier, cpu_capability="ABACUS")
    for graph, fault in (
        (b"other", "ONNX Runtime cannot load the graph"),
        (swapped(binary_classifier), "ONNX Runtime differs from the recorded answers"),
    ):
        publish(tmp_path, there.manifest, {**there.files, "model.onnx": graph}, replace=True)
        with pytest.raises(DifferenceError, match=fault):
            check(tmp_path, binary_classifier)


def swapped(produced: Produced) -> bytes:
    """Export a network of the same inputs and outputs with other weights."""
    task = TASKS["binary_classifier"][0]
    network = task.network(produced.trained.data).eval()
    return export(network, produced.trained.data.train.inputs, task.input, task.output).onnx


def test_elsewhere_figures_must_be_those_of_the_card(tmp_path: Path, binary_classifier: Produced) -> None:
    """A figure that was changed in the manifest alone is found."""
    there = elsewhere(binary_classifier, cpu_capability="ABACUS")
    training = there.manifest.training
    assert training is not None
    better = training.model_copy(update={"metrics": {**training.metrics, "train_loss": 0.1}})
    publish(tmp_path, there.manifest.model_copy(update={"training": better}), there.files)
    with pytest.raises(DifferenceError, match=r"the figures in manifest\.json are not those in README\.md"):
        check(tmp_path, binary_classifier)


@pytest.mark.parametrize("changes", [{}, {"cpu_capability": "ABACUS"}], ids=["here", "elsewhere"])
def test_a_folder_inside_the_version_is_a_difference(
    tmp_path: Path, binary_classifier: Produced, changes: dict[str, object]
) -> None:
    """It is named, as a file that does not belong there would be."""
    there = elsewhere(binary_classifier, **changes)
    publish(tmp_path, there.manifest, there.files)
    (tmp_path / "binary_classifier" / "1" / "extra").mkdir()
    with pytest.raises(DifferenceError, match=r": extra$"):
        check(tmp_path, binary_classifier)


def test_a_manifest_that_is_a_folder_is_a_difference(tmp_path: Path, binary_classifier: Produced) -> None:
    """What holds no manifest is told as such."""
    (tmp_path / "binary_classifier" / "1" / "manifest.json").mkdir(parents=True)
    with pytest.raises(DifferenceError, match=r"^manifest\.json: "):
        check(tmp_path, binary_classifier)


def test_a_manifest_from_elsewhere_names_no_environment(tmp_path: Path, binary_classifier: Produced) -> None:
    """A version of unknown origin is checked by the gate."""
    publish(tmp_path, binary_classifier.manifest.model_copy(update={"training": None}), binary_classifier.files)
    assert check(tmp_path, binary_classifier) == "gate passed again (the manifest names no environment)"


def test_what_is_not_published_cannot_be_the_same(tmp_path: Path, binary_classifier: Produced) -> None:
    """A version that is missing is a difference, and stays missing."""
    with pytest.raises(DifferenceError, match="it is not published in"):
        check(tmp_path, binary_classifier)
    assert not list(tmp_path.iterdir())


def test_a_damaged_manifest_is_a_difference(tmp_path: Path, binary_classifier: Produced) -> None:
    """What cannot be read is told by its name."""
    publish(tmp_path, binary_classifier.manifest, binary_classifier.files)
    (tmp_path / "binary_classifier" / "1" / "manifest.json").write_bytes(b"{")
    with pytest.raises(DifferenceError, match=r"^manifest\.json: "):
        check(tmp_path, binary_classifier)
