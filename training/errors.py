"""What can keep a trained network from being published, in the order of the stream."""


class TrainingError(Exception):
    """The root of the tree; its text is one sentence that a person can act on."""


class DataError(TrainingError):
    """The files to learn from are missing, damaged or something else."""


class GateError(TrainingError):
    """The trained network is not good enough."""


class ParityError(TrainingError):
    """An exported model does not compute what the network computes."""


class PublishError(TrainingError):
    """The version cannot be written into the models folder, or must not be overwritten there."""


class DifferenceError(TrainingError):
    """A training gives something else than is published."""
