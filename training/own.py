"""The way of a network that was trained elsewhere to a version that can be served."""

from functools import partial
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from service.manifest import GOLDEN_FILE, ONNX_FILE, TORCHSCRIPT_FILE, VARIABLE, Kind, ModelManifest, TensorSpec
from training.describe import with_ranges
from training.draw import drawn
from training.errors import DataError, PublishError
from training.export import export
from training.publish import named, publish
from training.verify import DATATYPES, announced_answer, fits, golden, replay, verify

LEAST = 2
"""Rows, and lengths of other open dimensions: from one, the exporter would conclude that one is all."""


def publish_network(  # noqa: PLR0913  # what the manifest says, each with its own name
    network: nn.Module,
    rows: Tensor,
    *,
    name: str,
    version: int = 1,
    kind: Kind = "regression",
    description: str = "",
    source: TensorSpec,
    target: TensorSpec,
    root: Path = Path("models"),
    replace: bool = False,
) -> ModelManifest:
    """Export, verify and publish a finished network, and return the manifest that is published.

    `rows`, two or more, are typical inputs: the golden rows are taken from them, and their range is what the
    features are said to have been trained on. `source` and `target` describe the network's one input and output.
    Raises `DataError` where the rows are not those that `source` announces, `ExportError` where the network cannot
    be exported, `ParityError` where it does not compute what `target` announces, answers a row alone otherwise than
    among others, or is not computed by what was exported, and `PublishError` where there can be no such version or
    it is published with other bytes already.
    """
    network.eval()
    rows = _typical(rows, source)
    try:
        manifest = ModelManifest(
            schema=1,
            name=name,
            version=version,
            kind=kind,
            description=description,
            inputs=(with_ranges(source, rows),),
            outputs=(target,),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "/".join(map(str, first["loc"]))
        fault = f"{place}: {first['msg']}" if place else first["msg"]
        raise PublishError(f"{name} version {version} cannot be: {fault}") from error
    announced_answer(network, rows, target)
    exported = export(network, rows, source, target)
    parity = verify(network, exported, source, target, partial(drawn, source, rows))
    answers = golden(network, source, target, rows)
    replay(exported.onnx, source, target, answers)
    manifest = manifest.model_copy(update={"parity": parity})
    files = {ONNX_FILE: exported.onnx, TORCHSCRIPT_FILE: exported.torchscript, GOLDEN_FILE: answers.render()}
    publish(root, manifest, files, replace=replace)
    return named(manifest, files)


def _typical(rows: object, source: TensorSpec) -> Tensor:
    """The rows as they can be exported with, or a `DataError` that says why they cannot."""
    if not isinstance(rows, Tensor):
        raise DataError(f"the rows are a {type(rows).__name__}; torch.as_tensor makes a tensor of it")
    datatype = DATATYPES.get(rows.dtype)
    if datatype is None:
        raise DataError(f"the rows are {rows.dtype}, which no model here can take: convert rows and network")
    shape, announced = list(rows.shape), list(source.shape)
    if datatype != source.datatype or not fits(shape, announced):
        raise DataError(f"the rows are {datatype} {shape}; {source.name} is announced as {source.datatype} {announced}")
    if any(length < LEAST for length, wanted in zip(shape, announced, strict=True) if wanted == VARIABLE):
        raise DataError(f"the rows have shape {shape}; where -1 is announced, {LEAST} or more are needed")
    if not torch.isfinite(rows).all():
        raise DataError("the rows are not all finite: NaN and infinity have no range, and no known answer")
    return rows.detach()
