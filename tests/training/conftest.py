"""Finished trainings that several tests look at."""

import pytest

from training.pipeline import Produced, produce
from training.tasks import TASKS


@pytest.fixture(scope="session")
def sum_of_three() -> Produced:
    """Train the first version of sum_of_three."""
    return produce(TASKS["sum_of_three"][0])


@pytest.fixture(scope="session")
def binary_classifier() -> Produced:
    """Train the first version of binary_classifier."""
    return produce(TASKS["binary_classifier"][0])
