"""What can keep a trained network from being published, in the order of the stream."""

import re


class TrainingError(Exception):
    """The root of the tree; its text is one sentence that a person can act on."""


class DataError(TrainingError):
    """What to learn from, or the typical rows of a finished network, are missing, damaged or something else."""


class GateError(TrainingError):
    """The trained network is not good enough."""


class ExportError(TrainingError):
    """The network cannot be written as ONNX or TorchScript."""


class ParityError(TrainingError):
    """An exported model does not compute what the network computes, or the network not what its manifest says."""


class PublishError(TrainingError):
    """The version cannot be written into the models folder, or must not be overwritten there."""


class DifferenceError(TrainingError):
    """A training gives something else than is published."""


def first_line(error: BaseException) -> str:
    """What an error says in its first line that is not empty, without a terminal's colours; else what it is."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return next((line.strip() for line in plain.splitlines() if line.strip()), type(error).__name__)
