"""Behaviour of training.word_rows."""

import torch

from training.word_rows import LENGTHS, PIECE, data_of, examples, python_rows, text_of
from training.word_rows import VOCABULARY as PYTHON_VOCABULARY
from training.words import Text

VOCABULARY = tuple("abcdefgh")
TEXT = Text(
    VOCABULARY,
    train={"one": [i % 8 for i in range(50)], "two": [7 - i % 8 for i in range(50)]},
    validation={"three": [1] * (PIECE + 1)},
    test={"four": [2, 3] * PIECE},
)


def test_a_row_is_followed_by_its_target() -> None:
    """Rows are pieces of the text in its order; the target is the first word of the next."""
    rows = data_of(TEXT).train
    assert rows.inputs.shape == (3, PIECE)
    assert rows.targets.shape == (3,)
    assert rows.inputs[1:, 0].tolist() == rows.targets[:-1].tolist()


def test_rows_give_back_the_text() -> None:
    """Nothing but what the last row leaves over is lost."""
    data = data_of(TEXT)
    whole = TEXT.train["one"] + TEXT.train["two"]
    assert text_of(data.train).tolist() == whole[: 3 * PIECE + 1]
    assert data.validation is not None
    assert text_of(data.validation).tolist() == [1] * (PIECE + 1)
    assert text_of(data.held_out).tolist() == ([2, 3] * PIECE)[: PIECE + 1]


def test_examples_are_of_several_lengths() -> None:
    """Each has as many rows as asked for, and only ids that there are."""
    drawn = list(examples(data_of(TEXT), 5, torch.Generator().manual_seed(0)))
    assert [tuple(rows.shape) for rows in drawn] == [(5, length) for length in LENGTHS]
    assert all(rows.dtype == torch.int64 and 0 <= rows.min() <= rows.max() < 8 for rows in drawn)


def test_pythons_text_is_mostly_there_to_learn_from() -> None:
    """Every id in its three parts is a word's."""
    data = python_rows()
    assert data.validation is not None
    assert data.test is not None
    for split in (data.train, data.validation, data.test):
        assert split.inputs.dtype == split.targets.dtype == torch.int64
        assert 0 <= split.inputs.min() <= split.inputs.max() < len(PYTHON_VOCABULARY)
    assert len(data.train.inputs) > 1000 > len(data.validation.inputs) + len(data.test.inputs)
