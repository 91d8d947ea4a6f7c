"""Whether a training gives again what is published."""

import hashlib
from pathlib import Path

from service.errors import ManifestError
from service.manifest import MANIFEST_FILE, Environment, ModelManifest
from training.describe import environment
from training.errors import DifferenceError
from training.pipeline import Produced
from training.publish import differing, read_version, version_files

IDENTICAL = "identical"
PASSED_AGAIN = "gate passed again"


def check(root: Path, produced: Produced) -> str:
    """Compare a finished training with the version that is published below `root`, and say what that showed.

    In the environment that the published manifest names, every file must have the same bytes. Elsewhere other
    last bits are to be expected: there it is enough that the gate was passed, as it was for whatever is produced,
    and that the published files are those their manifest names; the answer then says what is another here.
    Raises `DifferenceError` with the names of the files.
    """
    name, version = produced.manifest.name, produced.manifest.version
    published = read_version(root / name / str(version))
    if not published:
        raise DifferenceError(f"it is not published in {root}")
    try:
        manifest = ModelManifest.parse(published.get(MANIFEST_FILE, b""), MANIFEST_FILE)
    except ManifestError as error:
        raise DifferenceError(str(error)) from None
    there = manifest.training.environment if manifest.training is not None else None
    here = environment()
    if there != here:
        _refuse(_broken(manifest, published), "it is published with files that its manifest does not name so")
        return f"{PASSED_AGAIN} ({_changes(there, here)})"
    again = version_files(produced.manifest, produced.files)
    _refuse(differing(published, again), "it was trained here to other bytes than are published")
    return IDENTICAL


def _broken(manifest: ModelManifest, files: dict[str, bytes]) -> list[str]:
    """Name the files that are missing, too many or not as the manifest has them."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != MANIFEST_FILE}
    named = {name: entry.sha256 for name, entry in manifest.files.items()}
    return sorted(name for name in sums.keys() | named.keys() if sums.get(name) != named.get(name))


def _refuse(files: list[str], reason: str) -> None:
    if files:
        raise DifferenceError(f"{reason}: {', '.join(files)}")


def _changes(there: Environment | None, here: Environment) -> str:
    """Say in what this machine is another than the one where the published version was trained."""
    if there is None:
        return "the manifest names no environment"
    one, other = _flat(there), _flat(here)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {other.get(name, 'none')}, not {one.get(name, 'none')}" for name in names)


def _flat(environment: Environment) -> dict[str, str]:
    machine = {"CPU": environment.cpu_capability, "threads": str(environment.threads), "Python": environment.python}
    return {**machine, **environment.libraries}
