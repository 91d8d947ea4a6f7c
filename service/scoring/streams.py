"""The bytes of a file or of standard input, plain or decompressed, from the first to the last."""

import os
import sys

import pyarrow as pa

from service.errors import ScoreError
from service.scoring.sources import File, unreadable


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
    return ScoreError(f"{file.name}: it is truncated or damaged behind {came:,} bytes of its {kind} content: {reason}")
