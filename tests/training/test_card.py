"""Behaviour of training.card."""

import dataclasses
import json
import re

import pytest
import torch
from torch import Tensor, nn

from service.manifest import ModelManifest, TensorSpec
from training.card import CARD_FILE, card, results
from training.pipeline import Produced
from training.plots import losses
from training.task import ALLOWED, Data, History, Recipe, Split, Task, Trained
from training.tasks import TASKS

TASK = TASKS["binary_classifier"][0]
VOCABULARY = ("<unknown>", "the", "it's", "cat")


class Recurrent(nn.Module):
    """Gives the probability of each word, with the embedding's weights used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 3)
        self.memory = nn.RNN(3, 3, batch_first=True)
        self.output = nn.Linear(3, 4)
        self.output.weight = self.embedding.weight
        self.register_buffer("temperature", torch.ones(1))

    def forward(self, ids: Tensor) -> Tensor:
        """Take (rows, length) to (rows, 4)."""
        return torch.softmax(self.output(self.memory(self.embedding(ids))[0][:, -1]) / self.temperature, dim=-1)


def page(task: Task, trained: Trained, manifest: ModelManifest) -> str:
    """Write the card's text alone."""
    return card(task, trained, manifest)[CARD_FILE].decode()


def words_of(inputs: Tensor, network: nn.Module, source: TensorSpec, target: TensorSpec) -> str:
    """Write the card of a network of which nothing else is known."""
    data = Data(train=Split(inputs, torch.zeros(len(inputs), 1)))
    trained = Trained(network.eval(), data, History((0.5,)), seed=3)
    manifest = ModelManifest(schema=1, name="mine", version=4, kind="tensors", inputs=(source,), outputs=(target,))
    return page(dataclasses.replace(TASK, plots=lambda _: {}), trained, manifest)


@pytest.fixture(scope="module")
def text(binary_classifier: Produced) -> str:
    """Read the card of the first binary classifier."""
    return binary_classifier.files[CARD_FILE].decode()


def test_every_plot_is_shown_and_every_shown_plot_is_there(text: str, binary_classifier: Produced) -> None:
    """The card's pictures are the version's PNG files, the losses among them."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert sorted(shown) == sorted(name for name in binary_classifier.files if name.endswith(".png"))
    assert "losses.png" in shown


def test_the_figure_stands_beside_its_baseline(text: str) -> None:
    """What to compare is first; the gate is stated in words."""
    assert "| **`test_accuracy`** | **0.66** |" in text
    assert "| to beat: `majority_class` | 0.535 |" in text
    assert f"The gate it passed: {TASK.condition}" in text


def test_what_is_allowed_is_not_to_be_beaten(binary_classifier: Produced) -> None:
    """A threshold is told as one."""
    training = binary_classifier.manifest.training
    assert training is not None
    bounded = training.model_copy(update={"baseline": {ALLOWED: 0.005}})
    text = results(binary_classifier.manifest.model_copy(update={"training": bounded}))
    assert "| allowed, at most | 0.005 |" in text
    assert "to beat" not in text


def test_data_and_recipe_are_told(text: str) -> None:
    """Where the rows come from and how many there are, what the recipe sets, what decides the bytes."""
    for cell in (TASK.dataset, "800 to learn from; 200 held out, whose loss is also watched", "BCELoss", "5 of 5"):
        assert f"| {cell} |" in text
    assert f"torch {torch.__version__}" in text


def test_every_layer_has_its_parameters(text: str) -> None:
    """Layers stand in the order in which they compute, with what they give a row."""
    assert "| `Linear(in_features=20, out_features=10, bias=True)` | [10] | 210 | 0 |\n| `ReLU()` | [10] |" in text
    assert "| in all |  | 221 | 0 |" in text


def test_features_and_labels_are_explained(text: str) -> None:
    """Each column has its range and meaning, each class its name."""
    assert "| `feature_0` |  | -3.177 | 3.529 | Column 0 of the synthetic points. |" in text
    assert "Classes: `negative`, `positive`." in text


def test_the_request_is_one_the_network_answers(sum_of_three: Produced) -> None:
    """The example's numbers, by their names, give the answer that is told."""
    text = sum_of_three.files[CARD_FILE].decode()
    body = re.search(r"-d '([^']+)'", text)
    assert body is not None
    (instance,) = json.loads(body[1])["instances"]
    assert instance == {"first_addend": 1, "second_addend": 2, "third_addend": 3}
    assert "It answers with `sum` 6.147." in text
    assert "127.0.0.1:8080/v1/models/sum_of_three/versions/1:predict" in text


