"""A model's folder, opened: a checked manifest and the bytes it vouches for."""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from service.errors import ChecksumError, ManifestError, ModelError
from service.manifest import GOLDEN_FILE, MANIFEST_FILE, ONNX_FILE, Golden, ModelManifest, is_model_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredVersion:
    """One version whose files are those its manifest describes."""

    folder: Path
    manifest: ModelManifest
    graph: bytes
    """The ONNX file: the very bytes that were checked, so that no later change of the file matters."""
    golden: Golden

    @property
    def graph_path(self) -> str:
        """Where the ONNX file lies, for whoever has to name it."""
        return str(self.folder / ONNX_FILE)


def find_versions(root: Path) -> dict[str, list[int]]:
    """The versions that lie in `root`, by model name, ascending; other folders and files are passed over.

    A folder that cannot be looked into is logged. Raises `ModelError` where `root` itself cannot be.
    """
    found: dict[str, list[int]] = {}
    for model in sorted(_folders(root)):
        if is_model_name(model.name):
            try:
                versions = [int(version.name) for version in _folders(model) if _is_version(version.name)]
            except ModelError as error:
                logger.warning("%s", error)
                continue
            if versions:
                found[model.name] = sorted(versions)
    return found


def absolute(path: Path) -> Path:
    """The path from the root, without `..` and with its links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # `Path.resolve` follows links


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise ModelError(f"{folder}: it cannot be looked into: {error.strerror}") from None


def is_version_folder(folder: Path) -> bool:
    """Whether the folder claims to be a version: it holds a manifest."""
    return (folder / MANIFEST_FILE).exists()


def open_version(folder: Path) -> StoredVersion:
    """Read the version in `<models>/<name>/<version>/`, every file checked.

    Raises `ManifestError` for a manifest that is missing or not that of this folder, `ChecksumError` for a file
    that is missing, leads out of the folder, or is not the one described.
    """
    manifest = ModelManifest.parse(_read(folder, MANIFEST_FILE), str(folder / MANIFEST_FILE))
    # The folder's own name, also where it is a link to another version.
    place = "/".join(absolute(folder).parts[-2:])
    if place != f"{manifest.name}/{manifest.version}":
        claim = f"{manifest.name}/{manifest.version}"
        raise ManifestError(f"{folder / MANIFEST_FILE}: it describes {claim}, but lies in {place}")
    for name in (ONNX_FILE, GOLDEN_FILE):
        if name not in manifest.files:
            raise ManifestError(f"{folder / MANIFEST_FILE}: files: {name} is missing")
    contents: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        content = _read(folder, name)
        digest = hashlib.sha256(content).hexdigest()
        if (len(content), digest) != (entry.bytes, entry.sha256):
            actual = f"{len(content)} bytes with SHA-256 {digest[:12]}…"
            expected = f"{entry.bytes} bytes with {entry.sha256[:12]}…"
            raise ChecksumError(
                f"{folder / name}: it has {actual}, but the manifest says {expected}: publish the version again"
            )
        if name in (ONNX_FILE, GOLDEN_FILE):
            contents[name] = content
    golden = Golden.parse(contents[GOLDEN_FILE], str(folder / GOLDEN_FILE))
    return StoredVersion(folder, manifest, contents[ONNX_FILE], golden)


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    fault = ManifestError if name == MANIFEST_FILE else ChecksumError
    # `Path.resolve` raises where links lead in a circle; this leaves them to be found when the file is read.
    if Path(os.path.realpath(path)).parent != folder.resolve():
        raise fault(f"{path}: it is a link that leads out of the version's folder")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise fault(f"{path}: there is no such file") from None
    except OSError as error:
        raise fault(f"{path}: it cannot be read: {error.strerror}") from None


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and not name.startswith("0")
