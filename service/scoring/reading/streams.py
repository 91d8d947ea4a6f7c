"""The bytes of a file or of standard input, plain or decompressed, from the first to the last."""

import os
import sys
from collections.abc import Callable

import pyarrow as pa

from service.errors import ScoreError
from service.scoring.reading.sources import File, unreadable

Read = Callable[[int], bytes]
"""Gives so many bytes or fewer, none at the end."""


def open_raw(file: File) -> pa.NativeFile:
    """The bytes of a file or of standard input, to be read from the first to the last."""
    if file.is_standard_input:
        return pa.PythonFile(os.fdopen(sys.stdin.fileno(), "rb", closefd=False), "r")
    return pa.OSFile(file.path)


def decompressed(file: File, raw: pa.NativeFile) -> pa.NativeFile:
    """What the bytes hold. Several compressed streams, one behind the other, are one."""
    compression = file.form.compression
    return raw if compression is None else pa.CompressedInputStream(raw, compression)


def damaged(file: File, error: Exception, came: int) -> ScoreError:
    """The error of a file that can be read no further than `came` bytes of what it holds."""
    if file.form.compression is None or (isinstance(error, OSError) and error.errno):
        return unreadable(file.name, error)
    reason, kind = " ".join(str(error).split()), file.form.compression
    place = f" behind {came:,} bytes of its {kind} content" if came else ""
    return ScoreError(f"{file.name}: it is truncated or damaged{place}: {reason}")


def fill(read: Read, count: int) -> bytes:
    """So many bytes; fewer only at the end."""
    parts: list[bytes] = []
    while count > 0 and (part := read(count)):
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
