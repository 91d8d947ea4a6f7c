"""Reads the idx files in which MNIST comes, plain or gzipped.

An idx file begins with the bytes 0, 0, the code of its elements' type and the number of its dimensions; then come
their sizes, big-endian and of four bytes each, then the elements, the last dimension running fastest.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from training.errors import DataError

UNSIGNED_BYTE = 0x08
"""The code of the one type that MNIST's elements have."""
GZIP_MAGIC = b"\x1f\x8b"
STEP = 1 << 16
"""Bytes that are read or unpacked at a time."""

Read = Callable[[int], bytes]
"""Gives the next so many bytes or, at the end and where they come in parts, fewer; none at the end only."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a file of unsigned bytes with so many dimensions, as UINT8 of the shape that it announces.

    MNIST's images have three dimensions, (rows, height, width), its labels one, (rows,). Whether the file is
    gzipped shows in its first bytes, whatever it is called; no more of it is unpacked than its header announces.
    Raises `DataError` where the file cannot be read, is damaged, cut short or something else; it names the file and
    the offset of the fault.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            if packed:
                return _parse(_Unpacked(file, str(path)).read, f"{path} (unpacked)", dimensions)
            return _parse(file.read, str(path), dimensions)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _parse(read: Read, where: str, dimensions: int) -> Tensor:
    start = 4 + 4 * dimensions
    sizes = _sizes(_take(read, start), where, dimensions)
    count = math.prod(sizes)
    elements = _take(read, count)
    promise = f"its {' x '.join(map(str, sizes))} elements end at offset {start + count}"
    if len(elements) < count:
        raise DataError(f"{where} is cut off at offset {start + len(elements)}: {promise}")
    if read(1):
        raise DataError(f"{where} goes on at offset {start + count}, although {promise}")
    return torch.frombuffer(elements, dtype=torch.uint8).reshape(sizes)


def _take(read: Read, count: int) -> bytearray:
    """Read so many bytes, or all that there are: a size that is only announced takes no memory."""
    taken = bytearray()
    while len(taken) < count and (part := read(min(STEP, count - len(taken)))):
        taken += part
    return taken


def _sizes(header: bytearray, where: str, dimensions: int) -> list[int]:
    """Take the sizes from the beginning of an idx file, or from as much of it as there is."""
    end = 4 + 4 * dimensions
    # A file that is both too short and something else is something else.
    for offset, (expected, meaning) in enumerate(
        [(0, "0"), (0, "0"), (UNSIGNED_BYTE, "unsigned bytes, 8"), (dimensions, f"{dimensions} dimensions")]
    ):
        if offset < len(header) and header[offset] != expected:
            raise DataError(f"{where} has {header[offset]} at offset {offset}; an idx file has {meaning} there")
    if len(header) < end:
        raise DataError(f"{where} is cut off at offset {len(header)}: its header ends at offset {end}")
    sizes = [int.from_bytes(header[offset : offset + 4], "big") for offset in range(4, end, 4)]
    if 0 in sizes:
        raise DataError(f"{where} has the size 0 at offset {4 + 4 * sizes.index(0)}: it holds nothing")
    return sizes


class _Unpacked:
    """What a gzip file holds, unpacked as it is asked for; offsets in its errors count packed bytes."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where = file, where
        # 15 bits of window, and 16 to ask for gzip's header and checksum.
        self._stream = zlib.decompressobj(wbits=15 + 16)
        self._offset = 0
        """Packed bytes that were unpacked."""

    def read(self, count: int) -> bytes:
        """Unpack at most so many bytes, which are one or more; none are given at the end, which is checked then."""
        part = b""
        while not part and not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._file.read(STEP)
            if not packed:
                raise DataError(f"{self._where} is cut off at offset {self._offset} of the gzip file")
            before = self._stream.copy()
            try:
                part = self._stream.decompress(packed, count)
            except zlib.error as error:
                offset = self._offset + _fault(before, packed)
                raise DataError(f"{self._where} is damaged at offset {offset} of the gzip file ({error})") from error
            left = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            self._offset += len(packed) - len(left)
        if not part and (self._stream.unused_data or self._file.read(1)):
            raise DataError(f"{self._where} goes on at offset {self._offset} of the gzip file, which ends there")
        return part


def _fault(stream: "zlib._Decompress", packed: bytes) -> int:
    """Find the packed byte at which unpacking fails, going byte by byte."""
    for offset in range(len(packed)):
        try:
            stream.decompress(packed[offset : offset + 1])
        except zlib.error:
            return offset
    return len(packed)
