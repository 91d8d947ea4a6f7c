"""Whether exported models compute what the network computes."""

import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.manifest import GOLDEN_TOLERANCE, VARIABLE, Datatype, Golden, Parity, TensorSpec
from training.errors import ParityError, first_line
from training.export import Exported
from training.loop import THREADS

# Without it, onnxruntime's wheels report home; it looks once, when imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

Examples = Callable[[int, torch.Generator], Iterator[Tensor]]
"""Gives inputs of so many rows, one or several, on which models are compared."""

Array = NDArray[Any]

BATCH_SIZES = (1, 7, 256)
"""A single row, an odd number of them, the largest batch that the service forms by default."""
GOLDEN_ROWS = 6

DATATYPES: dict[torch.dtype, Datatype] = {
    torch.bool: "BOOL",
    torch.uint8: "UINT8",
    torch.uint16: "UINT16",
    torch.uint32: "UINT32",
    torch.uint64: "UINT64",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.float16: "FP16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}
"""What a manifest calls the types that PyTorch and numpy both have."""


def verify(
    network: nn.Module, exported: Exported, source: TensorSpec, target: TensorSpec, examples: Examples
) -> Parity:
    """Compare TorchScript and ONNX Runtime with eager PyTorch at each of `BATCH_SIZES`.

    `source` and `target` are the input and output that the manifest announces. Raises `ParityError` where the
    network or the graph has another output than is announced, where the network answers a row alone otherwise than
    among others, or where an exported model does not load, fails, or differs from the network by more than the
    tolerance.
    """
    runtimes = {
        "TorchScript": _torchscript(exported.torchscript),
        "ONNX Runtime": _onnxruntime(exported.onnx, source, target),
    }
    generator, hint = torch.Generator().manual_seed(0), _hint(source)
    largest = dict.fromkeys(runtimes, 0.0)
    for size in BATCH_SIZES:
        for inputs in examples(size, generator):
            expected = announced_answer(network, inputs, target)
            place = f"at shape {list(inputs.shape)}"
            for name, run in runtimes.items():
                with _told(f"{name} fails {place}", hint):
                    actual = run(inputs)
                found = _difference(f"{name} differs from the network", actual, expected, f" {place}{hint}")
                largest[name] = max(largest[name], found)
            _refuse_mixed_rows(network, inputs, expected)
    return Parity(batch_sizes=BATCH_SIZES, torchscript=largest["TorchScript"], onnxruntime=largest["ONNX Runtime"])


def _hint(source: TensorSpec) -> str:
    """Why it is likely that a model does not compute the same, where rows can have several shapes."""
    if VARIABLE not in source.row_shape:
        return ""
    return (
        "; where a network walks along a dimension step by step, as a recurrent layer does, the exporter writes down "
        "the steps of its example: announce that dimension's length in place of -1, or use another layer"
    )


def fits(shape: Sequence[int], announced: Sequence[int]) -> bool:
    """Whether a shape is the announced one, in which -1 is any length."""
    return len(shape) == len(announced) and all(
        wanted in {VARIABLE, length} for length, wanted in zip(shape, announced, strict=True)
    )


def announced_answer(network: nn.Module, inputs: Tensor, target: TensorSpec) -> Array:
    """Answer these rows with what `target` announces, or raise `ParityError`."""
    with _told(f"the network fails at shape {list(inputs.shape)}"):
        answered = answer(network, inputs)
    if answered.ndim == 0:
        raise ParityError(f"{target.name} is a scalar; a network has to answer every row with one of its own")
    shape = [len(inputs), *target.row_shape]
    if not fits(answered.shape, shape):
        raise ParityError(f"{target.name} has shape {list(answered.shape)} for {len(inputs)} rows, not {shape}")
    datatype = DATATYPES[torch.from_numpy(answered).dtype]
    if datatype != target.datatype:
        raise ParityError(f"{target.name} is {datatype}, not {target.datatype} as announced")
    return answered


def golden(network: nn.Module, source: TensorSpec, target: TensorSpec, rows: Tensor) -> Golden:
    """Take the first of `rows`, at most `GOLDEN_ROWS`, with what eager PyTorch answers."""
    inputs = rows[:GOLDEN_ROWS]
    return Golden(inputs={source.name: inputs.tolist()}, outputs={target.name: answer(network, inputs).tolist()})


def replay(graph: bytes, source: TensorSpec, target: TensorSpec, rows: Golden) -> None:
    """Raise `ParityError` where ONNX Runtime does not give the recorded answers to the golden rows."""
    run = _onnxruntime(graph, source, target)
    types = {datatype: dtype for dtype, datatype in DATATYPES.items()}
    with _told("ONNX Runtime fails at the golden rows"):
        expected = torch.tensor(rows.outputs[target.name], dtype=types[target.datatype]).numpy()
        actual = run(torch.tensor(rows.inputs[source.name], dtype=types[source.datatype]))
    _difference("ONNX Runtime differs from the recorded answers to the golden rows", actual, expected, "")


def answer(network: nn.Module, inputs: Tensor) -> Array:
    """Run a network in evaluation mode on these rows. Raises `TypeError` for an answer that is not one tensor."""
    with torch.no_grad():
        outputs = network(inputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(f"it answers with a {type(outputs).__name__}, not with one tensor")
    array: Array = outputs.detach().numpy()
    return array


Run = Callable[[Tensor], Array]


def _torchscript(archive: bytes) -> Run:
    with warnings.catch_warnings(), _told("TorchScript cannot load the archive"):
        # As when it is exported: TorchScript is what is wanted.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        script = torch.jit.load(io.BytesIO(archive))  # type: ignore[no-untyped-call] # PyTorch's own
    return partial(answer, script)


def _onnxruntime(graph: bytes, source: TensorSpec, target: TensorSpec) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # A failure is raised, and told by whoever asked; it need not stand on the screen twice.
    options.log_severity_level = 4
    with _told("ONNX Runtime cannot load the graph"):
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for spec, tensors in ((source, session.get_inputs()), (target, session.get_outputs())):
        shapes = {each.name: [one if isinstance(one, int) else VARIABLE for one in each.shape] for each in tensors}
        # A graph may leave open what the manifest fixes, not the other way round.
        if shapes.keys() != {spec.name} or not fits(spec.shape, shapes[spec.name]):
            raise ParityError(f"the graph has {shapes} where {spec.name} {list(spec.shape)} is announced")

    def run(inputs: Tensor) -> Array:
        (outputs,) = session.run([target.name], {source.name: inputs.numpy()})
        return np.asarray(outputs)

    return run


@contextmanager
def _told(what: str, hint: str = "") -> Iterator[None]:
    """Turn whatever is raised inside into a `ParityError` that begins with these words."""
    try:
        yield
    except Exception as error:
        raise ParityError(f"{what}: {first_line(error)}{hint}") from error


def _refuse_mixed_rows(network: nn.Module, inputs: Tensor, expected: Array) -> None:
    """Raise where the first, the middle or the last row is answered otherwise without its neighbours."""
    size = len(inputs)
    for row in sorted({0, size // 2, size - 1}) if size > 1 else []:
        alone = answer(network, inputs[row : row + 1])
        _difference(
            f"the network's rows influence each other: row {row} of {size} differs from the same row alone",
            alone,
            expected[row : row + 1],
            "; a server answers the rows of many requests together",
        )


def _difference(what: str, actual: Array, expected: Array, place: str) -> float:
    """The largest difference of floats; all else has none. Too large a one is a `ParityError` in these words."""
    if (actual.shape, actual.dtype) != (expected.shape, expected.dtype):
        kinds = (f"{array.dtype} {list(array.shape)}" for array in (actual, expected))
        raise ParityError(f"{what}, {' against '.join(kinds)},{place}")
    if actual.dtype.kind != "f":
        if not np.array_equal(actual, expected):
            raise ParityError(f"{what} in {np.count_nonzero(actual != expected)} values{place}")
        return 0.0
    if actual.dtype == np.float16:
        actual, expected = actual.astype(np.float32), expected.astype(np.float32)
    with np.errstate(invalid="ignore"):
        difference = np.abs(actual - expected)
    # Written so that a difference which is no number fails too.
    if not np.all(difference <= GOLDEN_TOLERANCE * np.maximum(1, np.abs(expected))):
        raise ParityError(f"{what} by {difference.max():.2g}{place}")
    return float(difference.max())
