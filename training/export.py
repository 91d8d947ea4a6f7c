"""A network as files that need none of its Python: TorchScript, ONNX.

Both name nothing of the machine that writes them, and the same network gives the same bytes.
"""

import io
import logging
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass

import onnx
import torch
from google.protobuf.message import Message
from torch import Tensor, nn

from service.manifest import VARIABLE, TensorSpec
from training.errors import ExportError, first_line

BATCH = "batch"
"""What the ONNX graph calls the dimension that each request chooses."""


@dataclass(frozen=True)
class Exported:
    """One network as the contents of model.onnx and model.pt."""

    onnx: bytes
    torchscript: bytes


def export(network: nn.Module, example: Tensor, source: TensorSpec, target: TensorSpec) -> Exported:
    """Export a network in evaluation mode, whose one input and output get their names in the ONNX graph.

    `example` is an input in which every variable dimension of `source` has a length of at least two: from a
    single row the exporter would conclude that one is all. Raises `ExportError` where it cannot be done, or where a
    name of `source` or `target` is another value's inside the graph.
    """
    with _told("ONNX"):
        graph = _onnx(network, example, source, target)
    with _told("TorchScript"):
        archive = _torchscript(network, example)
    return Exported(onnx=graph, torchscript=archive)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever is raised inside into an `ExportError` of one line; the exporter's own cause says most."""
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ExportError(f"the network cannot be exported to {what}: {first_line(cause)}") from error


def _onnx(network: nn.Module, example: Tensor, source: TensorSpec, target: TensorSpec) -> bytes:
    with _silent(), warnings.catch_warnings():
        # It warns of PyTorch's own insides and of their future; whether the graph is right is what verify finds out.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[source.name],
            output_names=[target.name],
            dynamic_shapes=(_free_dimensions(source),),
            external_data=False,
            verbose=False,
        )
    if program is None:  # what the exporter's older way answers
        raise AssertionError
    model = program.model_proto
    _refuse_twins(model.graph)
    _strip_metadata(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what the exporter logs and prints from the screen: of a failure, pages about its own insides."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _refuse_twins(graph: onnx.GraphProto) -> None:
    """A graph in which two values have one name loads nowhere: the exporter renames inputs and outputs unseen."""
    values = [*graph.input, *graph.initializer]
    names = Counter([value.name for value in values] + [name for node in graph.node for name in node.output])
    for name, count in names.items():
        if count > 1:
            raise ExportError(f"{name!r} names two values of the graph: call the input or the output something else")


def _free_dimensions(source: TensorSpec) -> dict[int, object]:
    """What the exporter must leave open. A recurrent network's length cannot be named, only left to be found out."""
    variable = [axis for axis, length in enumerate(source.shape) if length == VARIABLE]
    if variable == [0]:
        return {0: BATCH}
    return {axis: torch.export.Dim.DYNAMIC if axis == 0 else torch.export.Dim.AUTO for axis in variable}


def _strip_metadata(message: Message) -> None:
    """Clear the notes in a protobuf message and in all within it: the exporter writes source paths there."""
    for field, value in message.ListFields():
        if field.name in {"metadata_props", "doc_string"}:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for child in value if field.is_repeated else [value]:
                _strip_metadata(child)


def _torchscript(network: nn.Module, example: Tensor) -> bytes:
    with warnings.catch_warnings():
        # TorchScript is what is wanted: one file that C++ and Python load without the network's source.
        # What it says of the checks inside a recurrent layer is answered by verify too.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", r"Converting a tensor to a Python boolean might cause the trace")
        # A process's first class of a name keeps it, later ones are numbered. Traced twice, all are numbered.
        torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call] # PyTorch's own
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call] # the same
        archive = io.BytesIO()
        torch.jit.save(traced, archive)
    return _normalise(archive.getvalue())


_NUMBER = re.compile(rb"(?<=___torch_mangle_)\d+")
_OF_THE_MACHINE = re.compile(r"\.debug_pkl$|/\.data/serialization_id$")
"""Source paths for error messages, and a hash over all entries."""


def _normalise(archive: bytes) -> bytes:
    """Drop from a TorchScript archive what differs from machine to machine, or from call to call."""
    numbers: dict[bytes, bytes] = {}

    def renumber(content: bytes) -> bytes:
        """Count classes from 0 in the order of the archive, not from what the process has traced before."""
        return _NUMBER.sub(lambda match: numbers.setdefault(match[0], str(len(numbers)).encode()), content)

    normalised = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(normalised, "w") as target:
        for name in source.namelist():
            if _OF_THE_MACHINE.search(name):
                continue
            content = source.read(name)
            if name.endswith((".py", ".pkl")):
                content = renumber(content)
            # Entries made by name only would carry the time of day.
            entry = zipfile.ZipInfo(renumber(name.encode()).decode(), date_time=(1980, 1, 1, 0, 0, 0))
            target.writestr(entry, content)
    return normalised.getvalue()
