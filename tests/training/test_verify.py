"""Behaviour of training.verify."""

import dataclasses
import math
import os
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Generator, Tensor, nn

from service.manifest import GOLDEN_TOLERANCE, TensorSpec
from training.errors import ParityError
from training.export import Exported, export
from training.verify import BATCH_SIZES, GOLDEN_ROWS, answer, golden, uniform, verify

SOURCE = TensorSpec(name="addends", datatype="FP32", shape=(-1, 3))
TARGET = TensorSpec(name="sum", datatype="FP32", shape=(-1, 1))
ROWS = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
EXAMPLES = partial(uniform, ROWS)


def build(weight: float) -> nn.Module:
    """Build a network that multiplies the sum of its inputs."""
    network = nn.Linear(3, 1, bias=False).eval()
    nn.init.constant_(network.weight, weight)
    return network


def export_of(network: nn.Module) -> Exported:
    """Export such a network."""
    return export(network, ROWS, SOURCE, TARGET)


@pytest.fixture(scope="module")
def one() -> Exported:
    """Export the network that adds."""
    return export_of(build(1.0))


@pytest.fixture(scope="module")
def other() -> Exported:
    """Export a network that is off by a little more than the tolerance allows."""
    return export_of(build(1 + 3 * GOLDEN_TOLERANCE))


def test_telemetry_is_off_before_onnxruntime_is_there() -> None:
    """The process that trains reports to nobody."""
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_faithful_export_passes(one: Exported) -> None:
    """The figures cover a single row, an odd number and the largest batch."""
    parity = verify(build(1.0), one, SOURCE, TARGET, EXAMPLES)
    assert parity.batch_sizes == BATCH_SIZES == (1, 7, 256)
    assert 0 <= parity.torchscript <= 1e-5
    assert 0 <= parity.onnxruntime <= 1e-5


def test_examples_may_be_any(one: Exported) -> None:
    """They are asked for at each batch size, and every one of them is compared."""
    asked: list[int] = []

    def examples(size: int, generator: Generator) -> Iterator[Tensor]:
        asked.append(size)
        yield torch.rand(size, 3, generator=generator)
        yield torch.full((size, 3), math.nan)

    with pytest.raises(ParityError, match="at 1 rows"):
        verify(build(1.0), one, SOURCE, TARGET, examples)
    assert asked == [1]


def test_another_onnx_graph_is_refused(one: Exported, other: Exported) -> None:
    """A graph whose answers are off is named, with the difference."""
    with pytest.raises(ParityError, match="ONNX Runtime differs from the network by"):
        verify(build(1.0), dataclasses.replace(one, onnx=other.onnx), SOURCE, TARGET, EXAMPLES)


def test_another_torchscript_archive_is_refused(one: Exported, other: Exported) -> None:
    """The same holds for the other file."""
    mixed = dataclasses.replace(one, torchscript=other.torchscript)
    with pytest.raises(ParityError, match="TorchScript differs from the network by"):
        verify(build(1.0), mixed, SOURCE, TARGET, EXAMPLES)


def test_an_output_of_another_shape_than_announced_is_refused(one: Exported) -> None:
    """The manifest must not promise two columns where the network gives one."""
    wide = TARGET.model_copy(update={"shape": (-1, 2)})
    with pytest.raises(ParityError, match=r"sum has shape \(1,\) a row, not \(2,\)"):
        verify(build(1.0), one, SOURCE, wide, EXAMPLES)


def test_answers_that_are_no_numbers_are_refused() -> None:
    """Three runtimes that agree on nonsense do not pass."""
    broken = build(math.nan)
    with pytest.raises(ParityError, match="differs"):
        verify(broken, export_of(broken), SOURCE, TARGET, EXAMPLES)


def test_files_that_do_not_load_are_refused(one: Exported) -> None:
    """Each is named by the runtime that could not make anything of it."""
    with pytest.raises(ParityError, match=r"^ONNX Runtime cannot load the graph: .+"):
        verify(build(1.0), dataclasses.replace(one, onnx=b"no graph"), SOURCE, TARGET, EXAMPLES)
    with pytest.raises(ParityError, match=r"^TorchScript cannot load the archive: .+"):
        verify(build(1.0), dataclasses.replace(one, torchscript=b"no archive"), SOURCE, TARGET, EXAMPLES)


def test_models_that_fail_are_refused(one: Exported) -> None:
    """Models of other rows than the network's say at how many rows of it they failed."""
    narrow = TensorSpec(name="addends", datatype="FP32", shape=(-1, 2))
    other = export(nn.Linear(2, 1).eval(), ROWS[:, :2], narrow, TARGET)
    for runtime, mixed in (
        ("ONNX Runtime", dataclasses.replace(one, onnx=other.onnx)),
        ("TorchScript", dataclasses.replace(one, torchscript=other.torchscript)),
    ):
        with pytest.raises(ParityError, match=f"^{runtime} fails at 1 rows: .+"):
            verify(build(1.0), mixed, SOURCE, TARGET, EXAMPLES)


def test_golden_rows_are_the_first_with_their_answers() -> None:
    """Rows and answers stand under the tensors' names, a handful of them."""
    rows = torch.arange(30.0).reshape(10, 3)
    recorded = golden(build(1.0), SOURCE, TARGET, rows)
    assert recorded.inputs == {"addends": rows[:GOLDEN_ROWS].tolist()}
    assert recorded.outputs == {"sum": rows[:GOLDEN_ROWS].sum(dim=1, keepdim=True).tolist()}


def test_fewer_rows_are_all_golden() -> None:
    """A task of two rows records two."""
    assert len(golden(build(1.0), SOURCE, TARGET, ROWS).inputs["addends"]) == 2


def test_an_answer_carries_no_gradient() -> None:
    """Networks with weights to train answer as plain arrays."""
    assert answer(build(1.0), ROWS).tolist() == [[6.0], [12.0]]
