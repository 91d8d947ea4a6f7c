"""Behaviour of training.language."""

import dataclasses
import io
import warnings

import onnxruntime
import pytest
import torch
from torch import nn

from training.export import Exported, export
from training.language import CLIPPED_AT, Dropout, Elman, NextWord, fit, losses, next_word
from training.task import Recipe, Task, Trained
from training.tasks.next_word_lstm import VERSION_1 as LSTM
from training.tasks.next_word_rnn import VERSION_1 as RNN
from training.verify import answer, golden
from training.word_gate import gate
from training.word_rows import CONTEXT, PIECE, PROBABILITY, VOCABULARY, data_of, text_of
from training.words import Text

LAYERS = pytest.mark.parametrize("layer", [Elman, nn.LSTM])
Layer = type[Elman | nn.LSTM]

# After a 0 comes 1 or 2, whichever did not come last: no bigram can know, a network that remembers can.
TURNS = Text(
    vocabulary=("a", "b", "c"),
    train={"one": [0, 1, 0, 2] * 100},
    validation={"two": [0, 1, 0, 2] * 20},
    test={"three": [0, 2, 0, 1] * 20},
)
RECIPE = Recipe(optimiser="Adam", learning_rate=0.01, epochs=3, batch_size=4, annealed=True, patience=2)


def task_of(task: Task, layer: Layer) -> Task:
    """Turn a task into one that learns `TURNS`."""
    return dataclasses.replace(
        task, data=lambda: data_of(TURNS), network=lambda _: NextWord(layer, 3), recipe=RECIPE, seed=1
    )


def build(layer: Layer, words: int = 20) -> NextWord:
    """Build a fresh network."""
    torch.manual_seed(0)
    return NextWord(layer, words).eval()


@LAYERS
@pytest.mark.parametrize("length", [1, 2, 9])
def test_answers_are_probabilities_of_each_word(layer: Layer, length: int) -> None:
    """Of contexts of any length, and the embedding is the output's weight too."""
    network = build(layer)
    answers = network(torch.randint(20, (4, length)))
    assert answers.shape == (4, 20)
    assert torch.allclose(answers.sum(dim=1), torch.ones(4))
    assert (answers > 0).all()
    assert network.vocabulary.weight is network.embedding.weight


@LAYERS
def test_the_state_carries_on(layer: Layer) -> None:
    """A text read in two parts is the text read in one, and its last answer the context's."""
    network, context = build(layer), torch.randint(20, (3, 10))
    whole, _ = network.follow(context)
    first, state = network.follow(context[:, :4])
    second, _ = network.follow(context[:, 4:], state)
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-6)
    assert torch.allclose(network(context), whole[:, -1], atol=1e-6)


def test_dropout_keeps_its_mask_along_a_row() -> None:
    """What is dropped is nought at every position, what is kept is larger; evaluated, nothing is dropped."""
    torch.manual_seed(0)
    dropout, rows = Dropout(0.5), torch.ones(2, 5, 100)
    dropped = dropout(rows)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(rows), rows)
    assert repr(dropout) == "Dropout(share=0.5)"


@LAYERS
def test_losses_are_those_of_the_contexts(layer: Layer) -> None:
    """Each word is predicted from at most `reach` words before, as the network answers that context alone."""
    network, text = build(layer), torch.randint(20, (40,))
    for reach in (1, 5, 39, 64):
        wanted = [-network(text[None, max(0, i - reach) : i])[0, text[i]].log().item() for i in range(1, len(text))]
        assert losses(network, text, reach).tolist() == pytest.approx(wanted, abs=1e-5)
    assert losses(network, text).tolist() == pytest.approx(losses(network, text, 39).tolist(), abs=1e-6)


@pytest.fixture(scope="module", params=[Elman, nn.LSTM])
def exported(request: pytest.FixtureRequest) -> tuple[NextWord, Exported]:
    """Build a network of the tasks' size, whose weights are no better than drawn, and export it."""
    network = build(request.param, len(VOCABULARY))
    return network, export(network, contexts(3, 5), CONTEXT, PROBABILITY)


def contexts(rows: int, length: int) -> torch.Tensor:
    """Draw word ids, always the same ones."""
    return torch.randint(len(VOCABULARY), (rows, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 30), (3, 2), (7, 65), (64, 7)])
def test_exported_models_take_any_length(exported: tuple[NextWord, Exported], rows: int, length: int) -> None:
    """Neither the rows nor the length of the example that was exported are left in the files."""
    network, files = exported
    context = contexts(rows, length)
    wanted = torch.from_numpy(answer(network, context))
    session = onnxruntime.InferenceSession(files.onnx, providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(["probability"], {"context": context.numpy()})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        script = torch.jit.load(io.BytesIO(files.torchscript))  # type: ignore[no-untyped-call] # PyTorch's own
    assert wanted.shape == (rows, len(VOCABULARY))
    assert torch.allclose(torch.from_numpy(by_onnx), wanted, rtol=0, atol=1e-5)
    assert torch.allclose(script(context), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 30])
def test_a_row_alone_is_the_row_in_a_batch(exported: tuple[NextWord, Exported], length: int) -> None:
    """ONNX Runtime answers both to the last bit the same."""
    context = contexts(64, length).numpy()
    session = onnxruntime.InferenceSession(exported[1].onnx, providers=["CPUExecutionProvider"])
    (together,) = session.run(["probability"], {"context": context})
    for place in range(64):
        (alone,) = session.run(["probability"], {"context": context[place : place + 1]})
        assert alone.tobytes() == together[place].tobytes()


