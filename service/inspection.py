"""What a model offers and whether it is sound, as text that a person reads at a glance."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.config import Settings
from service.errors import ForwardpassError
from service.manifest import VARIABLE, ModelManifest, TensorSpec
from service.model.plan import Plan
from service.model.store import find_models, printable
from service.served import prepare

_NAMES_SHOWN = 6


class Finding(NamedTuple):
    """What was found out about one model."""

    text: str
    sound: bool


def inspect(settings: Settings) -> list[Finding]:
    """Look at an ONNX file, a version, a model or a folder of models, opened and tried as the server does it.

    Raises `ModelError` where there is nothing of the kind where the settings say.
    """
    return [
        _inspect(place, name, version, settings)
        for name, versions in find_models(settings.models).items()
        for version, place in versions.items()
    ]


def _inspect(place: Path, name: str, version: int, settings: Settings) -> Finding:
    title = f"{name} version {version}"
    if place.is_file():
        title = f"{printable(Path(place.name))}, an ONNX file without a manifest, served as {title}"
    try:
        prepared = prepare(place, name, settings)
    except ForwardpassError as error:
        return Finding(f"{title}\n  NOT SOUND  {error.message}", sound=False)
    loaded, decided = prepared.loaded, prepared.plan
    manifest = decided.manifest
    lines = [title, *_tensors(manifest), *_origin(manifest), f"  batches    {_batches(manifest, decided)}"]
    lines += [f"  note       {note}" for note in loaded.notes + decided.notes]
    if loaded.rows is None:
        lines.append("  sound      onnxruntime loads it; no golden rows to compare with")
    else:
        rows = len(loaded.rows[0])
        lines.append(
            f"  sound      {len(manifest.files)} files match their checksums, {rows} golden rows their answers"
        )
    return Finding("\n".join(lines), sound=True)


def _batches(manifest: ModelManifest, decided: Plan) -> str:
    if manifest.batching == "none":
        return "none: each request is a run by itself"
    if decided.max_request is not None:
        return "all rows of one request"
    return "of one row" if decided.max_batch == 1 else f"up to {decided.max_batch} rows, of any requests"


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
        yield f"  figures    {_figures(training.metrics)}; held against: {_figures(training.baseline)}"
    if manifest.parity is not None:
        largest = max(manifest.parity.torchscript, manifest.parity.onnxruntime)
        yield f"  parity     eager, TorchScript and ONNX Runtime differ by at most {largest:.2g}"


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
