"""Behaviour of training.verify."""

import dataclasses
import math
import os
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Generator, Tensor, nn

from service.manifest import GOLDEN_TOLERANCE, Golden, TensorSpec
from training.draw import drawn
from training.errors import ParityError
from training.export import Exported, export
from training.verify import BATCH_SIZES, GOLDEN_ROWS, announced_answer, answer, golden, replay, verify

SOURCE = TensorSpec(name="addends", datatype="FP32", shape=(-1, 3))
TARGET = TensorSpec(name="sum", datatype="FP32", shape=(-1, 1))
ROWS = torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
EXAMPLES = partial(drawn, SOURCE, ROWS)


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

    with pytest.raises(ParityError, match=r"at shape \[1, 3\]"):
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
    with pytest.raises(ParityError, match=r"the graph has .* where sum \[-1, 2\] is announced"):
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
    """Models of other rows than the network's say at which shape they failed, or what they take in place of it."""
    narrow = TensorSpec(name="addends", datatype="FP32", shape=(-1, 2))
    other = export(nn.Linear(2, 1).eval(), ROWS[:, :2], narrow, TARGET)
    with pytest.raises(ParityError, match=r"^TorchScript fails at shape \[1, 3\]: .+"):
        verify(build(1.0), dataclasses.replace(one, torchscript=other.torchscript), SOURCE, TARGET, EXAMPLES)
    with pytest.raises(ParityError, match=r"the graph has {'addends': \[-1, 2\]} where addends \[-1, 3\] is announced"):
        verify(build(1.0), dataclasses.replace(one, onnx=other.onnx), SOURCE, TARGET, EXAMPLES)


class Mixing(nn.Module):
    """Answers each row with how far it is from a mean over others: of all rows, or of its own columns."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, rows: Tensor) -> Tensor:
        """Take (rows, 3) to (rows, 1)."""
        return (rows - rows.mean(dim=self.axis, keepdim=True)).square().sum(dim=1, keepdim=True)


def test_rows_that_influence_each_other_are_refused() -> None:
    """What a row is answered must not depend on whose rows came with it; its own columns may influence each other."""
    mixing, own = Mixing(axis=0), Mixing(axis=1)
    with pytest.raises(ParityError, match="rows influence each other: row 0 of 7 differs from the same row alone by"):
        verify(mixing, export_of(mixing), SOURCE, TARGET, EXAMPLES)
    assert verify(own, export_of(own), SOURCE, TARGET, EXAMPLES).onnxruntime <= GOLDEN_TOLERANCE


@pytest.mark.parametrize(
    ("answered", "fault"),
    [
        (torch.zeros(1, 1), r"sum has shape \[1, 1\] for 2 rows, not \[2, 1\]"),
        (torch.zeros(2, 2), r"sum has shape \[2, 2\] for 2 rows, not \[2, 1\]"),
        (torch.zeros(2), r"sum has shape \[2\] for 2 rows"),
        (torch.zeros(()), "sum is a scalar"),
        (torch.zeros(2, 1, dtype=torch.float64), "sum is FP64, not FP32 as announced"),
        ((torch.zeros(2, 1),), r"fails at shape \[2, 3\]: it answers with a tuple"),
    ],
)
def test_an_answer_is_what_is_announced(answered: object, fault: str) -> None:
    """As many rows as were asked, of the announced shape and datatype, in one tensor."""

    class Fixed(nn.Module):
        """Answers whatever is asked with the same."""

        def forward(self, _rows: Tensor) -> object:
            """Give it."""
            return answered

    with pytest.raises(ParityError, match=fault):
        announced_answer(Fixed(), ROWS, TARGET)


def test_an_answer_may_leave_lengths_open() -> None:
    """A dimension that is announced as -1 can have any length."""
    open_target = TARGET.model_copy(update={"shape": (-1, -1)})
    assert announced_answer(build(1.0), ROWS, open_target).tolist() == [[6.0], [12.0]]


def test_golden_rows_are_replayed(one: Exported, other: Exported) -> None:
    """The graph whose answers they are gives them again, another one does not, and one that fails is told."""
    rows = golden(build(1.0), SOURCE, TARGET, ROWS)
    replay(one.onnx, SOURCE, TARGET, rows)
    with pytest.raises(ParityError, match="differs from the recorded answers to the golden rows by"):
        replay(other.onnx, SOURCE, TARGET, rows)
    with pytest.raises(ParityError, match="fails at the golden rows: 'addends'"):
        replay(one.onnx, SOURCE, TARGET, Golden(inputs={}, outputs=rows.outputs))


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
