"""Behaviour of training.check."""

import dataclasses
from pathlib import Path

import pytest

from training.check import check
from training.errors import DifferenceError
from training.pipeline import Produced
from training.publish import publish


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
    publish(tmp_path, there.manifest, {**there.files, "model.onnx": b"other"})
    answer = check(tmp_path, binary_classifier)
    assert answer.startswith("gate passed again (CPU ")
    assert ", not ABACUS, threads 1, not 9, " in answer
    assert ", not 0.1" in answer
    assert "Python" not in answer


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
