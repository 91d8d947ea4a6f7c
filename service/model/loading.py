"""Opens a model for use, in whichever form it lies on disk."""

from dataclasses import dataclass
from pathlib import Path

from service.manifest import Golden, ModelManifest
from service.model.plain import describe
from service.model.proof import prove
from service.model.runtime import Arrays, Runtime
from service.model.store import open_version


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
        runtime = Runtime(place, str(place), provider=provider, threads=threads)
        manifest, notes = describe(runtime, name)
        return Loaded(manifest, runtime, notes=notes)
    stored = open_version(place)
    runtime = Runtime(stored.graph, stored.graph_path, provider=provider, threads=threads)
    return Loaded(stored.manifest, runtime, stored.golden, prove(runtime, stored.manifest, stored.golden))