def test_an_export_repeats_to_the_byte(exported: tuple[NextWord, Exported]) -> None:
    """The same network gives the same files."""
    network, files = exported
    assert export(network, contexts(3, 5), CONTEXT, PROBABILITY) == files


def test_golden_rows_are_ids(exported: tuple[NextWord, Exported]) -> None:
    """Contexts are recorded as whole numbers, which are what the graph takes."""
    rows = golden(exported[0], CONTEXT, PROBABILITY, contexts(3, 5))
    assert all(isinstance(word, int) for row in rows.inputs["context"] for word in row)


@pytest.mark.parametrize("task", [RNN, LSTM], ids=["rnn", "lstm"])
def test_it_trains_to_the_same_bytes_twice(task: Task) -> None:
    """A moment on the task's first rows: the loss falls, and again it falls to the last bit the same."""
    data = task.data()
    few = dataclasses.replace(data, train=type(data.train)(data.train.inputs[:64], data.train.targets[:64]))
    short = dataclasses.replace(task, data=lambda: few, recipe=dataclasses.replace(task.recipe, epochs=2, batch_size=8))
    told: list[tuple[int, float]] = []
    one, again = fit(short, lambda epoch, loss: told.append((epoch, loss))), fit(short)
    assert one.history == again.history
    assert told == list(enumerate(one.history.train, start=1))
    assert one.history.train[1] < one.history.train[0]
    weights, others = one.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert not one.network.training


@LAYERS
def test_it_learns_what_no_bigram_can(layer: Layer) -> None:
    """The task's own gate passes where the word before the last decides."""
    task = task_of(RNN, layer)
    task = dataclasses.replace(task, recipe=dataclasses.replace(RECIPE, epochs=60, patience=None))
    figures = gate(fit(task))
    assert figures.metrics["test_perplexity"] < 1.2 < figures.baseline["kneser_ney_bigram"]


def test_the_best_epoch_of_the_best_start_is_kept() -> None:
    """Its validation loss is that of the answered network, measured again."""
    recipe = dataclasses.replace(RECIPE, learning_rate=0.2, epochs=6, starts=3)
    epochs: list[int] = []
    trained = fit(dataclasses.replace(task_of(RNN, Elman), recipe=recipe), lambda epoch, _: epochs.append(epoch))
    alone = [
        fit(dataclasses.replace(task_of(RNN, Elman), recipe=dataclasses.replace(recipe, starts=1), seed=seed))
        for seed in (1, 2, 3)
    ]
    assert trained.history.best == min(each.history.best for each in alone)
    assert trained.seed == min(alone, key=lambda each: each.history.best).seed
    text = torch.tensor([0, 1, 0, 2] * 20)[:65]
    assert losses(next_word(trained.network), text).mean().item() == trained.history.best
    assert epochs == sorted(set(epochs))
    assert epochs[-1] <= recipe.most_epochs


def test_it_stops_when_nothing_gets_better() -> None:
    """Two epochs without a better validation loss are the patience of this recipe."""
    recipe = dataclasses.replace(RECIPE, learning_rate=0.0, epochs=20)
    trained: Trained = fit(dataclasses.replace(task_of(RNN, Elman), recipe=recipe))
    assert len(trained.history.train) == len(trained.history.validation) == 3


def test_another_network_is_refused() -> None:
    """What predicts no words is named."""
    with pytest.raises(TypeError, match="Linear is no NextWord"):
        next_word(nn.Linear(1, 1))


def loud(layer: Layer) -> NextWord:
    """Build a network that drops nothing, and whose state and gradients are large."""
    network = build(layer, 3)
    for dropout in (network.drop_input, network.drop_state, network.drop_output):
        dropout.share = 0.0
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(3)
    return network


def one_epoch(layer: Layer, text: Text, recipe: Recipe) -> tuple[NextWord, Trained]:
    """Train a loud network for an epoch on a single strand, and give it as it was before too."""
    task = dataclasses.replace(
        task_of(RNN, layer),
        data=lambda: data_of(text),
        network=lambda _: loud(layer),
        recipe=recipe,
    )
    return loud(layer), fit(task)


@LAYERS
def test_the_state_goes_from_piece_to_piece(layer: Layer) -> None:
    """The loss of an epoch without steps is that of the text read in one, from where the strand begins."""
    before, trained = one_epoch(layer, TURNS, Recipe("Adam", 0.0, epochs=1, batch_size=1))
    text = text_of(trained.data.train)
    first = int(torch.randint(len(text), (), generator=torch.Generator().manual_seed(1)))
    read = losses(before, text.roll(-first))
    assert len(read) > 5 * PIECE
    assert trained.history.train[0] == pytest.approx(read.mean().item(), rel=1e-5)
    # Of contexts read from a state of zeros it would be another.
    assert losses(before, text.roll(-first), PIECE).mean().item() != pytest.approx(read.mean().item(), rel=1e-4)


@LAYERS
def test_a_long_gradient_is_shortened(layer: Layer) -> None:
    """A single step of a rate of 1 moves the weights by just the length at which it is clipped."""
    short = dataclasses.replace(TURNS, train={"one": [0, 1, 0, 2] * 8 + [0]})
    before, trained = one_epoch(layer, short, Recipe("SGD", 1.0, epochs=1, batch_size=1))
    moves = [(new - old).flatten() for new, old in zip(trained.network.parameters(), before.parameters(), strict=True)]
    assert torch.cat(moves).norm().item() == pytest.approx(CLIPPED_AT, rel=1e-3)
