"""The way of a network that was trained elsewhere to a version that can be served."""

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from service.manifest import GOLDEN_FILE, ONNX_FILE, TORCHSCRIPT_FILE, Kind, ModelManifest, TensorSpec
from training.describe import with_ranges
from training.export import export
from training.publish import publish
from training.verify import golden, uniform, verify


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
    """Export, verify and publish a finished network, and return its manifest.

    `rows`, two or more, are typical inputs: the golden rows are taken from them, and their range is what the
    features are said to have been trained on. `source` and `target` describe the network's one input and output.
    Raises `ParityError` where the exported models do not compute what the network computes, and `PublishError`
    where the version is published with other bytes already.
    """
    network.eval()
    exported = export(network, rows, source, target)
    manifest = ModelManifest(
        schema=1,
        name=name,
        version=version,
        kind=kind,
        description=description,
        inputs=(with_ranges(source, rows),),
        outputs=(target,),
        parity=verify(network, exported, source, target, partial(uniform, rows)),
    )
    answers = golden(network, source, target, rows).render()
    files = {ONNX_FILE: exported.onnx, TORCHSCRIPT_FILE: exported.torchscript, GOLDEN_FILE: answers}
    publish(root, manifest, files, replace=replace)
    return manifest
