"""Reads the idx files in which MNIST comes, plain or gzipped.

An idx file begins with the bytes 0, 0, the code of its elements' type and the number of its dimensions; then come
their sizes, big-endian and of four bytes each, then the elements, the last dimension running fastest.
"""

import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from training.errors import DataError

UNSIGNED_BYTE = 0x08
"""The code of the one type that MNIST's elements have."""
GZIP_MAGIC = b"\x1f\x8b"
STEP = 1 << 16
"""Packed bytes that are unpacked at a time."""


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a file of unsigned bytes with so many dimensions, as UINT8 of the shape that it announces.

    MNIST's images have three dimensions, (rows, height, width), its labels one, (rows,). Whether the file is
    gzipped shows in its first bytes, whatever it is called. Raises `DataError` where the file cannot be read, is
    damaged, cut short or something else; it names the file and the offset of the fault.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    where = str(path)
    if content.startswith(GZIP_MAGIC):
        content = _unpack(content, where)
        where += " (unpacked)"
    sizes, start = _header(content, where, dimensions)
    end = start + math.prod(sizes)
    promise = f"its {' x '.join(map(str, sizes))} elements end at offset {end}"
    if len(content) < end:
        raise DataError(f"{where} is cut off at offset {len(content)}: {promise}")
    if len(content) > end:
        raise DataError(f"{where} goes on at offset {end}, to {len(content)}, although {promise}")
    # The tensor may be written to, bytes may not.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(sizes)


def _header(content: bytes, where: str, dimensions: int) -> tuple[list[int], int]:
    """Take the sizes from the beginning of an idx file, with the offset at which its elements begin."""
    start = 4 + 4 * dimensions
    # A file that is both too short and something else is something else.
    for offset, (expected, meaning) in enumerate(
        [(0, "0"), (0, "0"), (UNSIGNED_BYTE, "unsigned bytes, 8"), (dimensions, f"{dimensions} dimensions")]
    ):
        if offset < len(content) and content[offset] != expected:
            raise DataError(f"{where} has {content[offset]} at offset {offset}; an idx file has {meaning} there")
    if len(content) < start:
        raise DataError(f"{where} is cut off at offset {len(content)}: its header ends at offset {start}")
    sizes = [int.from_bytes(content[offset : offset + 4], "big") for offset in range(4, start, 4)]
    if 0 in sizes:
        raise DataError(f"{where} has the size 0 at offset {4 + 4 * sizes.index(0)}: it holds nothing")
    return sizes, start


def _unpack(content: bytes, where: str) -> bytes:
    """Unpack a gzip file; offsets in its errors count packed bytes."""
    # 15 bits of window, and 16 to ask for gzip's header and checksum.
    stream = zlib.decompressobj(wbits=15 + 16)
    unpacked = bytearray()
    for start in range(0, len(content), STEP):
        before = stream.copy()
        try:
            unpacked += stream.decompress(content[start : start + STEP])
        except zlib.error as error:
            offset = _fault(before, content, start)
            raise DataError(f"{where} is damaged at offset {offset} of the gzip file ({error})") from error
        if stream.eof:
            end = start + min(STEP, len(content) - start) - len(stream.unused_data)
            if end < len(content):
                raise DataError(f"{where} goes on at offset {end} of the gzip file, which ends there")
    if not stream.eof:
        raise DataError(f"{where} is cut off at offset {len(content)} of the gzip file")
    return bytes(unpacked)


def _fault(stream: "zlib._Decompress", content: bytes, start: int) -> int:
    """Find the packed byte at which unpacking fails, going from `start` byte by byte."""
    for offset in range(start, len(content)):
        try:
            stream.decompress(content[offset : offset + 1])
        except zlib.error:
            return offset
    return len(content)
