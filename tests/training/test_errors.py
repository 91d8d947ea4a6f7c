"""Behaviour of training.errors."""

import pytest

from training.errors import ExportError, GateError, ParityError, PublishError, TrainingError, first_line


@pytest.mark.parametrize("kind", [GateError, ExportError, ParityError, PublishError])
def test_each_refusal_is_a_training_error_that_says_its_message(kind: type[TrainingError]) -> None:
    """Whoever catches the root catches every refusal, and can print it as it is."""
    with pytest.raises(TrainingError, match=r"^too bad$"):
        raise kind("too bad")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  \n one "), "one"),
        (ValueError("a \x1b[96mblue\x1b[0m word"), "a blue word"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_told_in_its_first_line(error: Exception, said: str) -> None:
    """Without pages of advice and a terminal's colours; who says nothing is named."""
    assert first_line(error) == said
