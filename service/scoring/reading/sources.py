"""The files that a caller means by one name: a file, a folder, a pattern, or standard input."""

import glob
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.errors import ScoreError
from service.scoring.reading.formats import SUFFIXES, Form, form_by_suffix, form_given, form_of

STANDARD_INPUT = "-"
_LONGEST_REASON = 200


class File(NamedTuple):
    """A file of rows, with what tells it from another that lies at its path later."""

    path: str
    """`-` is standard input."""
    bytes: int
    """0 of standard input."""
    modified: int
    """Nanoseconds since 1970; 0 of standard input."""
    form: Form

    @property
    def is_standard_input(self) -> bool:
        """Whether it can be read only once, from its beginning."""
        return self.path == STANDARD_INPUT

    @property
    def name(self) -> str:
        """How messages call it."""
        return "standard input" if self.is_standard_input else self.path


def find_files(source: str | Path, given: str | None) -> tuple[File, ...]:
    """The files that `source` names, in the order of their paths; `given` is their format where names do not say it.

    A folder is searched whole, past what begins with `.` or `_`; what has another suffix is left out there, unless
    the format is given. A name that is there is itself; else `*`, `?`, `[…]` and `**` are a pattern. Raises
    `ScoreError` where nothing is found or a file cannot be read.
    """
    source = os.fspath(source)
    if not source:
        raise ScoreError("the input's name is empty: give a file, a folder, a pattern, or - for standard input")
    _refuse_other_names(source)
    form = None if given is None else form_given(given)
    if source == STANDARD_INPUT:
        if form is None:
            raise ScoreError("standard input: it has no name that says its format: give it with --format")
        return (File(STANDARD_INPUT, 0, 0, form),)
    if Path(source).is_dir():
        paths = sorted(path for path in _inside(Path(source)) if form or form_by_suffix(path.name))
        if not paths:
            raise ScoreError(f"{source}: the folder holds no file of rows: known are {SUFFIXES}, or give --format")
        return tuple(_file(str(path), form) for path in paths)
    if glob.has_magic(source) and not os.path.lexists(source):
        found = sorted(path for path in glob.glob(source, recursive=True) if not Path(path).is_dir())  # noqa: PTH207  # Path.glob takes no absolute pattern
        if not found:
            raise ScoreError(f"{source}: no file fits the pattern")
        return tuple(_file(path, form) for path in found)
    return (_file(source, form),)


def _inside(folder: Path) -> Iterator[Path]:
    """The files below a folder, past hidden ones and those that other programs leave beside their output."""
    for place, folders, names in os.walk(folder, onerror=_cannot_be_read):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        yield from (Path(place, name) for name in names if not name.startswith((".", "_")))


def _refuse_other_names(path: str) -> None:
    """Raise `ScoreError` for a name that pyarrow cannot open and text cannot hold, as Linux allows them."""
    try:
        path.encode()
    except UnicodeEncodeError:
        name = os.fsencode(path).decode(errors="backslashreplace")
        raise ScoreError(f"{name}: its name is not UTF-8: rename it") from None


def _file(path: str, form: Form | None) -> File:
    _refuse_other_names(path)
    try:
        status = os.stat(path)  # noqa: PTH116  # the path stays as it was given
        if not stat.S_ISREG(status.st_mode):
            raise ScoreError(f"{path}: it is no regular file: what comes from a pipe is read from standard input, as -")
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from None
    return File(path, status.st_size, status.st_mtime_ns, form or form_of(path))


def _cannot_be_read(error: OSError) -> None:
    raise unreadable(error.filename, error)


def unreadable(name: str, error: Exception) -> ScoreError:
    """The error of a file that the system or a library cannot read, in one line."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, UnicodeDecodeError):
        reason = "a name in it is not UTF-8"
    return ScoreError(f"{name}: it cannot be read: {' '.join(reason.split())[:_LONGEST_REASON]}")
