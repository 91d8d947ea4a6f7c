"""Behaviour of training.own."""

from pathlib import Path

import pytest
import torch
from torch import nn

from service.manifest import Feature, Golden, TensorSpec
from training.errors import ParityError, PublishError
from training.own import publish_network

ROWS = torch.tensor([[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]])
SOURCE = TensorSpec(name="point", datatype="FP32", shape=(-1, 2), features=(Feature(name="x"), Feature(name="y")))
TARGET = TensorSpec(name="value", datatype="FP32", shape=(-1, 1))


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
    wide = TARGET.model_copy(update={"shape": (-1, 2)})
    with pytest.raises(ParityError, match="value has shape"):
        publish_network(network(0), ROWS, name="mine", source=SOURCE, target=wide, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
