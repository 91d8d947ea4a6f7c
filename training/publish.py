"""The only writer of the models folder.

A version appears, or is exchanged, in one step: whoever reads sees all of it or nothing of it.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from service.errors import ManifestError
from service.manifest import MANIFEST_FILE, FileEntry, ModelManifest
from training.errors import PublishError

Outcome = Literal["published", "replaced", "unchanged"]


def publish(root: Path, manifest: ModelManifest, files: dict[str, bytes], *, replace: bool = False) -> Outcome:
    """Write `files` with the manifest that names them to `<root>/<name>/<version>`.

    The same bytes again are left as they lie. Other bytes under a published version raise `PublishError`,
    unless `replace` asks for them; so do names that are none for files of a version, and a folder that cannot be
    written. After an error every version is as it was.
    Processes that publish into the same folder at once take turns.
    """
    target = root / manifest.name / str(manifest.version)
    contents = version_files(manifest, files)
    # A hidden name is no model's; the same folder above makes it the same file system.
    staging = root / f".{manifest.name}-{manifest.version}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            # Who is alone here has just begun: what lies there is of a process that was killed.
            _remove(staging)
            published = read_version(target)
            if published == contents:
                return "unchanged"
            if published and not replace:
                raise PublishError(_refusal(manifest, differing(published, contents)))
            try:
                _stage(staging, contents)
                _put(staging, target, exchanged=bool(published))
            finally:
                # What remains there is what failed, or what was replaced.
                _remove(staging)
    except OSError as error:
        raise PublishError(f"{target} cannot be written: {error.strerror}") from error
    return "replaced" if published else "published"


def try_out(root: Path) -> None:
    """Raise `PublishError` where nothing could be published into this folder; it is left as it was."""
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=".", dir=root).cleanup()
    except OSError as error:
        raise PublishError(f"{root} cannot be written: {error.strerror}") from error
    finally:
        for folder in missing:
            # Another process may have begun to publish there meanwhile.
            with suppress(OSError):
                folder.rmdir()


def version_files(manifest: ModelManifest, files: dict[str, bytes]) -> dict[str, bytes]:
    """All that the folder of a version holds: its files, and the manifest with their checksums."""
    return {**files, MANIFEST_FILE: named(manifest, files).render()}


def named(manifest: ModelManifest, files: dict[str, bytes]) -> ModelManifest:
    """The manifest with the checksums of these files; `PublishError` where their names or it cannot be published."""
    if MANIFEST_FILE in files:
        raise PublishError(f"{MANIFEST_FILE} names the other files and cannot be one of them")
    entries = {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in sorted(files.items())
    }
    complete = manifest.model_copy(update={"files": entries})
    try:
        # A copy is not checked; whoever reads the file will check it.
        return ModelManifest.parse(complete.render(), f"{manifest.name} version {manifest.version}")
    except ManifestError as error:
        raise PublishError(f"it cannot be published: {error}") from error


Contents = dict[str, bytes | None]
"""What lies in a version's folder, by name; of what is no file, as a folder, there are no bytes."""


def read_version(folder: Path) -> Contents:
    """Read all that lies in a published version; there is nothing if it is not published.

    Raises `PublishError` where the folder or a file in it cannot be read.
    """
    try:
        if not folder.is_dir():
            return {}
        return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}
    except OSError as error:
        raise PublishError(f"{error.filename} cannot be read: {error.strerror}") from error


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Name the files that only one of two versions has, or that have other bytes in each."""
    names = one.keys() | other.keys()
    return sorted(name for name in names if name not in one or name not in other or one[name] != other[name])


def _refusal(manifest: ModelManifest, different: list[str]) -> str:
    return (
        f"{manifest.name} version {manifest.version} is published with another {', '.join(different)}; "
        "a published version does not change unless it is replaced (--replace)"
    )


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no other process publishes into this folder, and keep others waiting."""
    with _open(root) as descriptor:
        # The system gives it back when the folder is closed, however the process ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _remove(staging: Path) -> None:
    """Remove what lies there, if anything does: a folder, or where a link was replaced, the link alone."""
    if staging.is_symlink():
        staging.unlink()
    else:
        shutil.rmtree(staging, ignore_errors=True)


def _stage(staging: Path, contents: dict[str, bytes]) -> None:
    staging.mkdir()
    for name, content in contents.items():
        with (staging / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync_folder(staging)


def _put(staging: Path, target: Path, *, exchanged: bool) -> None:
    """Give the staged folder its name; a folder that had it gets the staged one's."""
    if exchanged:
        exchange(staging, target)
    else:
        target.parent.mkdir(exist_ok=True)
        staging.rename(target)
    _sync_folder(target.parent)
    _sync_folder(staging.parent)


def _sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut, as their files' contents do."""
    with _open(folder) as descriptor:
        os.fsync(descriptor)


_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system swap their names in a single step.

    Raises `OSError` where a folder is missing, `PublishError` where the system is not Linux.
    """
    # Python has no function for it: os.replace only overwrites, and no folder that has contents.
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise PublishError(
            "this system cannot exchange two folders in one step: remove the published version by hand"
        ) from None
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one), None, str(other))
