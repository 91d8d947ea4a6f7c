"""Behaviour of training.own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from service.manifest import Datatype, Feature, Golden, TensorSpec
from training.errors import DataError, ExportError, ParityError, PublishError, TrainingError
from training.language import NextWord
from training.own import publish_network
from training.verify import DATATYPES

ROWS = torch.tensor([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]])
SOURCE = TensorSpec(name="point", datatype="FP32", shape=(-1, 2), features=(Feature(name="x"), Feature(name="y")))
TARGET = TensorSpec(name="value", datatype="FP32", shape=(-1, 1))
WIDE = TARGET.model_copy(update={"shape": (-1, 2)})


def network(seed: int) -> nn.Module:
    """A small network with dropout, in training mode as a training leaves it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 1))


def test_a_network_becomes_a_version_with_its_golden_rows(tmp_path: Path) -> None:
    """It is published in evaluation mode, with the ranges of the rows and the network's own answers."""
    mine = network(0)
    manifest = publish_network(mine, ROWS, name="mine", source=SOURCE, target=TARGET, root=tmp_path)
    folder = tmp_path / "mine" / "1"
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "model.onnx", "model.pt", "golden.json"}
    assert [(one.minimum, one.maximum) for one in manifest.inputs[0].features or ()] == [(1, 5), (-4, 6)]
    golden = Golden.parse((folder / "golden.json").read_bytes(), "golden.json")
    with torch.no_grad():
        assert golden.outputs["value"] == mine.eval()(ROWS).tolist()


def test_a_published_version_does_not_change(tmp_path: Path) -> None:
    """Another network under the same number is refused unless it is meant to replace the first."""
    publish_network(network(0), ROWS, name="mine", source=SOURCE, target=TARGET, root=tmp_path)
    with pytest.raises(PublishError, match="mine version 1 is published with another"):
        publish_network(network(1), ROWS, name="mine", source=SOURCE, target=TARGET, root=tmp_path)
    publish_network(network(1), ROWS, name="mine", source=SOURCE, target=TARGET, root=tmp_path, replace=True)


def test_an_output_of_another_shape_is_refused(tmp_path: Path) -> None:
    """What the manifest announces is what the network gives, or nothing is published."""
    with pytest.raises(ParityError, match="value has shape"):
        publish_network(network(0), ROWS, name="mine", source=SOURCE, target=WIDE, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_answered_manifest_is_the_published_one(tmp_path: Path) -> None:
    """It names the files, as what lies in the folder does."""
    manifest = publish_network(network(0), ROWS, name="mine", source=SOURCE, target=TARGET, root=tmp_path)
    assert manifest.render() == (tmp_path / "mine" / "1" / "manifest.json").read_bytes()


class Of(nn.Module):
    """Computes a function of a layer and the rows."""

    def __init__(self, function: Callable[[nn.Linear, Tensor], object]) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)
        self.function = function

    def forward(self, rows: Tensor) -> object:
        """Compute it."""
        return self.function(self.linear, rows)


class Adding(nn.Module):
    """Takes two inputs, which is one too many."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Add them."""
        return one + other


