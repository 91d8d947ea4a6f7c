"""The output while it is not whole: whose it is, what it is called meanwhile, and the one step in which it appears."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from service.errors import ScoreError

JOURNAL = "journal.jsonl"
_FINISHING = "finishing"
"""In the parts' folder, besides the journal: all is written, and files of these stamps, a line each, are its own."""


class Target:
    """An output that belongs to one process, from entering to leaving.

    Entering raises `ScoreError` where it, or the file of rejected rows of a run that may make one, exists and may not
    be overwritten, where another process writes it, and where it cannot be written. Leaving removes what is not whole,
    but not the parts that a later run goes on from.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False, quarantine: bool = False) -> None:
        self.path = path
        name = path.name
        if name in ("", ".."):
            raise ScoreError(f"{path}: it cannot be written: Is a directory")
        if not _is_text(path):
            shown = os.fsencode(path).decode(errors="backslashreplace")
            raise ScoreError(f"{shown}: it cannot be written: its name is not UTF-8")
        self.unfinished = path.with_name(f".{name}.part")
        self.parts = path.with_name(f".{name}.parts")
        self.rejected = rejected_rows_of(path)
        self.unfinished_rejected = path.with_name(f".{name}.rejected.csv.part")
        self._overwrite = overwrite
        self._resume = resume
        self._quarantine = quarantine
        self._lock = -1
        self._stamps: set[str] = set()
        """Of files that an earlier run, which this one goes on with, may have given their names already."""

    def __enter__(self) -> Self:
        with self.writing():
            self._lock = self._take()
            try:
                if self.path.is_file():
                    # Whoever has just given its file the output's name may still be removing its parts.
                    with self.path.open("rb") as whole:
                        self._lock_file(whole.fileno(), fcntl.LOCK_SH)
                # A run that was killed may have left it.
                self.unfinished_rejected.unlink(missing_ok=True)
                if self._resume:
                    self._stamps = _stamps(self.parts / _FINISHING)
                self._refuse(self.path)
                if self._quarantine:
                    self._refuse(self.rejected)
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Tell of what fails within as of the output that cannot be written."""
        try:
            yield
        except OSError as error:
            raise unwritable(self.path, error, self.parts) from None

    def finish(self) -> None:
        """Let the output, which is written and closed, appear, with the file of rejected rows if there is one."""
        with self.writing():
            has_rejected = self.unfinished_rejected.exists()
            own = [self.unfinished, self.unfinished_rejected] if has_rejected else [self.unfinished]
            self._check_again(has_rejected=has_rejected)
            for path in own:
                sync(path)
            if has_rejected or self.parts.exists():
                self.parts.mkdir(exist_ok=True)
                with (self.parts / _FINISHING).open("a") as finishing:
                    # Behind those of a run that was killed here before.
                    finishing.writelines(f"{_stamp(path)}\n" for path in own)
                sync(self.parts / _FINISHING)
                sync(self.parts)
            if has_rejected:
                self.unfinished_rejected.replace(self.rejected)
            elif self._overwrite:
                # It belongs to the output that is overwritten.
                self.rejected.unlink(missing_ok=True)
            self.unfinished.replace(self.path)
            sync(self.path.parent)
            self._remove_parts()

    def _remove_parts(self) -> None:
        """The stamps last: as long as anything else is left, a run that is killed here knows its output again."""
        with suppress(OSError):
            for path in self.parts.iterdir():
                if path.name != _FINISHING:
                    path.unlink()
        shutil.rmtree(self.parts, ignore_errors=True)

    def _check_again(self, *, has_rejected: bool) -> None:
        """Raise `ScoreError` where others have removed what is written, or made what would be overwritten."""
        if not self._is_own(self._lock):
            gone = f"{self.unfinished} was removed meanwhile"
            raise ScoreError(f"{self.path}: it cannot be written: {gone}{_kept(self.parts)}")
        for path in [self.path, self.rejected] if has_rejected else [self.path]:
            if self._is_foreign(path):
                allowed = "allow it to be replaced with --overwrite"
                raise ScoreError(f"{path} has appeared meanwhile: {allowed}{_kept(self.parts)}")

    def _take(self) -> int:
        """The unfinished file, open and locked."""
        while True:
            descriptor = os.open(self.unfinished, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                self._lock_file(descriptor, fcntl.LOCK_EX)
                if self._is_own(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _lock_file(self, descriptor: int, mode: int) -> None:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScoreError(f"another process is scoring into {self.path}") from None

    def _refuse(self, path: Path) -> None:
        if self._is_foreign(path):
            raise ScoreError(f"{path} exists already: name another file, or allow it with --overwrite")
        if path.is_dir():
            raise ScoreError(f"{path}: it cannot be written: Is a directory")
        if path.exists() and not path.is_file():
            raise ScoreError(f"{path}: it cannot be written: it is no file")

    def _is_foreign(self, path: Path) -> bool:
        """Whether something is there, and may not be overwritten; a link that leads nowhere is something too."""
        if self._overwrite or not os.path.lexists(path):
            return False
        return path.is_symlink() or _stamp(path) not in self._stamps

    def _is_own(self, descriptor: int) -> bool:
        """Whether the unfinished file's name is still that of the one that is open: it may have been renamed."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), self.unfinished.stat())
        return False

    def _release(self) -> None:
        # Once the file has the output's name, the unfinished one's may be another process's.
        with suppress(OSError):
            if self._is_own(self._lock):
                self.unfinished_rejected.unlink(missing_ok=True)
                self.unfinished.unlink()
        os.close(self._lock)


def rejected_rows_of(path: Path) -> Path:
    """Where the rejected rows of an output at this path are told."""
    return path.with_name(f"{path.name}.rejected.csv")


def unwritable(path: Path, error: OSError, parts: Path) -> ScoreError:
    """The error of an output that cannot be written; it says where `parts` of it are kept."""
    # pyarrow wraps the system's words into longer ones.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ScoreError(f"{path}: it cannot be written: {reason}{_kept(parts)}")


def _is_text(path: Path) -> bool:
    """Whether its bytes are UTF-8: pyarrow opens no others."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _kept(parts: Path) -> str:
    # Unlike a path's own method, this knows names that are too long.
    return "; what is done is kept: go on with --resume" if os.path.exists(parts / JOURNAL) else ""  # noqa: PTH110  # see above


def sync(path: Path) -> None:
    """Have what a file holds, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stamp(path: Path) -> str:
    """What tells a file, under any name, from others and from itself once it is changed."""
    status = path.stat()
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _stamps(path: Path) -> set[str]:
    """Those in a file, up to a line that is torn."""
    with suppress(FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return set(path.read_text().split("\n")[:-1])
    return set()
