"""Behaviour of training.tasks.next_word_lstm; what both word networks do is told in test_language."""

from torch import nn

from training.language import NextWord
from training.tasks.next_word_lstm import VERSION_1
from training.word_rows import VOCABULARY


def test_the_layer_is_the_announced_one() -> None:
    """One layer of it, the vocabulary before and after."""
    network = VERSION_1.network(VERSION_1.data())
    assert isinstance(network, NextWord)
    assert type(network.recurrent) is nn.LSTM
    assert network.recurrent.num_layers == 1
    assert network.embedding.num_embeddings == len(VOCABULARY) == 2000


def test_words_go_in_and_their_probabilities_come_out() -> None:
    """The manifest has the vocabulary by which a context becomes ids, and an answer a probability for each word."""
    assert VERSION_1.kind == "next_word"
    assert VERSION_1.input.vocabulary == VOCABULARY
    assert VERSION_1.output.row_shape == (len(VOCABULARY),)
