"""Where models lie on disk, and a published version, opened: a checked manifest and the bytes it vouches for."""

import hashlib
import logging
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from service.errors import ChecksumError, ManifestError, ModelError
from service.manifest import GOLDEN_FILE, MANIFEST_FILE, ONNX_FILE, FileEntry, Golden, ModelManifest, is_model_name
from service.model.sealed import Sealed, sealed

logger = logging.getLogger(__name__)

_MOST_OF_MANIFEST = 64 * 1024 * 1024
"""Bytes of a manifest; the longest vocabulary needs far fewer."""
_PART = 4 * 1024 * 1024
"""Bytes that are read at a time: so few that the memory for them is given back in no time."""

Say = Callable[[str], object]
"""Takes a sentence on something that is left out."""


@dataclass(frozen=True)
class StoredVersion:
    """One version whose files are those its manifest describes."""

    folder: Path
    manifest: ModelManifest
    graph: Sealed | bytes
    """The ONNX file: the very bytes that were checked, so that no later change of the file matters."""
    golden: Golden

    @property
    def graph_path(self) -> str:
        """Where the ONNX file lies, for whoever has to name it."""
        return str(self.folder / ONNX_FILE)


def find_models(path: Path, say: Say = logger.warning) -> dict[str, dict[int, Path]]:
    """Where the versions lie that `path` holds, by model name and, ascending, by number.

    `path` is an ONNX file, a folder of published models or of ONNX files or of both, one model's folder, or one
    version's. An ONNX file is version 1 of the model that its name tells. What cannot be looked into, or cannot be
    told from another, is left out, which `say` is told. Raises `ModelError` where there is nothing of the kind.
    """
    if os.path.isfile(path):  # noqa: PTH113  # false, not an error, for a name that is too long
        name = model_name(path.stem)
        if name is None:
            raise ModelError(f"{path}: no model can be called {path.stem!r}: give the file another name")
        return {name: {1: path}}
    if not os.path.isdir(path):  # noqa: PTH112  # the same
        raise ModelError(f"{path}: there is no such file or folder")
    whole = absolute(path)
    if os.path.exists(path / MANIFEST_FILE):  # noqa: PTH110  # false, not an error, for a folder that is closed
        # It claims to be a version. Whether these are its own name and number is found when it is opened.
        return {whole.parent.name: {int(whole.name) if _is_version(whole.name) else 1: path}}
    folders, files = _inside(path, say)
    found = _published(folders, say)
    for file in files:
        # Hidden ones are leftovers of other programs.
        if file.suffix == ".onnx" and not file.name.startswith("."):
            _add_file(found, file, say)
    if not found and is_model_name(whole.name):
        found = _published([whole], say)
    if not found:
        raise ModelError(f"{path}: expected an ONNX file, or a folder of them or of versions, <name>/<version>/")
    return dict(sorted(found.items()))


def model_name(stem: str) -> str | None:
    """What the model of a file is called: the file's name with each other character as `_`; None if it cannot be."""
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"^[^A-Za-z0-9_]+|[^A-Za-z0-9_.-]+", "_", plain)[:128]
    return name if is_model_name(name) else None


def _published(models: Iterable[Path], say: Say) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = {}
    for model in models:
        if is_model_name(model.name):
            try:
                versions = {int(one.name): one for one in _inside(model, say)[0] if _is_version(one.name)}
            except ModelError as error:
                say(error.message)
                continue
            if versions:
                found[model.name] = dict(sorted(versions.items()))
    return found


def _add_file(found: dict[str, dict[int, Path]], file: Path, say: Say) -> None:
    name = model_name(file.stem)
    if name is None:
        say(f"{printable(file)} is not served: no model can be called {file.stem!r}: give it another name")
    elif name in found:
        other = printable(next(iter(found[name].values())))
        say(f"{printable(file)} is not served: {other} is a model called {name} already")
    else:
        found[name] = {1: file}


def printable(path: Path) -> str:
    """The path as text, with an escape for each byte that is no UTF-8, which a name may have on Linux."""
    return os.fsencode(path).decode(errors="backslashreplace")


