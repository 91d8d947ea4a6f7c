"""Whether exported models compute what the network computes."""

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.manifest import GOLDEN_TOLERANCE, Golden, Parity, TensorSpec
from training.errors import ParityError
from training.export import Exported
from training.loop import THREADS

# Without it, onnxruntime's wheels report home; it looks once, when imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

Examples = Callable[[int, torch.Generator], Iterator[Tensor]]
"""Gives inputs of so many rows, one or several, on which models are compared."""

BATCH_SIZES = (1, 7, 256)
"""A single row, an odd number of them, the largest batch that the service forms by default."""
GOLDEN_ROWS = 6


def verify(
    network: nn.Module, exported: Exported, source: TensorSpec, target: TensorSpec, examples: Examples
) -> Parity:
    """Compare TorchScript and ONNX Runtime with eager PyTorch at each of `BATCH_SIZES`.

    `source` and `target` are the input and output that the manifest announces. Raises `ParityError` where the
    network's outputs do not have the announced shape, or where an exported model does not load, fails, or differs
    from them by more than the tolerance.
    """
    runtimes = {
        "TorchScript": _torchscript(exported.torchscript),
        "ONNX Runtime": _onnxruntime(exported.onnx, source, target),
    }
    generator = torch.Generator().manual_seed(0)
    largest = dict.fromkeys(runtimes, 0.0)
    for size in BATCH_SIZES:
        for inputs in examples(size, generator):
            expected = answer(network, inputs)
            if expected.shape != (size, *target.row_shape):
                shapes = f"{expected.shape[1:]} a row, not {target.row_shape}"
                raise ParityError(f"{target.name} has shape {shapes}")
            for name, run in runtimes.items():
                with _told(f"{name} fails at {size} rows"):
                    actual = run(inputs)
                largest[name] = max(largest[name], _difference(name, actual, expected))
    return Parity(batch_sizes=BATCH_SIZES, torchscript=largest["TorchScript"], onnxruntime=largest["ONNX Runtime"])


def golden(network: nn.Module, source: TensorSpec, target: TensorSpec, rows: Tensor) -> Golden:
    """Take the first of `rows`, at most `GOLDEN_ROWS`, with what eager PyTorch answers."""
    inputs = rows[:GOLDEN_ROWS]
    return Golden(inputs={source.name: inputs.tolist()}, outputs={target.name: answer(network, inputs).tolist()})


def answer(network: nn.Module, inputs: Tensor) -> NDArray[np.float32]:
    """Run a network in evaluation mode on these rows."""
    with torch.no_grad():
        outputs: NDArray[np.float32] = network(inputs).numpy()
    return outputs


Run = Callable[[Tensor], NDArray[np.float32]]


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

    def run(inputs: Tensor) -> NDArray[np.float32]:
        (outputs,) = session.run([target.name], {source.name: inputs.numpy()})
        return np.asarray(outputs)

    return run


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into a `ParityError` that begins with these words."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ParityError(f"{what}: {reason}") from error


def uniform(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw inputs uniformly from the range that each column of `rows` spans."""
    lowest, highest = rows.amin(dim=0), rows.amax(dim=0)
    yield lowest + (highest - lowest) * torch.rand(size, *lowest.shape, generator=generator)


def _difference(runtime: str, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if actual.shape != expected.shape:
        raise ParityError(f"{runtime} answers with shape {actual.shape}, the network with {expected.shape}")
    difference = np.abs(actual - expected)
    # Written so that a difference which is no number fails too.
    if not np.all(difference <= GOLDEN_TOLERANCE * np.maximum(1, np.abs(expected))):
        raise ParityError(f"{runtime} differs from the network by {difference.max():.2g} at {len(expected)} rows")
    return float(difference.max())