class LastState(nn.Module):
    """Reads sequences of pairs, (rows, length, 2), to (rows, 1)."""

    def __init__(self, layer: type[nn.RNN | nn.LSTM]) -> None:
        super().__init__()
        self.layer = layer(2, 5, batch_first=True)
        self.last = nn.Linear(5, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Answer with what is read at the end."""
        answered: Tensor = self.last(self.layer(rows)[0][:, -1])
        return answered


SEQUENCES = torch.arange(36.0).reshape(3, 6, 2) / 36
OPEN = TensorSpec(name="sequence", datatype="FP32", shape=(-1, -1, 2), features=SOURCE.features)


def test_a_layer_whose_steps_the_exporter_writes_down_is_refused(tmp_path: Path) -> None:
    """Its graph would answer another length than the example's with something else: the shape is told, and why."""
    with pytest.raises(ParityError, match=r"at shape \[1, 1, 2\].*the exporter writes down the steps of its example"):
        publish_network(LastState(nn.RNN), SEQUENCES, name="mine", source=OPEN, target=TARGET, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
    fixed = OPEN.model_copy(update={"shape": (-1, 6, 2)})
    publish_network(LastState(nn.RNN), SEQUENCES, name="mine", source=fixed, target=TARGET, root=tmp_path)


def test_a_layer_with_a_free_length_is_published(tmp_path: Path) -> None:
    """The graph answers a length that no row had as the network does."""
    mine = LastState(nn.LSTM)
    manifest = publish_network(mine, SEQUENCES, name="mine", source=OPEN, target=TARGET, root=tmp_path)
    assert [feature.maximum for feature in manifest.inputs[0].features or ()] == SEQUENCES.amax(dim=(0, 1)).tolist()
    session = onnxruntime.InferenceSession(tmp_path / "mine" / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    longer = torch.rand(2, 19, 2)
    (answers,) = session.run(["value"], {"sequence": longer.numpy()})
    assert torch.allclose(torch.from_numpy(answers), mine(longer).detach(), atol=1e-5)


def tensor(datatype: Datatype, shape: tuple[int, ...] = (-1, 2), name: str = "x") -> TensorSpec:
    """Announce an input or output."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("mine", "rows", "source", "target"),
    [
        (nn.Sequential(nn.Embedding(9, 3), nn.Flatten()), [[1, 2], [8, 4]], "INT64", tensor("FP32", (-1, 6), "y")),
        (nn.Sequential(nn.Embedding(9, 3), nn.Flatten()), [[1, 2], [8, 4]], "INT32", tensor("FP32", (-1, 6), "y")),
        (nn.Linear(2, 1).double(), [[1, 2], [8, 4]], "FP64", tensor("FP64", (-1, 1), "y")),
        (nn.ReLU(), [[1, -2], [-8, 4]], "FP16", tensor("FP16", (-1, 2), "y")),
        (Of(lambda _, rows: rows > 3), [[1, 2], [8, 4]], "FP32", tensor("BOOL", (-1, 2), "y")),
        (Of(lambda _, rows: rows.argmax(dim=1)), [[1, 2], [8, 4]], "FP32", tensor("INT64", (-1,), "y")),
    ],
)
def test_any_datatype_is_published_as_what_it_is(
    tmp_path: Path, mine: nn.Module, rows: list[list[int]], source: Datatype, target: TensorSpec
) -> None:
    """The rows that models are compared on are of the network's own type."""
    types = {datatype: dtype for dtype, datatype in DATATYPES.items()}
    inputs = torch.tensor(rows, dtype=types[source])
    publish_network(mine, inputs, name="mine", source=tensor(source), target=target, root=tmp_path)
    golden = Golden.parse((tmp_path / "mine" / "1" / "golden.json").read_bytes(), "golden.json")
    assert golden.inputs["x"] == inputs.tolist()


def test_a_network_of_words_is_published(tmp_path: Path) -> None:
    """It is compared on words that no row holds, and on contexts of other lengths."""
    words = ("<unknown>", "a", "b", "c")
    source = TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=words)
    target = TensorSpec(name="probability", datatype="FP32", shape=(-1, 4))
    rows = torch.tensor([[1, 2, 1], [2, 1, 2]])
    mine = NextWord(nn.LSTM, len(words))
    publish_network(mine, rows, name="mine", kind="next_word", source=source, target=target, root=tmp_path)


@pytest.mark.parametrize(
    ("mine", "source", "target", "fault"),
    [
        (nn.Linear(2, 1), SOURCE, tensor("FP32", (-1, 1), "weight"), (ExportError, "'weight' names two values")),
        (nn.Linear(2, 1), SOURCE, tensor("FP32", (-1, 1), "bias"), (ExportError, "'bias' names two values")),
        (nn.Linear(2, 1), SOURCE, tensor("FP32", (-1, 1), "point"), (ExportError, "'point' names two values")),
        (Of(lambda layer, rows: (layer(rows), rows)), SOURCE, TARGET, (ParityError, "it answers with a tuple")),
        (Of(lambda layer, rows: {"a": layer(rows)}), SOURCE, TARGET, (ParityError, "it answers with a dict")),
        (Of(lambda _, rows: rows.sum()), SOURCE, TARGET, (ParityError, "value is a scalar")),
        (Of(lambda layer, rows: layer(rows).long()), SOURCE, TARGET, (ParityError, "value is INT64, not FP32")),
        (Of(lambda _, rows: torch.ones(len(rows), 1).double()), SOURCE, TARGET, (ParityError, "value is FP64, not")),
        (Of(lambda _, rows: rows - rows.mean(dim=0)), SOURCE, WIDE, (ParityError, "rows influence each")),
        (Of(lambda _, rows: rows.softmax(dim=0)), SOURCE, WIDE, (ParityError, "rows influence each")),
        (Adding(), SOURCE, TARGET, (ParityError, "the network fails at shape .*missing 1 required positional")),
        (nn.Linear(2, 1).double(), SOURCE, TARGET, (ParityError, "the network fails at shape .*same dtype")),
        (Of(lambda layer, rows: layer(rows) if rows.sum() > 0 else rows), SOURCE, TARGET, (ExportError, "on data-dep")),
        (Of(lambda _, rows: torch.special.bessel_j0(rows)), SOURCE, WIDE, (ExportError, "No ONNX function")),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_sentence(
    tmp_path: Path, mine: nn.Module, source: TensorSpec, target: TensorSpec, fault: tuple[type[TrainingError], str]
) -> None:
    """It says what is wrong with the network, without colours, and nothing is published."""
    with pytest.raises(fault[0], match=fault[1]) as raised:
        publish_network(mine, ROWS.abs(), name="mine", source=source, target=target, root=tmp_path)
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (ROWS.tolist(), "the rows are a list; torch.as_tensor"),
        (ROWS.numpy(), "the rows are a ndarray; torch.as_tensor"),
        (ROWS.bfloat16(), "the rows are torch.bfloat16"),
        (ROWS.double(), r"the rows are FP64 \[3, 2\]; point is announced as FP32 \[-1, 2\]"),
        (torch.ones(3, 3), r"the rows are FP32 \[3, 3\]; point is announced as FP32 \[-1, 2\]"),
        (torch.ones(2), r"the rows are FP32 \[2\]; point"),
        (ROWS[:0], "where -1 is announced, 2 or more are needed"),
        (ROWS[:1], "where -1 is announced, 2 or more are needed"),
        (torch.tensor([[1.0, 2.0], [torch.nan, 3.0]]), "the rows are not all finite"),
        (torch.tensor([[1.0, 2.0], [torch.inf, 3.0]]), "the rows are not all finite"),
    ],
)
def test_rows_that_are_not_typical_are_refused(tmp_path: Path, rows: Tensor, fault: str) -> None:
    """They have to be finite, of the announced datatype and shape, and two or more."""
    with pytest.raises(DataError, match=fault):
        publish_network(network(0), rows, name="mine", source=SOURCE, target=TARGET, root=tmp_path)


def test_rows_may_come_from_a_training(tmp_path: Path) -> None:
    """That gradients were asked of them is no matter."""
    rows = ROWS.clone().requires_grad_()
    publish_network(network(0), rows, name="mine", source=SOURCE, target=TARGET, root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "../mine"}, "name: String should match pattern"),
        ({"name": "stats"}, "cannot name a model"),
        ({"version": 0}, "version: Input should be greater than 0"),
        ({"kind": "guess"}, "kind: Input should be 'regression'"),
        ({"kind": "next_word"}, "a next_word model takes"),
    ],
)
def test_a_version_that_cannot_be_is_refused_before_anything_is_exported(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    """The manifest is made first: the network, which cannot be exported, is not asked."""
    asked = {"name": "mine", **changes}
    with pytest.raises(PublishError, match=fault):
        publish_network(Adding(), ROWS, source=SOURCE, target=TARGET, root=tmp_path, **asked)
