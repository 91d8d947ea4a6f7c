"""A network that predicts the next word of a text: a long short-term memory (LSTM)."""

from functools import partial

from torch import nn

from training.language import NextWord, fit
from training.loss import CrossEntropy
from training.task import Data, Recipe, Task
from training.word_gate import CONDITION, gate
from training.word_plots import word_plots
from training.word_rows import CONTEXT, PROBABILITY, VOCABULARY, examples, python_rows
from training.words import DATASET


def _network(_: Data) -> nn.Module:
    """(rows, length) → (rows, 2000): embedding, LSTM layer, a probability for each word of the vocabulary."""
    return NextWord(nn.LSTM, len(VOCABULARY))


VERSION_1 = Task(
    name="next_word_lstm",
    version=1,
    kind="next_word",
    description="Which word comes next in a text about Python, read by a long short-term memory.",
    source="Introductory PyTorch tutorial: a long short-term memory that predicts the next word of a sentence; "
    "with the state carried along the text, dropout, gradients clipped, one weight for embedding and output",
    dataset=DATASET,
    data=python_rows,
    network=_network,
    loss=CrossEntropy(),
    recipe=Recipe(
        optimiser="Adam",
        learning_rate=0.008,
        epochs=20,
        batch_size=16,
        weight_decay=1e-5,
        annealed=True,
        patience=5,
    ),
    # The first one tried: nothing was chosen by it.
    seed=0,
    input=CONTEXT,
    output=PROBABILITY,
    condition=CONDITION,
    gate=gate,
    plots=partial(word_plots, vocabulary=VOCABULARY),
    fit=fit,
    examples=examples,
)
