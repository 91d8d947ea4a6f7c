"""Behaviour of service.scoring.reading.streams."""

import errno
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from service.scoring.reading.streams import damaged, decompressed, fill, open_raw
from tests.service.scoring.conftest import file_at


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.csv", bytes),
        ("a.csv.gz", gzip.compress),
        ("a.csv.zst", lambda content: pa.compress(content, codec="zstd", asbytes=True)),
    ],
)
def test_what_a_file_holds_is_read(name: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Several compressed streams, one behind the other, are one; how much of the file they took is known."""
    file = file_at(tmp_path / name, pack(b"a,b\n1") + pack(b",2\n"))
    with open_raw(file) as raw:
        stream = decompressed(file, raw)
        assert stream.read(4) + stream.read() == b"a,b\n1,2\n"
        assert raw.tell() == file.bytes


def test_as_many_bytes_are_read_as_there_are() -> None:
    """Whatever a read gives at a time."""
    stream = io.BytesIO(b"abcdefg")
    assert [fill(lambda count: stream.read(min(count, 2)), count) for count in (3, 0, 2, 9, 1)] == [
        b"abc",
        b"",
        b"de",
        b"fg",
        b"",
    ]


def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    """In what a compressed file holds; where the system fails, or nothing is compressed, its words are enough."""
    plain, packed = file_at(tmp_path / "a.csv", b"a"), file_at(tmp_path / "a.csv.gz", b"a")
    error = OSError("zlib\n inflate failed")
    broken = OSError(errno.EIO, os.strerror(errno.EIO))
    assert damaged(packed, error, 12345).message == (
        f"{packed.path}: it is truncated or damaged behind 12,345 bytes of its gzip content: zlib inflate failed"
    )
    assert damaged(packed, error, 0).message == f"{packed.path}: it is truncated or damaged: zlib inflate failed"
    assert damaged(packed, broken, 1).message == f"{packed.path}: it cannot be read: Input/output error"
    assert damaged(plain, error, 1).message == f"{plain.path}: it cannot be read: zlib inflate failed"
