"""What tells whether a version on disk is another one than it was, without opening it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from service.errors import ManifestError
from service.model.graph_file import files_beside
from service.model.store import read_manifest


class Imprint(NamedTuple):
    """How a version lay on disk at one moment."""

    content: str
    """The SHA-256 of its manifest, which names all else by hash; of an ONNX file alone, and where no manifest can be
    read, as much as `state`."""
    state: str
    """Another one whenever any of its files is: what could not be served is worth another try then."""


def imprint(place: Path) -> Imprint:
    """How the version in this folder, or the ONNX file, lies there now; it raises nothing."""
    try:
        if not place.is_dir():
            state = " ".join(_state(path) for path in (place, *files_beside(place).values()))
            return Imprint(state, state)
        state = " ".join([_state(place), *(_state(entry) for entry in sorted(place.iterdir()))])
    except OSError as error:
        # An error is a state too: the same one is not tried again.
        missing = f"{error.filename}: {error.strerror}"
        return Imprint(missing, missing)
    try:
        return Imprint(hashlib.sha256(read_manifest(place)).hexdigest(), state)
    except ManifestError:
        return Imprint(state, state)


def is_gone(place: Path) -> bool:
    """Whether nothing lies there any more; what only cannot be looked at is not gone."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def _state(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        # A link that leads nowhere, for one.
        return f"{path.name!r}: {error.strerror}"
    # Whoever writes a file anew can give it its old time, as `cp --preserve` does, but not that of this change.
    return f"{path.name!r}: {stat.st_ino} {stat.st_mode} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
