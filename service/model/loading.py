"""Opens a model for use, in whichever form it lies on disk."""

from dataclasses import dataclass
from pathlib import Path

from service.errors import GraphError
from service.manifest import Golden, ModelManifest
from service.model.graph_file import without_shape
from service.model.plain import describe
from service.model.proof import prove
from service.model.runtime import Arrays, Runtime
from service.model.store import open_version, printable


@dataclass(frozen=True)
class Loaded:
    """A model that can compute."""

    manifest: ModelManifest
    runtime: Runtime
    golden: Golden | None = None
    rows: Arrays | None = None
    """The golden rows' inputs, to which the graph gives the recorded answers."""
    notes: tuple[str, ...] = ()
    """What is to be known of how it is served, if anything is."""


def load(place: Path, name: str, *, provider: str = "cpu", threads: int = 1) -> Loaded:
    """Open a published version's folder, or an ONNX file that is served as `name`.

    Raises the `ModelError` that says why it cannot be served, and `SettingsError` for a provider that is missing.
    """
    if place.is_file():
        runtime = _runtime_of_file(place, provider, threads)
        manifest, notes = describe(runtime, name)
        return Loaded(manifest, runtime, notes=notes)
    stored = open_version(place)
    runtime = Runtime(stored.graph, stored.graph_path, provider=provider, threads=threads)
    return Loaded(stored.manifest, runtime, stored.golden, prove(runtime, stored.manifest, stored.golden))


def _runtime_of_file(file: Path, provider: str, threads: int) -> Runtime:
    where = printable(file)
    if where != str(file):
        raise GraphError(f"{where}: its name is not UTF-8, and onnxruntime opens no such file: give it another name")
    runtime = Runtime(file, where, provider=provider, threads=threads)
    if any(not tensor.shape for tensor in runtime.inputs + runtime.outputs):
        unknown = without_shape(file) & {tensor.name for tensor in runtime.inputs + runtime.outputs if not tensor.shape}
        if unknown:
            names = ", ".join(map(repr, sorted(unknown)))
            raise GraphError(f"{where}: it does not say how many dimensions {names} has: export it with its shapes")
    return runtime
