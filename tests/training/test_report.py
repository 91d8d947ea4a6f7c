"""Behaviour of training.report."""

from pathlib import Path

from service.manifest import ModelManifest, TensorSpec
from training.pipeline import Produced
from training.publish import publish
from training.report import report
from training.task import ALLOWED


def test_every_version_has_a_line(tmp_path: Path, binary_classifier: Produced) -> None:
    """Name, version with its card, figure beside baseline, parity and size; versions in the order of their numbers."""
    for version in (10, 9, 1):
        manifest = binary_classifier.manifest.model_copy(update={"version": version})
        publish(tmp_path, manifest, binary_classifier.files)
    header, rule, *lines = report(tmp_path).splitlines()
    assert header.count("|") == rule.count("|")
    assert [line.split("|")[2].strip() for line in lines] == [
        f"[{version}]({tmp_path.as_posix()}/binary_classifier/{version}/README.md)" for version in (1, 9, 10)
    ]
    for cell in ("`binary_classifier`", "test_accuracy 0.66", "majority_class 0.535", "1,585 B"):
        assert f"| {cell} |" in lines[0]


def test_a_model_from_elsewhere_leaves_cells_empty(tmp_path: Path) -> None:
    """Without card, figures and parity there is still a line, with the first sentence of what it does."""
    tensor = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
    output = tensor.model_copy(update={"name": "y"})
    manifest = ModelManifest(
        schema=1,
        name="mine",
        version=2,
        kind="tensors",
        description="a|b. But not c.",
        inputs=(tensor,),
        outputs=(output,),
    )
    publish(tmp_path, manifest, {"model.onnx": b"graph"})
    assert report(tmp_path).splitlines()[2:] == [r"| `mine` | 2 | a\|b. |  |  |  | 5 B |"]


def test_a_threshold_is_no_rival(tmp_path: Path, binary_classifier: Produced) -> None:
    """What is only allowed is told as such, and not as a figure that was beaten."""
    training = binary_classifier.manifest.training
    assert training is not None
    bounded = training.model_copy(update={"baseline": {ALLOWED: 0.005, "another": 1.0}})
    publish(tmp_path, binary_classifier.manifest.model_copy(update={"training": bounded}), binary_classifier.files)
    assert "| ≤ 0.005 allowed |" in report(tmp_path)


def test_an_empty_folder_has_an_empty_table(tmp_path: Path) -> None:
    """The header stands alone."""
    assert len(report(tmp_path).splitlines()) == 2
