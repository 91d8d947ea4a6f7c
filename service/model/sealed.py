"""A copy of a file's bytes that nobody can change any more, which has a path without lying on any disk."""

import fcntl
import os
import weakref
from collections.abc import Iterable


class Sealed:
    """Such a copy, under a path of this process; both go with the last who refers to it."""

    def __init__(self, file: int) -> None:
        self.path = f"/proc/self/fd/{file}"
        weakref.finalize(self, os.close, file)


def sealed(parts: Iterable[bytes]) -> Sealed | bytes:
    """What comes in parts as a sealed copy; as bytes where the system has none.

    Of bytes onnxruntime makes a copy of its own before it reads them, and while it does every other thread waits.
    """
    try:
        file = os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        copy = Sealed(file)
        os.stat(copy.path)  # noqa: PTH116  # whether there is /proc; it is no path of the disk's
    except (AttributeError, OSError):
        return b"".join(parts)
    for part in parts:
        left = part
        while left:
            left = left[os.write(file, left) :]
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return copy