def test_a_card_says_when_its_version_is_served(text: str) -> None:
    """Whoever asks for a version that is no longer the latest learns why the server does not know it."""
    assert "answers for the latest version of a model; for it to answer for older ones too, start it with" in text
    assert "`FORWARDPASS_VERSIONS=all`" in text


def test_many_features_are_given_by_place(text: str) -> None:
    """Twenty names would hide the request."""
    body = re.search(r"-d '([^']+)'", text)
    assert body is not None
    (instance,) = json.loads(body[1])["instances"]
    assert len(instance) == 20
    assert "It answers `negative`, with `probability` 0.47" in text


def test_an_image_keeps_its_rows() -> None:
    """An input of several dimensions is written as nested lists, and the likeliest class is named."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 2), nn.Softmax(dim=1))
    source = TensorSpec(name="image", datatype="FP32", shape=(-1, 2, 3))
    target = TensorSpec(name="digit", datatype="FP32", shape=(-1, 2), labels=("zero", "one"))
    text = words_of(torch.arange(12.0).reshape(2, 2, 3), network, source, target)
    assert "-d '{\"instances\": [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]}'" in text
    assert re.search(r"It answers `(zero|one)`, with `digit` [\d.e-]+ for it\.", text)
    assert "Input `image`: FP32 [rows, 2, 3]." in text


def test_words_go_in_and_come_out() -> None:
    """A word model is asked in words, quoted for the shell; it answers in words, never with the unknown one."""
    source = TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=VOCABULARY)
    target = TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 4))
    text = words_of(torch.tensor([[1, 2]]), Recurrent(), source, target)
    assert """-d '{"instances": [{"context": ["the", "it'\\''s"]}]}'""" in text
    assert "It knows 3 words; `<unknown>` stands for all others." in text
    answer = re.search(r"It answers with (.*)\.\n", text)
    assert answer is not None
    assert {word for word in VOCABULARY if f"“{word}”" in answer[1]} == {"the", "it's", "cat"}


def test_shared_weights_are_counted_once() -> None:
    """Of two layers with one weight the second has only its own; buffers are no parameters."""
    source = TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=VOCABULARY)
    target = TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 4))
    network = Recurrent()
    text = words_of(torch.tensor([[1, 2]]), network, source, target)
    assert "| `Embedding(4, 3)` | [2, 3] | 12 | 0 |" in text
    assert "| `RNN(3, 3, batch_first=True)` | [2, 3] | 24 | 0 |" in text
    assert "| `Linear(in_features=3, out_features=4, bias=True)` | [4] | 4 | 0 |" in text
    assert "| `Recurrent()` | [4] | 0 | 1 |" in text
    assert f"| in all |  | {sum(weight.numel() for weight in network.parameters())} | 1 |" in text


def test_a_search_over_starts_is_told(binary_classifier: Produced) -> None:
    """Which start was kept, which epoch's weights, and how many epochs it took of how many."""
    recipe = Recipe(optimiser="Adam", learning_rate=0.1, epochs=9, patience=1, starts=3)
    history = History((0.6, 0.5, 0.4), (0.6, 0.5, 0.55))
    trained = dataclasses.replace(binary_classifier.trained, history=history, seed=2)
    text = page(dataclasses.replace(TASK, recipe=recipe, seed=1), trained, binary_classifier.manifest)
    assert "3 of 9; the weights are those of epoch 2; start 2 of 3 had the best validation loss" in text


def test_the_loss_is_named_at_its_axis(binary_classifier: Produced) -> None:
    """A loss is called by what it is, and drawn as `training.plots` draws it."""
    assert losses(binary_classifier.trained.history, loss="BCE loss").axes[0].get_ylabel() == "BCE loss"
    again = card(TASK, binary_classifier.trained, binary_classifier.manifest)
    assert again == {name: binary_classifier.files[name] for name in again}
