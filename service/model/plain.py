"""What an ONNX file is served as that has no manifest: its own names, datatypes and shapes, in batches or not."""

import json
from collections.abc import Iterable, Sequence

from service.errors import ComputeError, ManifestError
from service.manifest import VARIABLE, ModelManifest
from service.model.runtime import Runtime, Tensor
from service.model.sample import first_rows, sample_of

_WAY_OUT = 'export it free, with dynamic_shapes=({0: "batch"},) of torch.onnx.export'
# How tf2onnx calls a length of which it knows no name.
_NAMELESS = "unk__"


def describe(runtime: Runtime, name: str) -> tuple[ModelManifest, tuple[str, ...]]:
    """The manifest of a graph, and what its operator should know of how it is served.

    A graph has batches where the first length of every tensor is free, is called the same where it is called
    anything, and gives a row for each of two. Where that length is 1 throughout, its rows are computed one by one.
    Any other graph takes requests whole. Raises `ManifestError` where no manifest can say what the graph has.
    """
    if not runtime.inputs:
        raise ManifestError(f"{runtime.where}: the graph has no inputs, so there is nothing to ask it")
    by_row = _is_one(runtime.inputs) and all(_first(tensor) in (None, 1) for tensor in runtime.outputs)
    obstacle = "" if by_row else _obstacle(runtime.inputs + runtime.outputs)
    if not obstacle:
        manifest = _manifest(runtime, name, batching="rows", max_batch=1 if by_row else None)
        obstacle = _tried(runtime, manifest, 1 if by_row else 2)
    if obstacle:
        return _manifest(runtime, name, batching="none"), (f"{obstacle}, so each request is a run by itself",)
    if by_row:
        return manifest, (f"its batch dimension is fixed at 1, so it is served one row at a time: {_WAY_OUT}",)
    return manifest, ()


def _obstacle(tensors: Sequence[Tensor]) -> str:
    """What the graph declares that keeps it from taking batches; empty where nothing does."""
    scalars = [tensor.name for tensor in tensors if not tensor.shape]
    if scalars:
        return f"{_names(scalars)} has no dimension, so no batch"
    fixed = [tensor for tensor in tensors if _first(tensor) is not None]
    if fixed:
        length = _first(fixed[0])
        return f"the first dimension of {_names([fixed[0].name])} is fixed at {length} (if it is a batch, {_WAY_OUT})"
    symbols = sorted({tensor.shape[0] for tensor in tensors if isinstance(tensor.shape[0], str)})
    named = [symbol for symbol in symbols if not str(symbol).startswith(_NAMELESS)]
    return f"its first dimensions are different lengths, {_names(named)}" if len(named) > 1 else ""


def _tried(runtime: Runtime, manifest: ModelManifest, most: int) -> str:
    """What a trial shows that keeps the graph from taking batches of up to `most` rows."""
    sample = sample_of(runtime, manifest, None)
    if sample is None:
        return "it fails on rows of zeros"
    try:
        for rows in range(1, most + 1):
            runtime.run_batch(first_rows(sample, rows))
    except ComputeError as error:
        return f"it takes no batches ({error.message})"
    return ""


def _manifest(runtime: Runtime, name: str, **how: object) -> ModelManifest:
    content = {
        "schema": 1,
        "name": name,
        "version": 1,
        "kind": "tensors",
        "inputs": [_spec(tensor, how["batching"]) for tensor in runtime.inputs],
        "outputs": [_spec(tensor, how["batching"]) for tensor in runtime.outputs],
    }
    return ModelManifest.parse(json.dumps(content | how).encode(), runtime.where)


def _spec(tensor: Tensor, batching: object) -> dict[str, object]:
    shape = [length if isinstance(length, int) else VARIABLE for length in tensor.shape]
    if batching == "rows":
        shape[0] = VARIABLE
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": shape}


def _first(tensor: Tensor) -> int | None:
    """The first length, where it is fixed."""
    length = tensor.shape[0] if tensor.shape else 0
    return length if isinstance(length, int) else None


def _is_one(tensors: Iterable[Tensor]) -> bool:
    return all(_first(tensor) == 1 for tensor in tensors)


def _names(names: Iterable[object]) -> str:
    return ", ".join(repr(name) for name in names)
