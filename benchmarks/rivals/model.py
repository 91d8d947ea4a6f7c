"""What every rival runs: the published binary classifier on onnxruntime, with one thread that does not spin."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

PATH = Path(__file__).parents[2] / "models" / "binary_classifier" / "2" / "model.onnx"
LABELS = ("negative", "positive")
EVENS = 0.5

Answer = dict[str, float | str]
"""What is said of one row: its probability to be positive, and its label."""


class Classifier:
    """The loaded model."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(os.fspath(PATH), options)

    def probabilities(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """How likely each row of an array of shape (rows, 20) is to be positive, of shape (rows, 1)."""
        (probabilities,) = self._session.run(None, {"features": rows})
        return probabilities  # type: ignore[no-any-return]  # onnxruntime states no types

    def answers(self, rows: list[list[float]]) -> list[Answer]:
        """The answers to rows of 20 numbers."""
        probabilities = self.probabilities(np.array(rows, np.float32))[:, 0].tolist()
        return [{"probability": value, "label": label(value)} for value in probabilities]


def label(probability: float) -> str:
    """The class that a probability speaks for."""
    return LABELS[probability > EVENS]
