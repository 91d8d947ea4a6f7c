"""A network that predicts the next word of a text: an Elman network."""

from matplotlib.figure import Figure
from torch import nn

from service.manifest import TensorSpec
from training.language import CrossEntropy, Elman, NextWord, fit
from training.task import Data, Recipe, Task, Trained
from training.word_gate import CONDITION, gate
from training.word_plots import word_plots
from training.word_rows import data_of, examples
from training.words import DATASET, python_text

VOCABULARY = python_text().vocabulary


def _data() -> Data:
    """Rows of 32 word ids, each with the id that follows; no topic is in two parts."""
    return data_of(python_text())


def _network(_: Data) -> nn.Module:
    """(rows, length) → (rows, 2000): embedding, Elman layer, a probability for each word of the vocabulary."""
    return NextWord(Elman, len(VOCABULARY))


def _plots(trained: Trained) -> dict[str, Figure]:
    """What the card of a word model shows."""
    return word_plots(trained, VOCABULARY)


VERSION_1 = Task(
    name="next_word_rnn",
    version=1,
    kind="next_word",
    description="Which word comes next in a text about Python, read by an Elman network.",
    source="Introductory PyTorch tutorial: a recurrent network that predicts the next word of a sentence; "
    "with the state carried along the text, dropout, gradients clipped, one weight for embedding and output",
    dataset=DATASET,
    data=_data,
    network=_network,
    loss=CrossEntropy(),
    recipe=Recipe(
        optimiser="Adam",
        learning_rate=0.005,
        epochs=20,
        batch_size=16,
        weight_decay=1e-5,
        annealed=True,
        patience=5,
    ),
    # The first one tried: nothing was chosen by it.
    seed=0,
    input=TensorSpec(
        name="context",
        datatype="INT64",
        shape=(-1, -1),
        description="The words so far, in lower case, the last one last; a full stop of its own ends a sentence.",
        vocabulary=VOCABULARY,
    ),
    output=TensorSpec(
        name="probability",
        datatype="FP32",
        shape=(-1, len(VOCABULARY)),
        description="How likely each word of the vocabulary is to come next.",
    ),
    condition=CONDITION,
    gate=gate,
    plots=_plots,
    fit=fit,
    examples=examples,
)
