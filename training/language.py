"""Networks that predict the next word, and their training along a text."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from training.loop import train
from training.task import OnEpoch, Split, Task, Trained
from training.word_rows import PIECE, text_of

WIDTH, STATE = 128, 192
"""Numbers that stand for a word, numbers that stand for what was read."""
DROPPED_INPUT, DROPPED_STATE, DROPPED_OUTPUT = 0.4, 0.4, 0.5
CLIPPED_AT = 0.5
"""The largest norm of a step's gradient; a longer one is shortened to it."""

EVALUATED_AT_ONCE = 512
"""Rows of a batch where many are evaluated."""

State = Tensor | tuple[Tensor, Tensor]
"""What a recurrent layer has read so far: one tensor, of an LSTM two."""


class Dropout(nn.Module):
    """Drops, while training, the same numbers at all positions of a row.

    Y. Gal, Z. Ghahramani: A theoretically grounded application of dropout in recurrent neural networks (2016).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, rows: Tensor) -> Tensor:
        """(rows, length, width) → the same."""
        if not self.training:
            return rows
        kept = torch.rand(len(rows), 1, rows.shape[2]) >= self.share
        return rows * kept / (1 - self.share)

    def extra_repr(self) -> str:
        """What the layer is told."""
        return f"share={self.share}"


class Elman(nn.RNN):
    """PyTorch's recurrent layer of J. L. Elman: Finding structure in time (1990), which exports with a free length.

    state ← tanh(weights · input + biases + other weights · state). PyTorch's exporter would unroll it to as many
    steps as the example has words, so it is told the one ONNX operator for the whole layer, which computes the same.
    """

    def forward(self, rows: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(rows, length, width) → (rows, length, state), and the last state as (1, rows, state)."""
        if not torch.onnx.is_in_onnx_export():
            read: tuple[Tensor, Tensor] = super().forward(rows, state)
            return read
        of_input, of_state, input_bias, state_bias = self.all_weights[0]
        biases = torch.cat([input_bias, state_bias])[None]
        # ONNX Runtime computes a single row by another routine, to other last bits, so there is always one more.
        more = torch.cat([rows, rows[:1]])
        # Not by len(), which would make plain numbers of what has to stay free.
        count, length, _ = more.shape
        states = torch.onnx.ops.symbolic(
            "RNN",
            (more.transpose(0, 1), of_input[None], of_state[None], biases),
            {"hidden_size": self.hidden_size},
            dtype=rows.dtype,
            shape=(length, 1, count, self.hidden_size),
        )
        return states[:, 0, :-1].transpose(0, 1), states[-1, :, :-1]


