"""What a model offers and whether it is sound, as text that a person reads at a glance."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.errors import ForwardpassError, GraphError, ModelError
from service.manifest import VARIABLE, ModelManifest, TensorSpec
from service.runtime import Runtime, describe
from service.store import absolute, find_versions, is_version_folder, open_version

_NAMES_SHOWN = 6
_LARGEST_BATCH = 256


class Finding(NamedTuple):
    """What was found out about one model."""

    text: str
    sound: bool


def inspect(path: Path) -> list[Finding]:
    """Look at an ONNX file, a version, a model or a folder of models; the runtime's own check is part of it.

    Raises `ModelError` where there is nothing of the kind at `path`.
    """
    if os.path.isfile(path):  # noqa: PTH113  # false, not an error, for a name that is too long
        return [_inspect_graph(path)]
    if os.path.isdir(path):  # noqa: PTH112  # the same
        if is_version_folder(path):
            return [_inspect_version(path)]
        whole = absolute(path)
        models = find_versions(path)
        folders = [path / name / str(version) for name, versions in models.items() for version in versions]
        folders = folders or [path / str(version) for version in find_versions(whole.parent).get(whole.name, [])]
        if folders:
            return [_inspect_version(folder) for folder in folders]
    raise ModelError(f"{path}: expected an ONNX file, or a folder with versions, <name>/<version>/manifest.json")


def _inspect_version(folder: Path) -> Finding:
    title = " version ".join(absolute(folder).parts[-2:])
    try:
        stored = open_version(folder)
        runtime = Runtime(stored.graph, stored.manifest, stored.golden, stored.graph_path)
        notes = _batch_notes(runtime)
    except ForwardpassError as error:
        return Finding(f"{title}\n  NOT SOUND  {error.message}", sound=False)
    manifest = stored.manifest
    rows = len(stored.golden.inputs[manifest.inputs[0].name])
    lines = [title, *_tensors(manifest), *_origin(manifest)]
    lines += [f"  note       {note}" for note in notes]
    lines.append(f"  sound      {len(manifest.files)} files match their checksums, {rows} golden rows their answers")
    return Finding("\n".join(lines), sound=True)


def _batch_notes(runtime: Runtime) -> list[str]:
    """What is to be known of the model's batches, if anything is."""
    try:
        apart = runtime.keeps_rows_apart(_LARGEST_BATCH)
    except GraphError as error:
        return [f"it takes no batch of any size: {error.message}"]
    return [] if apart else ["in a batch its answers differ in their last digits, so it is computed row by row"]


def _inspect_graph(path: Path) -> Finding:
    title = f"{path.name}, an ONNX file without a manifest"
    try:
        graph = path.read_bytes()
        manifest = describe(graph, "graph", str(path))
        Runtime(graph, manifest, None, str(path))
    except ForwardpassError as error:
        return Finding(f"{title}\n  NOT SOUND  {error.message}", sound=False)
    except OSError as error:
        return Finding(f"{title}\n  NOT SOUND  it cannot be read: {error.strerror}", sound=False)
    lines = [title, *_tensors(manifest)]
    lines += [f"  note       {note}" for note in _notes(manifest)]
    lines.append("  sound      onnxruntime loads it; no golden rows to compare with")
    return Finding("\n".join(lines), sound=True)


def _tensors(manifest: ModelManifest) -> Iterator[str]:
    if manifest.description:
        yield f"  {manifest.description}"
    for role, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            yield f"  {role:<10} {spec.name}  {spec.datatype} {_shape(spec)}{_named(spec)}"


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("any" if length == VARIABLE else str(length) for length in spec.shape) + "]"


def _named(spec: TensorSpec) -> str:
    names = [feature.name for feature in spec.features or ()] or list(spec.labels or spec.vocabulary or ())
    more = len(names) - _NAMES_SHOWN
    return "  " + ", ".join(names[:_NAMES_SHOWN]) + (f", … {more} more" if more > 0 else "") if names else ""


def _origin(manifest: ModelManifest) -> Iterator[str]:
    if manifest.training is not None:
        training = manifest.training
        yield f"  trained    {training.source}; seed {training.seed}"
        yield f"  figures    {_figures(training.metrics)}; to beat: {_figures(training.baseline)}"
    if manifest.parity is not None:
        largest = max(manifest.parity.torchscript, manifest.parity.onnxruntime)
        yield f"  parity     eager, TorchScript and ONNX Runtime differ by at most {largest:.2g}"


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _notes(manifest: ModelManifest) -> Iterator[str]:
    first = manifest.inputs[0]
    if first.shape[0] != VARIABLE:
        yield (
            f"the batch dimension is fixed at {first.shape[0]}, so requests cannot be batched: export it free, "
            'with dynamic_shapes=({0: "batch"},) of torch.onnx.export'
        )
