"""Behaviour of training.idx."""

import gzip
import struct
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from training.errors import DataError
from training.idx import STEP, read_idx

gzipped = partial(gzip.compress, mtime=0)
"""Without the time, so that the name of a test is the same each time."""
PLAIN = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 2, 3) + bytes(range(12))
"""Two images of two rows and three columns: 16 bytes of header, 12 of pixels."""
PACKED = gzipped(PLAIN)


def read(folder: Path, content: bytes, dimensions: int = 3) -> torch.Tensor:
    """Write a file and read it."""
    path = folder / "file"
    path.write_bytes(content)
    return read_idx(path, dimensions)


@pytest.mark.parametrize("content", [PLAIN, PACKED], ids=["plain", "gzipped"])
def test_elements_stand_row_by_row(tmp_path: Path, content: bytes) -> None:
    """The last dimension runs fastest, and the packing does not show."""
    images = read(tmp_path, content)
    assert images.dtype == torch.uint8
    assert images.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@given(
    values=arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, max_side=6)),
    packed=st.booleans(),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.uint8], *, packed: bool
) -> None:
    """Any array of bytes comes back as it was."""
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    folder = tmp_path_factory.mktemp("idx")
    read_back = read(folder, gzipped(content) if packed else content, values.ndim)
    assert np.array_equal(read_back.numpy(), values)


def test_a_file_of_many_steps_is_unpacked(tmp_path: Path) -> None:
    """A gzip file that is much longer than what is unpacked at a time loses nothing."""
    noise = np.random.default_rng(0).integers(0, 256, 3 * STEP + 1, dtype=np.uint8)
    content = bytes([0, 0, 8, 1]) + struct.pack(">I", len(noise)) + noise.tobytes()
    assert np.array_equal(read(tmp_path, gzipped(content), 1).numpy(), noise)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is cut off at offset 0: its header ends at offset 16"),
        (b"\x89PNG", "has 137 at offset 0; an idx file has 0 there"),
        (b"\0\1\x08\3", "has 1 at offset 1; an idx file has 0 there"),
        (b"\0\0\x0d\3", "has 13 at offset 2; an idx file has unsigned bytes, 8 there"),
        (b"\0\0\x08\1" + PLAIN[4:], "has 1 at offset 3; an idx file has 3 dimensions there"),
        (PLAIN[:15], "is cut off at offset 15: its header ends at offset 16"),
        (PLAIN[:8] + bytes(4) + PLAIN[12:], "has the size 0 at offset 8: it holds nothing"),
        (PLAIN[:-1], "is cut off at offset 27: its 2 x 2 x 3 elements end at offset 28"),
        (PLAIN[:4] + b"\xff\xff\xff\xff" + PLAIN[8:], "is cut off at offset 28: its 4294967295 x 2 x 3 elements end"),
        (PLAIN + b"\n", "goes on at offset 28, although its 2 x 2 x 3 elements end at offset 28"),
        (PACKED[:1], "has 31 at offset 0"),
        (PACKED[:-1], f"is cut off at offset {len(PACKED) - 1} of the gzip file"),
        (PACKED + PACKED, f"goes on at offset {len(PACKED)} of the gzip file"),
        (PACKED[:2] + b"\7" + PACKED[3:], "is damaged at offset 3 of the gzip file (Error -3 while decompressing"),
        (PACKED[:10] + b"\xff" + PACKED[11:], "is damaged at offset 10 of the gzip file"),
        (PACKED[:-8] + bytes(4) + PACKED[-4:], "incorrect data check"),
        (gzipped(PLAIN[:-1]), "(unpacked) is cut off at offset 27"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_offset(tmp_path: Path, content: bytes, fault: str) -> None:
    """Whatever is wrong with a file, the error says in which and where."""
    with pytest.raises(DataError) as refusal:
        read(tmp_path, content)
    assert str(refusal.value).startswith(str(tmp_path / "file"))
    assert fault in str(refusal.value)


@given(offset=st.integers(0, len(PACKED) - 1))
def test_a_gzip_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, offset: int) -> None:
    """The offset of the fault is the file's length."""
    with pytest.raises(DataError, match=rf"at offset {offset}\b|at offset 0\b"):
        read(tmp_path_factory.mktemp("cut"), PACKED[:offset])


@given(offset=st.integers(STEP, 3 * STEP))
def test_damage_far_inside_is_found(tmp_path_factory: pytest.TempPathFactory, offset: int) -> None:
    """A byte that changed in noise, which gzip stores as it is, shows in the checksum at the end at the latest."""
    noise = np.random.default_rng(0).integers(0, 256, 3 * STEP, dtype=np.uint8).tobytes()
    packed = bytearray(gzipped(bytes([0, 0, 8, 1]) + struct.pack(">I", len(noise)) + noise))
    packed[offset] ^= 0xFF
    with pytest.raises(DataError, match=r"at offset \d+ of the gzip file"):
        read(tmp_path_factory.mktemp("damaged"), bytes(packed), 1)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The error of the operating system comes with the file's name."""
    with pytest.raises(DataError, match="nowhere cannot be read: No such file or directory"):
        read_idx(tmp_path / "nowhere", 1)


def peak_of(folder: Path, content: bytes) -> int:
    """Bytes that reading a file of one dimension takes at most, until it is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read(folder, content, 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("header", [bytes(8), bytes([0, 0, 8, 1, 0, 0, 0, 9])], ids=["no idx file", "nine elements"])
def test_no_more_is_unpacked_than_the_header_announces(tmp_path: Path, header: bytes) -> None:
    """Of a small file that unpacks to fifty million bytes only a moment's are ever there."""
    bomb = gzipped(header + bytes(50_000_000))
    assert len(bomb) < 100_000
    assert peak_of(tmp_path, bomb) < 1_000_000


def test_a_size_that_is_only_announced_takes_no_memory(tmp_path: Path) -> None:
    """Four billion elements that are not there are not made room for."""
    assert peak_of(tmp_path, bytes([0, 0, 8, 1, 255, 255, 255, 255])) < 1_000_000
