"""Behaviour of training.word_plots."""

import torch
from torch import nn

from training.language import NextWord
from training.plots import png
from training.task import History, Trained
from training.word_plots import CONTINUED_BY, continuation, word_plots
from training.word_rows import data_of
from training.words import Text

VOCABULARY = ("<unknown>", "the", "value", ".")


def network() -> NextWord:
    """Build a network that expects the unknown word above all."""
    torch.manual_seed(0)
    built = NextWord(nn.LSTM, len(VOCABULARY)).eval()
    with torch.no_grad():
        built.vocabulary.bias[0] = 5
    return built


def test_a_continuation_has_only_words() -> None:
    """The word for all others is never drawn, however likely; the same draw gives the same words."""
    drawn = [continuation(network(), VOCABULARY, ["new", "value"], torch.Generator().manual_seed(3)) for _ in range(2)]
    assert len(drawn[0]) == CONTINUED_BY
    assert set(drawn[0]) == {"the", "value", "."}
    assert drawn[0] == drawn[1]


def test_the_plots_are_the_same_twice() -> None:
    """Losses as perplexities, the worth of a context, and text: equal bytes for equal networks."""
    part = {"topic": [1, 2, 3, 0] * 30}
    trained = Trained(network(), data_of(Text(VOCABULARY, part, part, part)), History((1.4, 1.2), (1.3, 1.25)), 0)
    one, again = word_plots(trained, VOCABULARY), word_plots(trained, VOCABULARY)
    assert list(one) == ["losses", "perplexity_by_context", "sample_continuations"]
    assert all(png(one[name]) == png(again[name]) for name in one)
    assert one["losses"].axes[0].get_ylabel() == "perplexity"
