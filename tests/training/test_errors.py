"""Behaviour of training.errors."""

import pytest

from training.errors import GateError, ParityError, PublishError, TrainingError


@pytest.mark.parametrize("kind", [GateError, ParityError, PublishError])
def test_each_refusal_is_a_training_error_that_says_its_message(kind: type[TrainingError]) -> None:
    """Whoever catches the root catches every refusal, and can print it as it is."""
    with pytest.raises(TrainingError, match=r"^too bad$"):
        raise kind("too bad")
