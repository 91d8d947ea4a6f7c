"""A text as the rows of a task, and back.

Row i of the inputs is `PIECE` words, its target the word after them, with which row i + 1 begins: in their order
the rows are the whole text.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Generator, Tensor

from service.manifest import TensorSpec
from training.task import Data, Split
from training.words import Text, python_text

PIECE = 32
LENGTHS = (1, 2, 7, 30)
"""Of the contexts on which exported networks are compared."""

VOCABULARY = python_text().vocabulary
CONTEXT = TensorSpec(
    name="context",
    datatype="INT64",
    shape=(-1, -1),
    description="The words so far, in lower case, the last one last; a full stop of its own ends a sentence.",
    vocabulary=VOCABULARY,
)
PROBABILITY = TensorSpec(
    name="probability",
    datatype="FP32",
    shape=(-1, len(VOCABULARY)),
    description="How likely each word of the vocabulary is to come next.",
)


def python_rows() -> Data:
    """Python's own documentation as rows of 32 word ids, each with the id that follows; no topic is in two parts."""
    return data_of(python_text())


def data_of(text: Text) -> Data:
    """The rows of each part of a text; what its last row leaves over is left out."""
    return Data(train=_rows(text.train), validation=_rows(text.validation), test=_rows(text.test))


def _rows(topics: Mapping[str, Sequence[int]]) -> Split:
    ids = torch.tensor([word for words in topics.values() for word in words])
    count = (len(ids) - 1) // PIECE
    return Split(ids[: count * PIECE].reshape(count, PIECE), ids[PIECE : count * PIECE + 1 : PIECE])


def text_of(split: Split) -> Tensor:
    """The text whose rows these are, (words,)."""
    return torch.cat([split.inputs.flatten(), split.targets[-1:]])


def examples(data: Data, size: int, generator: Generator) -> Iterator[Tensor]:
    """Draw contexts of each of `LENGTHS` from the ids that training saw, `size` rows each."""
    words = int(data.train.inputs.max()) + 1
    for length in LENGTHS:
        yield torch.randint(words, (size, length), generator=generator)