class NextWord(nn.Module):
    """Gives each word of a vocabulary its probability to follow a context.

    Embedding → recurrent layer → projection to the embedding's width → the vocabulary. The last layer compares
    with the embeddings themselves: one weight for both (O. Press, L. Wolf: Using the output embedding to improve
    language models, 2017).
    """

    def __init__(self, recurrent: type[Elman | nn.LSTM], words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, WIDTH)
        self.recurrent = recurrent(WIDTH, STATE, batch_first=True)
        self.projection = nn.Linear(STATE, WIDTH)
        self.vocabulary = nn.Linear(WIDTH, words)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.vocabulary.bias)
        self.vocabulary.weight = self.embedding.weight
        self.drop_input, self.drop_state = Dropout(DROPPED_INPUT), Dropout(DROPPED_STATE)
        self.drop_output = Dropout(DROPPED_OUTPUT)

    def forward(self, context: Tensor) -> Tensor:
        """(rows, length) ids, read from a state of zeros → (rows, words): probabilities after the last position."""
        read, _ = self._read(context, None)
        return self._probabilities(read[:, -1:])[:, 0]

    def follow(self, context: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(rows, length) ids → (rows, length, words): probabilities after every position, and the state then."""
        read, state = self._read(context, state)
        return self._probabilities(read), state

    def _read(self, context: Tensor, state: State | None) -> tuple[Tensor, State]:
        read: tuple[Tensor, State] = self.recurrent(self.drop_input(self.embedding(context)), state)
        return read

    def _probabilities(self, read: Tensor) -> Tensor:
        projected = self.drop_output(self.projection(self.drop_state(read)))
        return functional.softmax(self.vocabulary(projected), dim=-1)


def next_word(network: nn.Module) -> NextWord:
    """The network, as what it must be here."""
    if not isinstance(network, NextWord):
        raise TypeError(f"{type(network).__name__} is no {NextWord.__name__}")
    return network


def losses(network: NextWord, text: Tensor, reach: int | None = None) -> Tensor:
    """-ln P of every word of the text but its first, (words - 1,); the network is left in evaluation mode.

    With a `reach`, each word is predicted from at most so many words before it, read from a state of zeros: as a
    request with that context is answered. Without, the state is carried from the first word to the last.
    """
    network.eval()
    whole = len(text) - 1 if reach is None else min(reach, len(text) - 1)
    with torch.no_grad():
        # Up to the reach, both are the same.
        along, _ = network.follow(text[None, :whole])
        chosen = [_of_the_words(along[0], text[1 : whole + 1])]
        contexts = text[1:-1].unfold(0, whole, 1) if len(text) - 2 >= whole else text.new_empty(0, whole)
        for rows, words in zip(
            torch.split(contexts, EVALUATED_AT_ONCE), torch.split(text[whole + 1 :], EVALUATED_AT_ONCE), strict=True
        ):
            chosen.append(_of_the_words(network(rows), words))
    return -torch.cat(chosen).log()


def _of_the_words(probabilities: Tensor, words: Tensor) -> Tensor:
    return probabilities.gather(1, words[:, None])[:, 0].double()


def fit(task: Task, on_epoch: OnEpoch = lambda _epoch, _loss: None) -> Trained:
    """Train the task's network along the text, in the shared loop, its state carried from step to step.

    The text is laid out in as many strands as the batch has rows, from another place each epoch, so that the same
    words do not stand at the edges each time. A step reads `PIECE` words of each strand and propagates the error
    back through these only; the state goes on to the next step without its history (truncated back-propagation
    through time). The validation loss is that of the whole text, its state carried too.
    """
    return train(task, on_epoch, learn=_learn, measure=_mean_loss)


def _mean_loss(network: nn.Module, _loss: nn.Module, rows: Split) -> float:
    """The mean of -ln P over the text that the rows are, as `Measure` says: no other loss is known for it."""
    return losses(next_word(network), text_of(rows)).mean().item()


def _strands(text: Tensor, count: int, order: Generator) -> tuple[Tensor, Tensor]:
    """Lay the text out, from a drawn place on and round: (strands, length) words and the words after them."""
    first = int(torch.randint(len(text), (), generator=order))
    text = text.roll(-first)
    length = (len(text) - 1) // count
    return text[: count * length].view(count, length), text[1 : count * length + 1].view(count, length)


def _learn(task: Task, network: nn.Module, rows: Split, optimiser: torch.optim.Optimizer, order: Generator) -> float:
    """Take one step for each piece of the strands; the answer is the mean loss over all words, before each step."""
    reader = next_word(network).train()
    strands = _strands(text_of(rows), task.recipe.batch_size or len(rows.inputs), order)
    state: State | None = None
    total, count = 0.0, 0
    for context, words in _pieces(strands):
        optimiser.zero_grad()
        probabilities, state = reader.follow(context, state)
        loss: Tensor = task.loss(probabilities.flatten(0, 1), words.flatten())
        loss.backward()  # type: ignore[no-untyped-call] # PyTorch leaves it untyped
        nn.utils.clip_grad_norm_(reader.parameters(), CLIPPED_AT)
        optimiser.step()
        state = state.detach() if isinstance(state, Tensor) else (state[0].detach(), state[1].detach())
        total += loss.item() * words.numel()
        count += words.numel()
    return total / count


def _pieces(strands: tuple[Tensor, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    context, words = strands
    yield from zip(torch.split(context, PIECE, dim=1), torch.split(words, PIECE, dim=1), strict=True)
