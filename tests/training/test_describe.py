"""Behaviour of training.describe."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from service.manifest import Feature, ModelManifest, TensorSpec
from training.describe import environment, with_ranges
from training.pipeline import Produced
from training.tasks import TASKS

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(rows=st.lists(st.tuples(FINITE, FINITE), min_size=1))
def test_ranges_are_what_the_rows_span(rows: list[tuple[float, float]]) -> None:
    """Each feature's range holds all its values and ends at two of them; all else stays as it is."""
    features = (Feature(name="a", unit="m"), Feature(name="b"))
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 2), features=features)
    ranged = with_ranges(spec, torch.tensor(rows)).features
    assert ranged is not None
    for feature, plain, column in zip(ranged, features, zip(*rows, strict=True), strict=True):
        assert (feature.minimum, feature.maximum) == (min(column), max(column))
        assert feature.model_copy(update={"minimum": None, "maximum": None}) == plain


def test_an_input_without_features_has_no_ranges() -> None:
    """Columns that have no names get no ranges either."""
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
    assert with_ranges(spec, torch.zeros(1, 2)) == spec


def test_the_environment_names_what_decides_the_bytes() -> None:
    """Every library with its version, the processor's capability, the threads."""
    recorded = environment()
    assert recorded.libraries["torch"].startswith(torch.__version__.split("+")[0])
    assert all(recorded.libraries[name] for name in ("onnx", "onnxscript", "onnxruntime", "scikit-learn", "numpy"))
    assert recorded.cpu_capability == torch.backends.cpu.get_cpu_capability()
    assert recorded.threads == 1


def test_a_manifest_tells_where_the_weights_come_from(binary_classifier: Produced) -> None:
    """Recipe, seed and condition are the task's; figures and parity are the training's."""
    task, manifest = TASKS["binary_classifier"][0], binary_classifier.manifest
    assert manifest.training is not None
    assert manifest.training.recipe == {
        "loss": "BCELoss",
        "optimiser": "Adam",
        "learning_rate": 0.001,
        "epochs": 5,
        "batch_size": 64,
    }
    assert (manifest.training.seed, manifest.training.gate) == (task.seed, task.condition)
    assert manifest.training.metrics == binary_classifier.figures.metrics
    assert manifest.training.baseline == binary_classifier.figures.baseline
    assert manifest.parity == binary_classifier.parity


def test_a_manifest_survives_its_file(sum_of_three: Produced) -> None:
    """What is written is read back as the same value."""
    assert ModelManifest.parse(sum_of_three.manifest.render(), "manifest.json") == sum_of_three.manifest
