"""Behaviour of training.export."""

import io
import logging
import sys
import warnings
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from service.manifest import TensorSpec
from training.errors import ExportError
from training.export import Exported, export

REPOSITORY = Path(__file__).parents[2]
ADDENDS = TensorSpec(name="addends", datatype="FP32", shape=(-1, 3))
SUM = TensorSpec(name="sum", datatype="FP32", shape=(-1, 1))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Build a network that uses one class twice."""
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).eval()


@pytest.fixture(scope="module")
def exported(network: nn.Module) -> Exported:
    """Export that network."""
    return export(network, torch.zeros(2, 3), ADDENDS, SUM)


def load(torchscript: bytes) -> nn.Module:
    """Load an archive as a process without the network's source does."""
    with warnings.catch_warnings():
        # PyTorch asks for torch.export instead; these files are TorchScript.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        script: nn.Module = torch.jit.load(io.BytesIO(torchscript))  # type: ignore[no-untyped-call] # PyTorch's own
    return script


def test_a_second_export_gives_the_same_bytes(network: nn.Module, exported: Exported) -> None:
    """What the process has exported before leaves no trace in a file."""
    assert export(network, torch.zeros(2, 3), ADDENDS, SUM) == exported


def test_the_example_leaves_no_trace(network: nn.Module, exported: Exported) -> None:
    """An example of other values and another number of rows exports the same ONNX graph."""
    again = export(network, torch.ones(5, 3), ADDENDS, SUM)
    assert again.onnx == exported.onnx


def test_no_file_names_the_machine(exported: Exported) -> None:
    """Neither file holds a folder of this machine."""
    folders = [Path.home(), Path.cwd(), REPOSITORY, Path(sys.prefix), Path(torch.__file__).parent]
    with zipfile.ZipFile(io.BytesIO(exported.torchscript)) as archive:
        contents = [exported.onnx, exported.torchscript, *(archive.read(name) for name in archive.namelist())]
    for folder in folders:
        assert not any(bytes(folder) in content for content in contents), folder


def test_the_graph_holds_no_notes(exported: Exported) -> None:
    """Stack traces and the exporter's other metadata are gone from every level."""
    assert b"pkg.torch" not in exported.onnx
    assert b"stack_trace" not in exported.onnx


def test_the_graph_is_valid_with_named_tensors(exported: Exported) -> None:
    """Input, output and the free batch dimension carry the given names; all weights are inside."""
    model = onnx.load_from_string(exported.onnx)
    onnx.checker.check_model(model, full_check=True)
    source, target = model.graph.input[0], model.graph.output[0]
    assert (source.name, target.name) == ("addends", "sum")
    for tensor, width in ((source, 3), (target, 1)):
        dimensions = tensor.type.tensor_type.shape.dim
        assert (dimensions[0].dim_param, dimensions[1].dim_value) == ("batch", width)
    assert all(len(weight.raw_data) > 0 for weight in model.graph.initializer)


def test_the_archive_is_bare(exported: Exported) -> None:
    """TorchScript's debug files are gone, and what is left lies uncompressed with a fixed date."""
    with zipfile.ZipFile(io.BytesIO(exported.torchscript)) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            assert not entry.filename.endswith((".debug_pkl", "serialization_id"))
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)


def test_the_archive_loads_with_its_weights(network: nn.Module, exported: Exported) -> None:
    """A loaded archive has the network's weights by name, and its answers at any number of rows."""
    script = load(exported.torchscript)
    assert {name: weight.tolist() for name, weight in script.state_dict().items()} == {
        name: weight.tolist() for name, weight in network.state_dict().items()
    }
    rows: Tensor = torch.arange(15.0).reshape(5, 3)
    assert torch.equal(script(rows), network(rows))


class LastOfMany(nn.Module):
    """Reads sequences of ids of any length, as a recurrent network does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.memory = nn.LSTM(4, 4, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Take (rows, length) to (rows, 4)."""
        states: Tensor = self.memory(self.embedding(ids))[0]
        return states[:, -1]


def test_every_variable_dimension_stays_open() -> None:
    """A graph of sequences takes other lengths than its example's, and any number of rows."""
    ids = TensorSpec(name="ids", datatype="INT64", shape=(-1, -1))
    state = TensorSpec(name="state", datatype="FP32", shape=(-1, 4))
    network = LastOfMany().eval()
    exported = export(network, torch.zeros(2, 3, dtype=torch.int64), ids, state)
    dimensions = onnx.load_from_string(exported.onnx).graph.input[0].type.tensor_type.shape.dim
    assert all(dimension.dim_param for dimension in dimensions)
    others = torch.ones(1, 8, dtype=torch.int64)
    assert torch.allclose(load(exported.torchscript)(others), network(others), atol=1e-6)


class Branching(nn.Module):
    """Goes one way or the other, by what the rows are."""

    def forward(self, rows: Tensor) -> Tensor:
        """Take (rows, 3) to (rows, 1)."""
        summed = rows.sum(dim=1, keepdim=True)
        return summed if summed.sum() > 0 else -summed


def test_a_network_that_no_graph_can_hold_is_refused_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    """The exporter's reason is one line, its pages stay off the screen, and its own error is the cause."""
    with pytest.raises(ExportError, match=r"^the network cannot be exported to ONNX: .*data-dependent") as raised:
        export(Branching().eval(), torch.ones(2, 3), ADDENDS, SUM)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value.__cause__, torch.onnx.OnnxExporterError)
    assert capfd.readouterr() == ("", "")


def test_the_log_is_as_it_was(network: nn.Module) -> None:
    """What is kept silent while exporting is so then only."""
    logging.disable(logging.INFO)
    try:
        export(network, torch.zeros(2, 3), ADDENDS, SUM)
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", ["addends", "0.weight"])
def test_a_name_that_is_taken_inside_the_graph_is_refused(network: nn.Module, name: str) -> None:
    """An output cannot be called as the input or a weight is."""
    with pytest.raises(ExportError, match=f"'{name}' names two values of the graph"):
        export(network, torch.zeros(2, 3), ADDENDS, SUM.model_copy(update={"name": name}))
