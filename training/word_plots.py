"""The figures in the cards of networks that predict the next word."""

import math
import textwrap
from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from training import plots
from training.language import NextWord, losses, next_word
from training.task import History, Trained
from training.word_gate import bigram_losses, perplexity
from training.word_rows import text_of
from training.words import SENTENCE_END

REACHES = (1, 2, 4, 8, 16, 32, 64)
PROMPTS = ("the value of", "if the", "a class", "this method is called", "return the")
CONTINUED_BY = 30
"""Words."""
TEMPERATURE = 0.7
"""Below one, likely words are drawn more often than their probability says."""
LINE = 88
"""Letters of a line of the continuations."""


def word_plots(trained: Trained, vocabulary: Sequence[str]) -> dict[str, Figure]:
    """Draw the losses as perplexities, the perplexity by length of context, and how the network goes on."""
    network = next_word(trained.network)
    return {
        "losses": _losses(trained, len(vocabulary)),
        "perplexity_by_context": _by_context(trained, network),
        "sample_continuations": _continuations(network, vocabulary, trained.seed),
    }


def _losses(trained: Trained, words: int) -> Figure:
    history = trained.history
    watched = text_of(trained.data.validation or trained.data.train)
    perplexities = History(tuple(map(math.exp, history.train)), tuple(map(math.exp, history.validation)))
    bigram = perplexity(bigram_losses(trained.data, watched, words))
    return plots.losses(perplexities, loss="perplexity", marks={"Kneser-Ney bigram, validation": bigram})


@plots.styled()
def _by_context(trained: Trained, network: NextWord) -> Figure:
    text = text_of(trained.data.held_out)
    figure = Figure(figsize=plots.WIDE)
    axes = figure.subplots()
    reached = [perplexity(losses(network, text, reach)) for reach in REACHES]
    bigram = perplexity(bigram_losses(trained.data, text, network.embedding.num_embeddings))
    axes.axhline(bigram, color=plots.RED, linestyle="--", linewidth=1.3, label=f"Kneser-Ney bigram: {bigram:.4g}")
    axes.plot(REACHES, reached, marker="o", color=plots.BLUE, label="network")
    for reach, value in zip(REACHES, reached, strict=True):
        axes.annotate(f"{value:.0f}", (reach, value), (5, 5), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks(REACHES, [str(reach) for reach in REACHES])
    axes.margins(y=0.15)
    axes.set(title="What a longer context is worth", xlabel="words of context", ylabel="perplexity on the test topics")
    axes.legend()
    return figure


@plots.styled()
def _continuations(network: NextWord, vocabulary: Sequence[str], seed: int) -> Figure:
    figure = Figure(figsize=(7.4, 5.0))
    axes = figure.subplots()
    axes.set(title="How it goes on", xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    generator = torch.Generator().manual_seed(seed)
    step = 1 / len(PROMPTS)
    for number, prompt in enumerate(PROMPTS):
        words = prompt.split()
        written = " ".join(continuation(network, vocabulary, words, generator)).replace(f" {SENTENCE_END}", ".")
        top = 0.97 - number * step
        axes.text(0, top, f"{prompt} …", va="top", fontweight="bold", color=plots.BLUE)
        lines = "\n".join(textwrap.wrap(written, LINE)).replace("$", r"\$")
        axes.text(0.03, top - 0.28 * step, lines, va="top", linespacing=1.45)
    return figure


def continuation(
    network: NextWord, vocabulary: Sequence[str], prompt: Sequence[str], generator: torch.Generator
) -> list[str]:
    """Draw the words that follow a prompt one by one, each from what the network expects after all before it.

    The probabilities are sharpened by `TEMPERATURE`; the word that stands for all unknown ones is never drawn.
    """
    ids = {word: index for index, word in enumerate(vocabulary)}
    context = [ids.get(word, 0) for word in prompt]
    with torch.no_grad():
        for _ in range(CONTINUED_BY):
            weights = network(torch.tensor([context]))[0] ** (1 / TEMPERATURE)
            weights[0] = 0
            context.append(int(torch.multinomial(weights, 1, generator=generator)))
    return [vocabulary[index] for index in context[len(prompt) :]]
