"""What the gates of several tasks have in common."""

from training.errors import GateError


def refuse_perfect(figure: str, value: float) -> None:
    """Raise `GateError` where a figure of real, held-out data is a perfect 1.

    Real data has noise: who makes no mistake on it has most likely seen it before.
    """
    if value == 1:
        raise GateError(
            f"{figure} is a perfect 1, which held-out data that nobody made up hardly allows: "
            "look for test rows that training saw"
        )