def absolute(path: Path) -> Path:
    """The path from the root, without `..` and with its links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # `Path.resolve` follows links


def _inside(folder: Path, say: Say) -> tuple[list[Path], list[Path]]:
    """The folders and the files in a folder, by name."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"{printable(folder)}: it cannot be looked into: {error.strerror}") from None
    folders: list[Path] = []
    files: list[Path] = []
    for entry in entries:
        try:
            if entry.is_dir():
                folders.append(entry)
            elif entry.is_file():
                files.append(entry)
        except OSError as error:
            say(f"{printable(entry)} is not served: it cannot be looked into: {error.strerror}")
    return folders, files


def open_version(folder: Path) -> StoredVersion:
    """Read the version in `<models>/<name>/<version>/`, every file checked.

    Raises `ManifestError` for a manifest that is missing or not that of this folder, `ChecksumError` for a file
    that is missing, leads out of the folder, or is not the one described.
    """
    manifest = ModelManifest.parse(read_manifest(folder), str(folder / MANIFEST_FILE))
    # The folder's own name, also where it is a link to another version.
    place = "/".join(absolute(folder).parts[-2:])
    if place != f"{manifest.name}/{manifest.version}":
        claim = f"{manifest.name}/{manifest.version}"
        raise ManifestError(f"{folder / MANIFEST_FILE}: it describes {claim}, but lies in {place}")
    for name in (ONNX_FILE, GOLDEN_FILE):
        if name not in manifest.files:
            raise ManifestError(f"{folder / MANIFEST_FILE}: files: {name} is missing")
    files = {name: _checked(folder, name, entry) for name, entry in manifest.files.items()}
    # The largest comes last, so that the memory that it takes is held no longer than it must.
    graph, golden = files.pop(ONNX_FILE), files.pop(GOLDEN_FILE)
    for _ in chain.from_iterable(files.values()):
        pass  # Of the others nothing is needed but that they are what was published.
    rows = Golden.parse(b"".join(golden), str(folder / GOLDEN_FILE))
    return StoredVersion(folder, manifest, sealed(graph), rows)


def read_manifest(folder: Path) -> bytes:
    """The manifest of the version in a folder, unread; raises `ManifestError` where nobody could read it."""
    return b"".join(_parts(folder, MANIFEST_FILE, _MOST_OF_MANIFEST))


def _checked(folder: Path, name: str, entry: FileEntry) -> Iterator[bytes]:
    """A file's bytes, in parts; raises `ChecksumError` in place of the end where they are not those described."""
    size, digest = 0, hashlib.sha256()
    for part in _parts(folder, name, entry.bytes):
        size += len(part)
        digest.update(part)
        yield part
    if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
        actual = f"{size} bytes with SHA-256 {digest.hexdigest()[:12]}…"
        expected = f"{entry.bytes} bytes with {entry.sha256[:12]}…"
        raise ChecksumError(
            f"{folder / name}: it has {actual}, but the manifest says {expected}: publish the version again"
        )


def _parts(folder: Path, name: str, most: int) -> Iterator[bytes]:
    path = folder / name
    fault = ManifestError if name == MANIFEST_FILE else ChecksumError
    # `Path.resolve` raises where links lead in a circle; this leaves them to be found when the file is read.
    if Path(os.path.realpath(path)).parent != folder.resolve():
        raise fault(f"{path}: it is a link that leads out of the version's folder")
    try:
        entry = path.stat()
        if not stat.S_ISREG(entry.st_mode):
            # Whoever reads a pipe waits for somebody to write into it, and of a device there may be no end.
            raise fault(f"{path}: it is no file")
        if entry.st_size > most:
            raise fault(f"{path}: it has {entry.st_size} bytes, more than the {most} that are expected")
        with path.open("rb", buffering=0) as file:
            # No more than it has: all that is asked for is taken from memory before it is read.
            while part := file.read(min(_PART, entry.st_size + 1)):
                yield part
    except FileNotFoundError:
        raise fault(f"{path}: there is no such file") from None
    except OSError as error:
        raise fault(f"{path}: it cannot be read: {error.strerror}") from None


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and not name.startswith("0")
