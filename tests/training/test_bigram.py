"""Behaviour of training.bigram."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.bigram import KneserNey
from training.words import python_text

SIZE = 8


@given(words=st.lists(st.integers(0, SIZE - 1), max_size=60), before=st.integers(0, SIZE - 1))
def test_probabilities_after_any_word_sum_to_one(words: list[int], before: int) -> None:
    """Whatever was learned, and whether the word before was seen or not; none is impossible once pairs were seen."""
    bigram = KneserNey(words, SIZE)
    probabilities = [bigram.probability(word, before) for word in range(SIZE)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    assert all(probability > 0 for probability in probabilities)


def test_the_formula_by_hand() -> None:
    """0 1 0 1 0 2 0 2 1: the pairs 01, 10 and 02 twice, 20 and 21 once, so D = 2 / (2 + 2 · 3) = 0.25.

    0 and 1 follow two words, 2 follows one, so E = 1 / (1 + 2 · 2) = 0.2.
    """
    bigram = KneserNey([0, 1, 0, 1, 0, 2, 0, 2, 1], 4)
    lower = [(2 - 0.2) / 5 + 0.2 * 3 / 5 / 4, (2 - 0.2) / 5 + 0.03, (1 - 0.2) / 5 + 0.03, 0.03]
    seen = [0, 2 - 0.25, 2 - 0.25, 0]
    for word in range(4):
        assert bigram.probability(word, 0) == pytest.approx(seen[word] / 4 + 0.25 * 2 / 4 * lower[word])
        assert bigram.probability(word, 3) == pytest.approx(lower[word])


def test_losses_are_those_of_all_words_but_the_first() -> None:
    """Each is -ln of the word's probability after the one before."""
    bigram = KneserNey([0, 1, 0, 2, 1, 1], 3)
    assert bigram.losses([2, 1, 0]) == [-math.log(bigram.probability(1, 2)), -math.log(bigram.probability(0, 1))]
    assert bigram.losses([2]) == []


def test_it_beats_the_unigram_on_held_out_text() -> None:
    """A baseline worth beating: far better than each word's frequency, with one added to every count."""
    text = python_text()
    train, test = ([index for words in part.values() for index in words] for part in (text.train, text.test))
    counts, size = Counter(train), len(text.vocabulary)
    unigram = [-math.log((counts[word] + 1) / (len(train) + size)) for word in test[1:]]
    bigram = KneserNey(train, size).losses(test)
    assert len(unigram) == len(bigram)
    assert sum(bigram) < 0.9 * sum(unigram)
