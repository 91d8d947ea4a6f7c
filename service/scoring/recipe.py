"""What a process must know to score blocks, in a form that can be sent to another."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from service.errors import ScoreError
from service.manifest import ModelManifest
from service.model.loading import load
from service.model.runtime import Runtime
from service.scoring.layout import Layout
from service.scoring.scorer import OnError, Scorer


@dataclass(frozen=True)
class Recipe:
    """A model as it was opened and tried once, and how the rows of the files are made its inputs."""

    place: Path
    """The published version's folder, or an ONNX file."""
    name: str
    provider: str
    threads: int
    """How many threads a run may use."""
    manifest: ModelManifest
    max_batch: int
    """Most rows of a run, as the trial has found."""
    layout: Layout
    there: pa.Schema
    """The columns of the files."""
    on_error: OnError

    def scorer(self, runtime: Runtime) -> Scorer:
        """A scorer on the model, which is open already."""
        return Scorer(runtime, self.manifest, self.max_batch, self.layout, self.there, self.on_error)

    def open(self) -> Scorer:
        """A scorer of its own, on a session of its own.

        Raises the `ModelError` that says why the model cannot be served here, `SettingsError` for a provider that is
        missing, and `ScoreError` where another model lies here than where the recipe was made.
        """
        loaded = load(self.place, self.name, provider=self.provider, threads=self.threads)
        if loaded.manifest != self.manifest:
            raise ScoreError(f"{self.place}: another {self.name} lies here than where the scoring was begun")
        return self.scorer(loaded.runtime)
