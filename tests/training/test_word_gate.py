"""Behaviour of training.word_gate."""

import math

import pytest
import torch
from torch import Tensor, nn

from training.bigram import KneserNey
from training.errors import GateError
from training.language import Elman, NextWord, State
from training.task import Data, History, Split, Trained
from training.word_gate import bigram_losses, gate, perplexity
from training.word_rows import data_of, text_of
from training.words import Text, python_text


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


class Knowing(NextWord):
    """Knows, as no text can tell, that after each word the one of the next number comes; it errs by a thousandth."""

    def follow(self, context: Tensor, _state: State | None = None) -> tuple[Tensor, State]:
        """Answer so at every position."""
        words = self.embedding.num_embeddings
        right = torch.nn.functional.one_hot((context + 1) % words, words).float()
        return 0.999 * right + 0.001 / words, torch.zeros(1)

    def forward(self, context: Tensor) -> Tensor:
        """Answer so at the last one."""
        return self.follow(context)[0][:, -1]


def test_a_network_that_knows_the_test_text_is_refused() -> None:
    """A perplexity of 1.001 is no miracle of learning, but a leak."""
    words = 50
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(words, (2000,), generator=generator).tolist()
    counted = [word % words for word in range(400)]
    text = Text(tuple(map(str, range(words))), {"one": drawn}, {"two": drawn}, {"three": counted})
    knowing = Knowing(Elman, words).eval()
    with pytest.raises(GateError, match=r"the bigram's perplexity divided by the network's is .* already too good"):
        gate(Trained(knowing, data_of(text), History((0.1,)), 0))
