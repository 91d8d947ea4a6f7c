"""Behaviour of training.pipeline."""

import dataclasses

import pytest
import torch

from service.manifest import GOLDEN_FILE, ONNX_FILE, TORCHSCRIPT_FILE, Golden
from training.card import CARD_FILE
from training.errors import GateError
from training.pipeline import Produced, produce
from training.tasks import TASKS


def test_the_same_task_gives_the_same_bytes(binary_classifier: Produced) -> None:
    """Trained, exported and described twice in one process, every file and the manifest agree."""
    again = produce(TASKS["binary_classifier"][0])
    assert again.files == binary_classifier.files
    assert again.manifest.render() == binary_classifier.manifest.render()


def test_a_version_has_both_models_with_known_answers(sum_of_three: Produced) -> None:
    """ONNX, TorchScript, card and golden rows are there, the golden rows with what the network answers."""
    assert {ONNX_FILE, TORCHSCRIPT_FILE, GOLDEN_FILE, CARD_FILE, "losses.png"} <= set(sum_of_three.files)
    golden = Golden.parse(sum_of_three.files[GOLDEN_FILE], GOLDEN_FILE)
    with torch.no_grad():
        answers = sum_of_three.trained.network(torch.tensor(golden.inputs["addends"]))
    assert torch.allclose(torch.tensor(golden.outputs["sum"]), answers)


def test_golden_rows_are_held_out(binary_classifier: Produced) -> None:
    """Where a task holds rows out, the golden ones are among them."""
    golden = Golden.parse(binary_classifier.files[GOLDEN_FILE], GOLDEN_FILE)
    test = binary_classifier.trained.data.test
    assert test is not None
    assert golden.inputs["features"] == test.inputs[:6].tolist()


def test_a_failed_gate_stops_the_stream() -> None:
    """A network that has learned too little gets no files."""
    task = TASKS["sum_of_three"][0]
    lazy = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, epochs=1))
    with pytest.raises(GateError):
        produce(lazy)


def test_a_task_can_bring_its_own_training(binary_classifier: Produced) -> None:
    """What its own function answers is gated and exported as what the loop trains."""
    ready = binary_classifier.trained
    task = dataclasses.replace(TASKS["binary_classifier"][0], fit=lambda _task, _on_epoch: ready)
    assert produce(task).files == binary_classifier.files
