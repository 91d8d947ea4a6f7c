"""Whether a network predicts the next word better than the bigram does."""

import math

import torch
from torch import Tensor

from training.bigram import KneserNey
from training.errors import GateError
from training.gate import refuse_too_good
from training.language import losses, next_word
from training.task import Data, Figures, Trained
from training.word_rows import text_of

REACH = 64
"""Words before a predicted one that the network may look at for the figure that counts."""
SHORT_REACH = 30
TOO_GOOD = 4
"""How many times the network's perplexity the bigram's must not be: on the Penn Treebank, research on recurrent
networks that learn from its text alone came from a Kneser-Ney model's 141 to about 55, and no further."""
CONDITION = (
    f"Each word of the test topics predicted from at most {REACH} words before it, from a fresh state as a request "
    "is answered: the perplexity is below that of an interpolated Kneser-Ney bigram learned from the same training "
    f"text, over the same words, and above {100 / TOO_GOOD:g} % of it. Words outside the vocabulary count as one "
    "word, `<unknown>`; the figures of known words leave them out."
)


def gate(trained: Trained) -> Figures:
    """Set the perplexity on the test text beside the bigram's.

    Both predict every word but the first, out of the same vocabulary.
    """
    network, text = next_word(trained.network), text_of(trained.data.held_out)
    by_network = losses(network, text, REACH)
    by_bigram = bigram_losses(trained.data, text, network.embedding.num_embeddings)
    reached, wanted = perplexity(by_network), perplexity(by_bigram)
    # Written so that a perplexity which is no number fails too.
    if not reached < wanted:
        raise GateError(f"the perplexity on the test topics is {reached:.1f}; a Kneser-Ney bigram reaches {wanted:.1f}")
    refuse_too_good("the bigram's perplexity divided by the network's", wanted / reached, TOO_GOOD)
    known = text[1:] != 0
    return Figures(
        metrics={
            "test_perplexity": reached,
            "test_perplexity_known_words": perplexity(by_network[known]),
            f"test_perplexity_{SHORT_REACH}_words": perplexity(losses(network, text, SHORT_REACH)),
            "test_perplexity_carried": perplexity(losses(network, text)),
        },
        baseline={
            "kneser_ney_bigram": wanted,
            "kneser_ney_bigram_known_words": perplexity(by_bigram[known]),
        },
    )


def bigram_losses(data: Data, text: Tensor, words: int) -> Tensor:
    """-ln P of every word of the text but its first, (words - 1,), by a bigram learned from the training rows."""
    bigram = KneserNey(text_of(data.train).tolist(), words)
    return torch.tensor(bigram.losses(text.tolist()), dtype=torch.float64)


def perplexity(losses: Tensor) -> float:
    """The exp of the mean: among how many equally likely words the right one would be as hard to guess."""
    return math.exp(losses.mean().item())
