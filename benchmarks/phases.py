"""When requests are due."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Phase(NamedTuple):
    """A stretch of time in which so many requests are due a second."""

    rate: float
    seconds: float


def moments(phases: Sequence[Phase], seed: int) -> npt.NDArray[np.float64]:
    """In seconds, phase after phase: at random moments, as those of many clients who know nothing of each other."""
    drawn = np.random.default_rng(seed)
    found, start = [], 0.0
    for rate, seconds in phases:
        found.append(start + np.sort(drawn.uniform(0, seconds, drawn.poisson(rate * seconds))))
        start += seconds
    return np.concatenate(found)
