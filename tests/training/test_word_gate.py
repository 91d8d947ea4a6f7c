"""Behaviour of training.word_gate."""

import math

import pytest
import torch
from torch import nn

from training.bigram import KneserNey
from training.errors import GateError
from training.language import Elman, NextWord
from training.task import Data, History, Split, Trained
from training.word_gate import bigram_losses, gate, perplexity
from training.word_rows import data_of, text_of
from training.words import python_text


@pytest.fixture(scope="module")
def data() -> Data:
    """Take the first hundred of the held-out rows, and all to learn from."""
    whole = data_of(python_text())
    return Data(train=whole.train, test=Split(whole.held_out.inputs[:100], whole.held_out.targets[:100]))


def test_an_untrained_network_is_refused(data: Data) -> None:
    """It guesses among all words alike, the bigram does not: both figures are told."""
    torch.manual_seed(0)
    network = NextWord(Elman, 2000).eval()
    with pytest.raises(GateError, match=r"test topics is (\d{4})\.\d; a Kneser-Ney bigram reaches (\d{3})\.\d"):
        gate(Trained(network, data, History((7.6,)), 0))


def test_a_network_of_no_numbers_is_refused(data: Data) -> None:
    """A perplexity that is none is not below anything."""
    network = NextWord(Elman, 2000).eval()
    nn.init.constant_(network.projection.bias, math.nan)
    with pytest.raises(GateError, match="is nan"):
        gate(Trained(network, data, History((7.6,)), 0))


def test_the_bigram_learns_from_the_training_rows_alone(data: Data) -> None:
    """It predicts as many words as the network: all but the first."""
    text = text_of(data.held_out)
    measured = bigram_losses(data, text, 2000)
    assert len(measured) == len(text) - 1
    assert measured.tolist() == KneserNey(text_of(data.train).tolist(), 2000).losses(text.tolist())


def test_perplexity_counts_equally_likely_words() -> None:
    """Eight words alike: a perplexity of eight."""
    assert perplexity(torch.full((5,), math.log(8))) == pytest.approx(8)
