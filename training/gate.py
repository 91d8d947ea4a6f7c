"""What the gates of several tasks have in common."""

from training.errors import GateError


def refuse_too_good(figure: str, value: float, limit: float) -> None:
    """Raise `GateError` where a figure of real, held-out data, of which more is better, is `limit` or more.

    Real data has noise: who gets beyond what it allows has most likely seen the answers before. A value that is no
    number is left to the gate's other conditions.
    """
    if value >= limit:
        raise GateError(
            f"{figure} is {value:.4g}, and {limit:g} is already too good for held-out data that nobody made up: "
            "look for test rows that training saw"
        )
