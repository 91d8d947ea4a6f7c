"""Whether a training gives again what is published."""

import hashlib
from pathlib import Path

from service.errors import ManifestError
from service.manifest import GOLDEN_FILE, MANIFEST_FILE, ONNX_FILE, Environment, Golden, ModelManifest
from training.card import CARD_FILE, results
from training.describe import environment
from training.errors import DifferenceError, ParityError, PublishError
from training.pipeline import Produced
from training.publish import Contents, differing, read_version, version_files
from training.verify import replay

IDENTICAL = "identical"
PASSED_AGAIN = "gate passed again"


def check(root: Path, produced: Produced) -> str:
    """Compare a finished training with the version that is published below `root`, and say what that showed.

    In the environment that the published manifest names, every file must have the same bytes. Elsewhere other
    last bits are to be expected: there it is enough that the gate was passed, as it was for whatever is produced,
    and that what is published agrees with itself: the files are those their manifest names, the graph gives the
    golden answers, the card has the manifest's figures. The answer then says what is another here.
    Raises `DifferenceError` with the names of the files.
    """
    name, version = produced.manifest.name, produced.manifest.version
    try:
        published = read_version(root / name / str(version))
        if not published:
            raise DifferenceError(f"it is not published in {root}")
        manifest = ModelManifest.parse(published.get(MANIFEST_FILE) or b"", MANIFEST_FILE)
        there = manifest.training.environment if manifest.training is not None else None
        here = environment()
        if there != here:
            _refuse_contradictions(manifest, published)
            return f"{PASSED_AGAIN} ({_changes(there, here)})"
    except (PublishError, ManifestError, ParityError) as error:
        raise DifferenceError(str(error)) from error
    again = version_files(produced.manifest, produced.files)
    _refuse(differing(published, again), "it was trained here to other bytes than are published")
    return IDENTICAL


def _refuse_contradictions(manifest: ModelManifest, published: Contents) -> None:
    """Raise where the files of a version contradict each other, or its graph its golden rows."""
    _refuse(_broken(manifest, published), "it is published with files that its manifest does not name so")
    golden = Golden.parse(published.get(GOLDEN_FILE) or b"", GOLDEN_FILE)
    replay(published.get(ONNX_FILE) or b"", manifest.inputs[0], manifest.outputs[0], golden)
    if results(manifest).encode() not in (published.get(CARD_FILE) or b""):
        raise DifferenceError(f"the figures in {MANIFEST_FILE} are not those in {CARD_FILE}")


def _broken(manifest: ModelManifest, files: Contents) -> list[str]:
    """Name what is missing, too much, no file, or not as the manifest has it."""
    found = {name: content and hashlib.sha256(content).hexdigest() for name, content in files.items()}
    named = {name: entry.sha256 for name, entry in manifest.files.items()}
    return differing(found, {**named, MANIFEST_FILE: found[MANIFEST_FILE]})


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
