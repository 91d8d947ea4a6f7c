"""Behaviour of service.scoring.reading.text_file."""

import gzip
import io
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ScoreError
from service.scoring.reading.json_lines import cut
from service.scoring.reading.sources import File
from service.scoring.reading.text_file import LONGEST_RECORD, TextFile
from tests.service.scoring.conftest import file_at, reads_input, refusal

gzipped = partial(gzip.compress, mtime=0)
"""Without the time, so that the name of a test is the same each time."""
MARK = b"\xef\xbb\xbf"
TEXT = b"".join(b'{"a": %d}\n' % number for number in range(5000))


def zstd(content: bytes) -> bytes:
    """The content, compressed."""
    compressed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return compressed


def pieces_of(file: File, chunk: int) -> list[bytes]:
    """The pieces, in order; they take up the whole file."""
    text = TextFile(file, cut, chunk)
    pieces = [piece for start, stop in text.segments(0) for piece in text.pieces(start, stop)]
    if file.form.compression is None:
        assert sum(piece.size for piece in pieces) == file.bytes
    return [piece.read() for piece in pieces]


@settings(deadline=None)
@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), min_size=1),
    chunk=st.integers(1, 50),
)
def test_pieces_are_whole_lines(lines: list[bytes], chunk: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One after the other they are the text; they are cut the same way plain and compressed, and from any cut on."""
    content = b"\n".join(lines)
    folder = tmp_path_factory.mktemp("text")
    plain, packed = file_at(folder / "a.csv", content), file_at(folder / "a.csv.gz", gzipped(content))
    if not content.removeprefix(MARK).strip(b"\r\n"):
        with pytest.raises(ScoreError, match="it is empty"):
            TextFile(plain, cut, chunk)
        return
    pieces = pieces_of(plain, chunk)
    assert b"".join(pieces) == content.removeprefix(MARK)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert pieces_of(packed, chunk) == pieces
    text = TextFile(plain, cut, chunk)
    segments = list(text.segments(0))
    for place, (_, stop) in enumerate(segments):
        assert list(text.segments(stop)) == segments[place + 1 :]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """At the beginning of the file, plain or compressed, and nowhere else."""
    content = MARK + b"{}\n" + MARK + b"{}\n"
    assert pieces_of(file_at(tmp_path / "a.csv", content), 4) == [b"{}\n", MARK + b"{}\n"]
    assert pieces_of(file_at(tmp_path / "a.csv.gz", gzipped(content)), 4) == [b"{}\n", MARK + b"{}\n"]


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("zst", zstd)])
def test_compressed_files_may_have_several_parts(suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """As tools that compress in parallel write them; a line may go over their edge."""
    file = file_at(tmp_path / f"a.jsonl.{suffix}", pack(TEXT[:20001]) + pack(TEXT[20001:]))
    text = TextFile(file, cut, 4096)
    assert list(text.segments(0)) == [(0, 1)]
    assert not list(text.segments(1))
    pieces = list(text.pieces(0, 1))
    assert b"".join(piece.read() for piece in pieces) == TEXT
    assert 0 <= file.bytes - sum(piece.size for piece in pieces) < 4096
    assert [piece.read() for piece in text.pieces(0, 1)] == [piece.read() for piece in pieces]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl.gz", gzipped(TEXT)[:-6], "it is truncated or damaged: "),
        ("a.jsonl.gz", gzipped(TEXT)[:40], "it is truncated or damaged: "),
        ("a.jsonl.gz", TEXT, "it is truncated or damaged: "),
        ("a.jsonl.gz", gzipped(TEXT) + b"more", "it is truncated or damaged: "),
        ("a.jsonl.zst", zstd(TEXT)[:-6], "it is truncated or damaged: "),
        ("a.jsonl.zst", gzipped(TEXT), "it is truncated or damaged: "),
        ("a.jsonl.gz", gzipped(b""), "it is empty"),
        ("a.jsonl.gz", b"", "it is empty"),
        ("a.jsonl", b"", "it is empty"),
        ("a.jsonl", gzipped(TEXT), "it is compressed by gzip: give --format jsonl.gz"),
        ("a.csv", zstd(TEXT), "it is compressed by zstd: give --format csv.zst"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16-le").join([b"\xff\xfe", b""]), "it is UTF-16: expected is UTF-8"),
        ("a.csv.gz", gzipped(b"\xfe\xff\0a\0\n"), "it is UTF-16: expected is UTF-8"),
        ("a.jsonl", MARK, "it is empty"),
        ("a.jsonl", b"\r\n\n \n", "it is empty"),
    ],
)
def test_a_damaged_file_is_told(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """With how far it could be read."""
    assert refusal(tmp_path / name, content).startswith(said)


def test_damage_behind_sound_pieces_is_told_with_its_place(tmp_path: Path) -> None:
    """The pieces before it come first."""
    packed = gzipped(TEXT, 0)
    text = TextFile(file_at(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]), cut, 1024)
    read: list[bytes] = []
    with pytest.raises(ScoreError, match=r"it is truncated or damaged behind [1-9][0-9,]+ bytes of its gzip content"):
        read.extend(piece.read() for piece in text.pieces(0, 1))
    assert TEXT.startswith(b"".join(read))
    assert len(read) > 10


def test_a_record_without_end_is_refused(tmp_path: Path) -> None:
    """Memory does not follow what a file claims."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b"{}\n{}\n")
        file.seek(LONGEST_RECORD + 100, os.SEEK_CUR)
        file.write(b"\n")
    said = "line 3: expected are records of at most 64 MiB, each ended by LF"
    text = TextFile(file_at(path), cut, 4)
    with pytest.raises(ScoreError) as caught:
        list(text.segments(0))
    assert caught.value.message == f"{path}: {said}"
    with pytest.raises(ScoreError) as caught:
        list(text.segments(3))
    assert caught.value.message == f"{path}: {said}"


def test_a_file_that_shrinks_is_told(tmp_path: Path) -> None:
    """Nothing is made up for what is gone."""
    text = TextFile(file_at(tmp_path / "a.jsonl", TEXT), cut, 4096)
    *_, (start, stop) = text.segments(0)
    (piece,) = text.pieces(start, stop)
    os.truncate(tmp_path / "a.jsonl", stop - 1)
    with pytest.raises(ScoreError, match=r"a\.jsonl: it became shorter while it was read"):
        piece.read()
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ScoreError, match=r"a\.jsonl: it cannot be read: No such file"):
        piece.read()


@pytest.mark.parametrize(("form", "content"), [("jsonl", TEXT), ("jsonl.gz", gzipped(TEXT)), ("jsonl.zst", zstd(TEXT))])
def test_standard_input_is_read_as_it_comes(form: str, content: bytes) -> None:
    """From a pipe, plain or compressed."""
    result = subprocess.run(reads_input(form), input=content, capture_output=True, check=True)
    assert result.stdout.decode() == f"{[{'a': number} for number in range(5000)]}\n"


def test_what_is_wrong_with_standard_input_is_told() -> None:
    """Under that name."""
    result = subprocess.run(reads_input("jsonl.gz"), input=gzipped(TEXT)[:-9], capture_output=True, check=True)
    assert result.stdout.startswith(b"standard input: it is truncated or damaged: ")
    assert io.BytesIO(result.stdout).readlines()[1:] == []
