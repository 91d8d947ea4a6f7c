"""A model that is published again and again: under a new number, and then with another manifest under the same one."""

import shutil
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.stats import samples
from benchmarks.workloads import CLASSIFIER
from service.manifest import MANIFEST_FILE, ModelManifest
from training.publish import publish, read_version

_FILES = ("model.onnx", "golden.json")


class Publisher:
    """Publishes the classifier into a copy of the committed models, as training does."""

    def __init__(self, root: Path) -> None:
        shutil.copytree(ROOT / "models", root)
        self._root = root
        self._version = max(int(path.name) for path in (root / CLASSIFIER).iterdir())
        contents = read_version(root / CLASSIFIER / str(self._version))
        self._files = {name: contents[name] or b"" for name in _FILES}
        self._manifest = ModelManifest.parse(contents[MANIFEST_FILE] or b"", MANIFEST_FILE)
        self._published = 0

    def publish(self) -> None:
        """Publish it once more: a new version, and every other time another one in the place of that."""
        self._published += 1
        self._version += not self._is_exchanged
        note = f"Published {self._published} times."
        manifest = self._manifest.model_copy(update={"version": self._version, "description": note})
        publish(self._root, manifest, self._files, replace=self._is_exchanged)

    def is_served(self, port: int) -> bool:
        """Whether a server has loaded what was published last; raises `RuntimeError` where it could not."""
        version = {"model": CLASSIFIER, "version": str(self._version)}
        loads = samples(port, "forwardpass_model_loads_total", **version)
        counts = {sample.labels["outcome"]: sample.value for sample in loads}
        if counts.get("failed"):
            raise RuntimeError("the server could not load a version that was published")
        return counts.get("ok", 0) == 1 + self._is_exchanged

    @property
    def _is_exchanged(self) -> bool:
        return self._published % 2 == 0
