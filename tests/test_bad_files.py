"""Bad files as tables: what is wrong, the bytes, and the sentence that the command says.

A file that cannot be scored ends it with status 1 and one line on standard error, and nothing lies beside the file.
"""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from service.__main__ import main
from service.exits import FAILURE, REJECTED
from tests.interrupted import environment
from tests.server import ROOT
from tests.service.conftest import publish

MODELS = ("line", "counter", "tokens")
"""They take two floats, width and height; two integers, first and second; a list of integers, ids."""
PEAK = 512 << 10
"""Kilobytes that no hostile file makes the command take: 160 << 10 is what it takes for one row, and a few times 64 MiB
what the longest record there may be does."""


class Bad(NamedTuple):
    """A file that cannot be scored."""

    content: bytes
    said: str
    """The sentence, in which {file} stands for the file's name; its parts in their order, where … stands between."""
    model: str = "line"


class Said(NamedTuple):
    """How a command has ended."""

    status: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models."""
    root = tmp_path_factory.mktemp("models")
    for name in MODELS:
        publish(root, name)
    return root


@pytest.fixture
def command(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs `forwardpass score` in this process, within an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(model: str, source: str, target: str, *options: str) -> Said:
        root = models if model in MODELS else ROOT / "models"
        status = main(["score", model, source, target, "--models", str(root), *options])
        return Said(status, *capfd.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


def refuse(command: Command, name: str, bad: Bad, *options: str) -> None:
    """See that the file is refused, in these words, and that nothing but it is there then."""
    Path(name).write_bytes(bad.content)
    status, out, err = command(bad.model, name, "out.csv", *options)
    check(err, bad.said.replace("{file}", name))
    assert (status, out) == (FAILURE, "")
    assert os.listdir() == [name]  # noqa: PTH208  # of where it runs


def check(err: str, said: str) -> None:
    """See that this sentence, and no more, was said."""
    assert err.endswith("\n")
    assert err[:-1].isprintable(), err
    first, *others = said.split("…")
    begin = f"forwardpass: {first}"
    assert err.startswith(begin), err
    place = len(begin)
    for part in others:
        place = err.find(part, place) + len(part)
        assert place >= len(part), err
    assert others or err == f"{begin}\n"


def packed(content: bytes, suffix: str) -> bytes:
    """The content as a file of this suffix holds it."""
    if suffix == ".gz":
        return gzip.compress(content, 1, mtime=0)
    return pa.Codec("zstd").compress(content).to_pybytes() if suffix == ".zst" else content


PACKED = ("", ".gz", ".zst")
POINT = b"width,height\n"
MISSING = "{file}: the column 'width' is missing: expected are width, height; there are "
NUMBER = "expected a number that FP32 can hold, got"
INTEGER = "expected an integer that INT64 can hold, got"
TOO_LONG = "line 1: expected are records of at most 64 MiB…"
TOO_MANY = "{file}: expected are at most 65,536 columns, got "
ALONE = "a CR stands alone: expected are LF or CR LF at the lines' ends, or the cell in quotes"
SEPARATED = "{file}: its cells are separated by …: expected are commas, and points in numbers"

CSV = {
    "empty": Bad(b"", "{file}: it is empty"),
    "blank lines": Bad(b"\n\r\n\n", "{file}: it is empty"),
    "a mark alone": Bad(b"\xef\xbb\xbf", "{file}: it is empty"),
    "header only": Bad(POINT, "{file}: it has no rows"),
    "header without line end": Bad(b"width,height", "{file}: it has no rows"),
    "header and blank lines": Bad(POINT + b"\n\r\n", "{file}: it has no rows"),
    "no header": Bad(b"1,2\n3,4\n", MISSING + "1, 2"),
    "missing column": Bad(
        b"width\n1\n",
        "{file}: the column 'height' is missing: expected are width, height; there are width",
    ),
    "other case": Bad(b"Width,Height\n1,2\n", MISSING + "Width, Height"),
    "space in the header": Bad(b"width, height\n1,2\n", "{file}: the column 'height' is missing: …"),
    "column twice": Bad(
        b"width,height,width\n1,2,3\n",
        "{file}: the column 'width' is there twice: expected are width, height; there are width, height, width",
    ),
    "column thrice": Bad(b"width,height,width,width\n1,2,3,4\n", "{file}: the column 'width' is there 3 times: …"),
    "semicolons": Bad(b"width;height\n1,5;2\n", SEPARATED.replace("…", "';'")),
    "tabs": Bad(b"width\theight\n1\t2\n", SEPARATED.replace("…", "'\\t'")),
    "semicolons in rows": Bad(POINT + b"1;2\n", "row 1: expected 2 cells, got 1"),
    "too few cells": Bad(POINT + b"1,2\n\n3\n", "row 2: expected 2 cells, got 1"),
    "too many cells": Bad(POINT + b"1,2\n3,4,5\n", "row 2: expected 2 cells, got 3"),
    "commas at the ends": Bad(POINT + b"1,2,\n3,4,\n", "row 1: expected 2 cells, got 3"),
    "comma for a point": Bad(POINT + b'1,"2,5"\n', f"row 1, column 'height': {NUMBER} '2,5'"),
    "text": Bad(POINT + b"1,2\n3,x\n", f"row 2, column 'height': {NUMBER} 'x'"),
    "empty cell": Bad(POINT + b"1,2\n,4\n", f"row 2, column 'width': {NUMBER} ''"),
    "null": Bad(POINT + b"1,NULL\n", f"row 1, column 'height': {NUMBER} 'NULL'"),
    "NaN": Bad(POINT + b"1,NaN\n", f"row 1, column 'height': {NUMBER} 'NaN'"),
    "infinity": Bad(POINT + b"1,2\n-inf,2\n", f"row 2, column 'width': {NUMBER} '-inf'"),
    "beyond FP32": Bad(POINT + b"1,1e39\n", f"row 1, column 'height': {NUMBER} '1e39'"),
    "beyond doubles": Bad(POINT + b"1,1e400\n", f"row 1, column 'height': {NUMBER} '1e400'"),
    "truth": Bad(POINT + b"1,true\n", f"row 1, column 'height': {NUMBER} 'true'"),
    "NUL in a cell": Bad(POINT + b"1,\0\n", f"row 1, column 'height': {NUMBER} '\\x00'"),
    "NULs at the end": Bad(POINT + b"1,2\n" + bytes(4096), "row 2: expected 2 cells, got 1"),
    "no UTF-8": Bad(POINT + b"1,\xff\n", "row 1, column 'height': expected text in UTF-8, got b'\\xff'"),
    "header in Latin-1": Bad(
        "width,höhe\n1,2\n".encode("latin-1"),
        "{file}: expected is a header in UTF-8, got b'h\\xf6he' in it",
    ),
    "UTF-16": Bad("width,height\n1,2\n".encode("utf-16"), "{file}: it is UTF-16: expected is UTF-8"),
    "UTF-16, the other order": Bad(b"\xfe\xff\0a\0\n", "{file}: it is UTF-16: expected is UTF-8"),
    "open quote": Bad(
        POINT + b'1,"2\n3,4\n', "{file}: line 2: a quote that is opened in the row that begins here is never closed"
    ),
    "open quote in the header": Bad(
        b'width,"height\n1,2\n', "{file}: line 1: a quote that is opened in the row that begins here is never closed"
    ),
    "text behind a quote": Bad(
        POINT + b'1,2\n1,"2"x\n',
        "{file}: line 3: expected a comma or the line's end behind the quote that closes a cell, got 'x'",
    ),
    "CR alone": Bad(b"width,height\r1,2\r", "{file}: line 1: " + ALONE),
    "CR alone in a cell": Bad(POINT + b"1,2\n1,2\r3,4\n", "{file}: line 3: " + ALONE),
    "an image": Bad(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "{file}: expected is a header in UTF-8, got b'\\x89PNG' in it"),
    "gzip": Bad(packed(POINT + b"1,2\n", ".gz"), "{file}: it is compressed by gzip: give --format csv.gz"),
    "zstd": Bad(packed(POINT + b"1,2\n", ".zst"), "{file}: it is compressed by zstd: give --format csv.zst"),
    "too many columns": Bad(b",".join([b"a"] * 1_000_000) + b"\n", TOO_MANY + "1,000,000"),
    "a row of too many cells": Bad(
        POINT + b"1,2\n" + b",".join([b"1"] * 1_000_000), "row 2: expected 2 cells, got 1000000"
    ),
    "integer beyond 64 bits": Bad(
        b"first,second\n9007199254740993,1\n9223372036854775808,1\n",
        f"row 2, column 'first': {INTEGER} '9223372036854775808'",
        "counter",
    ),
    "integer with a fraction": Bad(b"first,second\n1,1.5\n", f"row 1, column 'second': {INTEGER} '1.5'", "counter"),
    "list that is no JSON": Bad(
        b'ids\n"[1,2"\n', "row 1, column 'ids': expected a list of 1 or more integers, got '[1,2'", "tokens"
    ),
    "list with null": Bad(b'ids\n"[1,null]"\n', "row 1, column 'ids': expected an integer at /1, got null", "tokens"),
    "empty list": Bad(
        b"ids\n[]\n", "row 1, column 'ids': expected a list of 1 or more integers, got a list of 0", "tokens"
    ),
    "a list nested deeply": Bad(
        b'ids\n"' + b"[" * 900 + b"]" * 900 + b'"\n',
        "row 1, column 'ids': expected an integer at /0, got a list of 1",
        "tokens",
    ),
    "no list": Bad(b"ids\n7\n", "row 1, column 'ids': expected a list of 1 or more integers, got 7", "tokens"),
    "image of another shape": Bad(
        b'image\n"[[1,2],[3,4]]"\n', "row 1, column 'image': expected a list of 8 lists, got a list of 2", "digits"
    ),
}


@pytest.mark.parametrize("wrong", CSV)
def test_csv_that_is_wrong_is_told(wrong: str, command: Command) -> None:
    """With the place, by the row's number or the line's, and what is expected there."""
    refuse(command, "in.csv", CSV[wrong])


@pytest.mark.parametrize("suffix", PACKED[1:])
@pytest.mark.parametrize("wrong", ["empty", "header only", "column twice", "too few cells", "text", "open quote"])
def test_compressed_csv_that_is_wrong_is_told(wrong: str, suffix: str, command: Command) -> None:
    """In the words for a plain file."""
    bad = CSV[wrong]
    refuse(command, f"in.csv{suffix}", bad._replace(content=packed(bad.content, suffix)))


ROW = b'{"width": 1, "height": 2}\n'
WHOLE = b'{"first": 1, "second": 2}\n'
NO_OBJECT = "row 2: expected a JSON object, got "
NONE = '{file}: expected is a JSON object on each line, such as {"width": 1.5}…'
IN_64_BITS = "expected an integer from -9223372036854775808 to 9223372036854775807, got"
NOT_FINITE = "expected a number within ±3.403e+38, got"
DEEP = b"[" * 100_000 + b"]" * 100_000
FLAT = [[0.0] * 8] * 8


def pixels(image: object) -> bytes:
    """A line with an image; the first of the file is sound, so that the column's type is known."""
    return "".join(json.dumps({"image": one}) + "\n" for one in (FLAT, image)).encode()


JSON_LINES = {
    "empty": Bad(b"", "{file}: it is empty"),
    "blank lines": Bad(b"\n \n\r\n", "{file}: it is empty"),
    "empty objects": Bad(b"{}\n{}\n", NONE),
    "CSV": Bad(POINT + b"1,2\n", NONE),
    "a list of objects": Bad(b'[{"width": 1, "height": 2}]\n', NONE),
    "a list over lines": Bad(b'[\n{"width": 1, "height": 2}\n]\n', "row 1: expected a JSON object, got '['"),
    "an object over lines": Bad(ROW + b'{"width": 1,\n"height": 2}\n', NO_OBJECT + "'{\"width\": 1,'"),
    "objects over lines": Bad(b'{"width": 1,\n"height": 2}\n', NONE),
    "two objects on a line": Bad(ROW + ROW[:-1] + ROW, NO_OBJECT + '\'{"width": 1, "height": 2}{…'),
    "a list": Bad(ROW + b"[1, 2]\n", NO_OBJECT + "a list of 2"),
    "null": Bad(ROW + b"null\n", NO_OBJECT + "null"),
    "rubbish": Bad(ROW + b"rubbish\n", NO_OBJECT + "'rubbish'"),
    "quotes of Python": Bad(ROW + b"{'width': 1, 'height': 2}\n", NO_OBJECT + "\"{'width': 1, 'height': 2}\""),
    "comma at the end": Bad(ROW + b'{"width": 1, "height": 2,}\n', NO_OBJECT + '\'{"width": 1, "height": 2,}\''),
    "zero before a number": Bad(ROW + b'{"width": 01}\n', NO_OBJECT + "'{\"width\": 01}'"),
    "cut": Bad(ROW + ROW[:-2], NO_OBJECT + '\'{"width": 1, "height": 2\''),
    "NULs": Bad(ROW + bytes(3), NO_OBJECT + "'\\x00\\x00\\x00'"),
    "UTF-16": Bad((ROW * 2).decode().encode("utf-16"), "{file}: it is UTF-16: expected is UTF-8"),
    "gzip": Bad(packed(ROW, ".gz"), "{file}: it is compressed by gzip: give --format jsonl.gz"),
    "no UTF-8": Bad(ROW[:-2] + b', "n": "\xff"}\n', "{file}: line 1: expected is text in UTF-8, got the byte 0xff"),
    "null throughout": Bad(b'{"width": null, "height": 2}\n' * 2, "row 1, column 'width': expected a number, got null"),
    "missing column": Bad(
        b'{"width": 1}\n', "{file}: the column 'height' is missing: expected are width, height; there are width"
    ),
    "name twice": Bad(
        ROW + b'{"width": 1, "height": 2, "width": 3}\n', "row 2, column 'width': expected one value, got 2"
    ),
    "missing value": Bad(ROW + b'{"width": 1}\n', "row 2, column 'height': expected a number, got null"),
    "null value": Bad(ROW + b'{"width": null, "height": 2}\n', "row 2, column 'width': expected a number, got null"),
    "text": Bad(ROW + b'{"width": "1", "height": 2}\n', "row 2, column 'width': expected a number, got '1'"),
    "text throughout": Bad(b'{"width": "1", "height": 2}\n' * 2, "row 1, column 'width': expected a number, got '1'"),
    "truth": Bad(ROW + b'{"width": true, "height": 2}\n', "row 2, column 'width': expected a number, got true"),
    "list for a number": Bad(
        ROW + b'{"width": [1], "height": 2}\n', "row 2, column 'width': expected a number, got a list of 1"
    ),
    "object for a number": Bad(
        ROW + b'{"width": {}, "height": 2}\n', "row 2, column 'width': expected a number, got an object"
    ),
    "NaN": Bad(ROW + b'{"width": NaN, "height": 2}\n', f"row 2, column 'width': {NOT_FINITE} nan"),
    "beyond FP32": Bad(ROW + b'{"width": 1e39, "height": 2}\n', f"row 2, column 'width': {NOT_FINITE} 1e+39"),
    "beyond doubles": Bad(
        ROW + b'{"width": -1e400, "height": 2}\n', "row 2, column 'width': expected a number, got a number too large"
    ),
    "deep": Bad(ROW + b'{"width": ' + DEEP + b', "height": 2}\n', NO_OBJECT + '\'{"width": [[[…'),
    "too many columns": Bad(json.dumps(dict.fromkeys(map(str, range(70_000)))).encode(), TOO_MANY + "70,000"),
    "integer beyond 63 bits": Bad(
        WHOLE + b'{"first": 9223372036854775808, "second": 2}\n',
        f"row 2, column 'first': {IN_64_BITS} 9223372036854775808",
        "counter",
    ),
    "integer beyond 64 bits": Bad(
        b'{"first": 18446744073709551616, "second": 2}\n',
        f"row 1, column 'first': {IN_64_BITS} 18446744073709551616",
        "counter",
    ),
    "fraction": Bad(
        WHOLE + b'{"first": 1.5, "second": 2}\n', "row 2, column 'first': expected an integer, got 1.5", "counter"
    ),
    "text for an integer": Bad(
        WHOLE + b'{"first": "1", "second": 2}\n', "row 2, column 'first': expected an integer, got '1'", "counter"
    ),
    "list with null": Bad(
        b'{"ids": [1, null]}\n', "row 1, column 'ids': expected an integer at /1, got null", "tokens"
    ),
    "empty list": Bad(
        b'{"ids": [1]}\n{"ids": []}\n',
        "row 2, column 'ids': expected a list of 1 or more integers, got a list of 0",
        "tokens",
    ),
    "list of lists": Bad(
        b'{"ids": [1]}\n{"ids": [[1]]}\n',
        "row 2, column 'ids': expected a list of integers, got one with a list of 1",
        "tokens",
    ),
    "image in a list": Bad(
        json.dumps({"image": [FLAT]}).encode(),
        "row 1, column 'image': expected a list of lists of numbers, got one with a list of 8",
        "digits",
    ),
    "seven rows of pixels": Bad(
        pixels(FLAT[:7]), "row 2, column 'image': expected a list of 8 lists, got a list of 7", "digits"
    ),
    "seven pixels in a row": Bad(
        pixels([*FLAT[:7], [0.0] * 7]),
        "row 2, column 'image': expected a list of 8 numbers at /7, got a list of 7",
        "digits",
    ),
    "no pixel": Bad(
        pixels([*FLAT[:7], [0.0] * 7 + [None]]),
        "row 2, column 'image': expected a number at /7/7, got null",
        "digits",
    ),
    "no row of pixels": Bad(
        pixels([*FLAT[:7], None]), "row 2, column 'image': expected a list of 8 numbers at /7, got null", "digits"
    ),
}


@pytest.mark.parametrize("wrong", JSON_LINES)
def test_json_lines_that_are_wrong_are_told(wrong: str, command: Command) -> None:
    """A line that is no object by its number among the rows, and a value of one with its column too."""
    refuse(command, "in.jsonl", JSON_LINES[wrong])


@pytest.mark.parametrize("suffix", PACKED[1:])
@pytest.mark.parametrize("wrong", ["empty", "CSV", "missing column", "cut", "text", "name twice"])
def test_compressed_json_lines_that_are_wrong_are_told(wrong: str, suffix: str, command: Command) -> None:
    """In the words for a plain file."""
    bad = JSON_LINES[wrong]
    refuse(command, f"in.jsonl{suffix}", bad._replace(content=packed(bad.content, suffix)))


class Wrong(NamedTuple):
    """A table that cannot be scored."""

    table: pa.Table
    said: str
    model: str = "line"


def point(width: Sequence[object] | pa.Array, height: Sequence[object] | pa.Array = (2.0,)) -> pa.Table:
    """A table for the model `line`."""
    return pa.table({"width": width, "height": height})


def of_type(datatype: str, expected: str = "numbers", column: str = "width") -> str:
    """What is said of a column whose type never fits."""
    return f"{{file}}: the column {column!r} is of type {datatype}: expected are {expected}"


def image(pixels: object) -> pa.Table:
    """A table of one row for the model `digits`."""
    return pa.table({"image": [pixels]})


TABLES = {
    "no rows": Wrong(point([1.0]).slice(0, 0), "{file}: it has no rows"),
    "no columns": Wrong(pa.table({}), MISSING + "none"),
    "missing column": Wrong(
        pa.table({"width": [1.0]}),
        "{file}: the column 'height' is missing: expected are width, height; there are width",
    ),
    "column twice": Wrong(
        pa.Table.from_arrays([pa.array([1.0])] * 3, ["width", "height", "width"]),
        "{file}: the column 'width' is there twice: expected are width, height; there are width, height, width",
    ),
    "null": Wrong(point([1.0, None], [1.0, 2.0]), "row 2, column 'width': expected a number, got null"),
    "nothing but null": Wrong(point(pa.nulls(1)), "row 1, column 'width': expected a number, got null"),
    "NaN": Wrong(point([1.0, np.nan], [1.0, 2.0]), f"row 2, column 'width': {NOT_FINITE} nan"),
    "beyond FP32": Wrong(point([1.0, 1e39], [1.0, 2.0]), f"row 2, column 'width': {NOT_FINITE} 1e+39"),
    "text": Wrong(point(["1"]), of_type("string")),
    "text in a dictionary": Wrong(point(pa.array(["1"]).dictionary_encode()), of_type("string")),
    "bytes": Wrong(point([b"1"]), of_type("binary")),
    "truth": Wrong(point([True]), of_type("bool")),
    "dates": Wrong(point([date(2020, 1, 1)]), of_type("date32[day]")),
    "durations": Wrong(point(pa.array([1], pa.duration("s"))), of_type("duration[s]")),
    "objects": Wrong(point([{"a": 1}]), of_type("struct<a: int64>")),
    "a map": Wrong(point(pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))), of_type("map<…>")),
    "lists": Wrong(point([[1.0]]), of_type("list<…: double>")),
    "integer beyond 63 bits": Wrong(
        pa.table({"first": pa.array([2**63], pa.uint64()), "second": [1]}),
        f"row 1, column 'first': {IN_64_BITS} 9223372036854775808",
        "counter",
    ),
    "fraction": Wrong(
        pa.table({"first": [1.5], "second": [1]}), "row 1, column 'first': expected an integer, got 1.5", "counter"
    ),
    "decimal fraction": Wrong(
        pa.table({"first": [Decimal("1.5")], "second": [1]}),
        "row 1, column 'first': expected an integer, got 1.5",
        "counter",
    ),
    "number for a list": Wrong(pa.table({"ids": [1]}), of_type("int64", "lists of integers", "ids"), "tokens"),
    "list with null": Wrong(
        pa.table({"ids": [[1, None]]}), "row 1, column 'ids': expected an integer at /1, got null", "tokens"
    ),
    "null for a list": Wrong(
        pa.table({"ids": [[1], None]}),
        "row 2, column 'ids': expected a list of 1 or more integers, got null",
        "tokens",
    ),
    "empty list": Wrong(
        pa.table({"ids": pa.array([[]], pa.list_(pa.int64()))}),
        "row 1, column 'ids': expected a list of 1 or more integers, got a list of 0",
        "tokens",
    ),
    "pixels in one list": Wrong(
        image([0.0] * 64), of_type("list<…: double>", "lists of lists of numbers", "image"), "digits"
    ),
    "image in a list": Wrong(image([FLAT]), of_type("list<…>", "lists of lists of numbers", "image"), "digits"),
    "seven rows of pixels": Wrong(
        image(FLAT[:7]), "row 1, column 'image': expected a list of 8 lists, got a list of 7", "digits"
    ),
    "seven pixels in a row": Wrong(
        image([[0.0] * 7] * 8), "row 1, column 'image': expected a list of 8 numbers at /0, got a list of 7", "digits"
    ),
    "no pixel": Wrong(
        image([*FLAT[:7], [0.0] * 7 + [None]]),
        "row 1, column 'image': expected a number at /7/7, got null",
        "digits",
    ),
}


def as_parquet(table: pa.Table) -> bytes:
    """A Parquet file."""
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def as_file(table: pa.Table) -> bytes:
    """An Arrow IPC file."""
    buffer = io.BytesIO()
    with ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_stream(table: pa.Table) -> bytes:
    """An Arrow IPC stream."""
    buffer = io.BytesIO()
    with ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


COLUMNS = {"in.parquet": as_parquet, "in.arrow": as_file, "stream.arrow": as_stream}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("wrong", TABLES)
def test_tables_that_are_wrong_are_told(wrong: str, name: str, command: Command) -> None:
    """In the same words, whichever format holds the columns."""
    table, said, model = TABLES[wrong]
    refuse(command, name, Bad(COLUMNS[name](table), said, model))


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_of_too_many_columns_are_told(name: str, command: Command) -> None:
    """By what stands before or behind the rows, of which none is read."""
    schema = pa.schema([(f"c{place}", pa.int8()) for place in range(70_000)])
    if name == "in.parquet":
        buffer = io.BytesIO()
        parquet.write_metadata(schema, buffer)
        content = buffer.getvalue()
    else:
        content = COLUMNS[name](schema.empty_table())
    refuse(command, name, Bad(content, TOO_MANY + "70,000"))


@pytest.mark.parametrize("suffix", PACKED[1:])
@pytest.mark.parametrize("written", [as_file, as_stream])
@pytest.mark.parametrize("wrong", ["no rows", "missing column", "NaN", "text"])
def test_compressed_tables_that_are_wrong_are_told(
    wrong: str, written: Callable[[pa.Table], bytes], suffix: str, command: Command
) -> None:
    """In the words for a plain file."""
    table, said, model = TABLES[wrong]
    refuse(command, f"in.arrow{suffix}", Bad(packed(written(table), suffix), said, model))


LINES = POINT + b"".join(b"%d,%d.5\n" % (place, place * 7919) for place in range(2_000))
POINTS = point([float(place) for place in range(2_000)], [place / 3 for place in range(2_000)])
PARQUET, FILE, STREAM = as_parquet(POINTS), as_file(POINTS), as_stream(POINTS)
GZIP, ZSTD = packed(LINES, ".gz"), packed(LINES, ".zst")
BROKEN = "{file}: it is truncated or damaged…"
NO_ARROW = "{file}: it is no Arrow file"
UNREADABLE = "{file}: it cannot be read: …"


def summed(table: pa.Table) -> bytes:
    """A Parquet file with the sums of its pages."""
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="none", use_dictionary=False, write_page_checksum=True)
    return buffer.getvalue()


def bent(content: bytes, place: int, bit: int = 0x5A) -> bytes:
    """The content with some bits of one byte, counted from the end where `place` is negative, turned round."""
    changed = bytearray(content)
    changed[place] ^= bit
    return bytes(changed)


DAMAGED = [
    ("in.csv.gz", "empty", b"", "{file}: it is empty"),
    ("in.csv.gz", "nothing in it", packed(b"", ".gz"), "{file}: it is empty"),
    ("in.csv.gz", "cut in its head", GZIP[:5], BROKEN),
    ("in.csv.gz", "cut in the middle", GZIP[: len(GZIP) // 2], BROKEN),
    ("in.csv.gz", "cut in its sum", GZIP[:-4], BROKEN),
    ("in.csv.gz", "bent", bent(GZIP, len(GZIP) // 2), BROKEN),
    ("in.csv.gz", "bent sum", bent(GZIP, -6), BROKEN),
    ("in.csv.gz", "rubbish behind", GZIP + b"rubbish", BROKEN),
    ("in.csv.gz", "plain", LINES, BROKEN),
    ("in.csv.gz", "zstd", ZSTD, BROKEN),
    ("in.csv.zst", "empty", b"", "{file}: it is empty"),
    ("in.csv.zst", "nothing in it", packed(b"", ".zst"), "{file}: it is empty"),
    ("in.csv.zst", "cut in its head", ZSTD[:5], BROKEN),
    ("in.csv.zst", "cut in the middle", ZSTD[: len(ZSTD) // 2], BROKEN),
    ("in.csv.zst", "cut at the end", ZSTD[:-1], BROKEN),
    ("in.csv.zst", "rubbish behind", ZSTD + b"rubbish", BROKEN),
    ("in.csv.zst", "plain", LINES, BROKEN),
    ("in.csv.zst", "gzip", GZIP, BROKEN),
    ("in.jsonl.gz", "cut", packed(ROW * 999, ".gz")[:-12], BROKEN),
    ("in.jsonl.zst", "cut", packed(ROW * 999, ".zst")[:-3], BROKEN),
    ("in.parquet", "empty", b"", "{file}: it is empty"),
    ("in.parquet", "CSV", LINES, UNREADABLE),
    ("in.parquet", "seven bytes", PARQUET[:7], UNREADABLE),
    ("in.parquet", "cut in the middle", PARQUET[: len(PARQUET) // 2], UNREADABLE),
    ("in.parquet", "cut at the end", PARQUET[:-1], UNREADABLE),
    ("in.parquet", "no beginning", PARQUET[len(PARQUET) // 2 :], UNREADABLE),
    ("in.parquet", "bent length of the footer", bent(PARQUET, -5), UNREADABLE),
    ("in.parquet", "bent footer", bent(PARQUET, -10), UNREADABLE),
    ("in.parquet", "encrypted", PARQUET[:-4] + b"PARE", UNREADABLE + "encrypted…"),
    ("in.parquet", "pages of zeros", PARQUET[:4] + bytes(9_000) + PARQUET[9_004:], UNREADABLE),
    ("in.parquet", "bent page", bent(summed(POINTS), 9_000), UNREADABLE + "page integrity…"),
    # A column that may be null, and which then may not, as how often it is contradicts.
    ("in.parquet", "bent levels", PARQUET.replace(b"%\2\x18\6height", b"%\0\x18\6height"), UNREADABLE),
    ("in.parquet", "bent name", PARQUET.replace(b"height", b"\xffeight"), UNREADABLE + "a name in it is not UTF-8"),
    ("in.arrow", "bent name", FILE.replace(b"height", b"\xffeight"), UNREADABLE + "a name in it is not UTF-8"),
    ("stream.arrow", "bent name", STREAM.replace(b"height", b"\xffeight"), UNREADABLE + "a name in it is not UTF-8"),
    ("in.arrow", "empty", b"", "{file}: it is empty"),
    ("in.arrow", "CSV", LINES, NO_ARROW),
    ("in.arrow", "four bytes", FILE[:4], NO_ARROW),
    ("in.arrow", "its magic alone", FILE[:8], UNREADABLE),
    ("in.arrow", "cut in the middle", FILE[: len(FILE) // 2], UNREADABLE),
    ("in.arrow", "cut at the end", FILE[:-1], UNREADABLE),
    ("in.arrow", "bent length of the footer", bent(FILE, -8), UNREADABLE),
    ("in.arrow", "Parquet", PARQUET, NO_ARROW),
    ("in.arrow", "zeros", bytes(4096), NO_ARROW),
    ("stream.arrow", "four bytes", STREAM[:4], UNREADABLE),
    ("stream.arrow", "cut in the schema", STREAM[:20], UNREADABLE),
    ("stream.arrow", "cut in the middle", STREAM[: len(STREAM) // 2], UNREADABLE),
    ("stream.arrow", "cut at the end", STREAM[:-1], UNREADABLE),
    ("in.arrow.gz", "cut", packed(FILE, ".gz")[:-20], BROKEN),
    ("in.arrow.zst", "cut", packed(STREAM, ".zst")[:-20], BROKEN),
    ("in.arrow.gz", "of a cut file", packed(FILE[:-20], ".gz"), "{file}: it is truncated: …"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "content", "said"), [pytest.param(*one, id=f"{one[0]} {one[1]}") for one in DAMAGED]
)
def test_files_that_are_damaged_are_told(name: str, wrong: str, content: bytes, said: str, command: Command) -> None:  # noqa: ARG001  # it names the test
    """Rows that are not valid may be left out; what is lost with the end of a file may not."""
    refuse(command, name, Bad(content, said), "--on-error", "skip")


NOTES = point([1.0] * 300, [2.0] * 300).append_column("note", [["ab"] * 300])
BROKEN_TEXT = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xffb"]).buffers())
BROKEN_NOTE = point([1.0]).append_column("note", [BROKEN_TEXT])
ENDS = np.arange(0, 601, 2, dtype=np.int32)
FAR = np.where(np.arange(301) == 100, 0x7F000000, ENDS).astype(np.int32)
HALF = b'{"width": 1, "height": 2, "note": "\\ud800"}\n'
OUTSIDE = "{file}: it cannot be read: the column 'note' is damaged: …out of bounds…"
NO_TEXT = "{file}: it cannot be read: the column 'note' is damaged: …UTF8…"
DAMAGED_NOTES = [
    ("in.arrow", "offset", as_file(NOTES).replace(ENDS.tobytes(), FAR.tobytes()), OUTSIDE),
    ("stream.arrow", "offset", as_stream(NOTES).replace(ENDS.tobytes(), FAR.tobytes()), OUTSIDE),
    ("in.arrow", "UTF-8", as_file(BROKEN_NOTE), NO_TEXT),
    ("stream.arrow", "UTF-8", as_stream(BROKEN_NOTE), NO_TEXT),
    ("in.arrow.gz", "UTF-8", packed(as_file(BROKEN_NOTE), ".gz"), NO_TEXT),
    ("in.parquet", "UTF-8", as_parquet(BROKEN_NOTE), NO_TEXT),
    ("in.csv", "UTF-8", b"width,height,note\n1,2,\xff\n", "row 1, column 'note': expected text in UTF-8, got b'\\xff'"),
    ("in.jsonl", "half a character", HALF, "row 1, column 'note': expected text in UTF-8, got '\\ud800'"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "content", "said"), [pytest.param(*one, id=f"{one[0]} {one[1]}") for one in DAMAGED_NOTES]
)
def test_kept_columns_that_are_damaged_are_told(
    name: str,
    wrong: str,  # noqa: ARG001  # it names the test
    content: bytes,
    said: str,
    command: Command,
) -> None:
    """They are not carried through as they are, nor do they end the process."""
    refuse(command, name, Bad(content, said), "--keep", "note")


DIRTY = b"""width,height
1,2
3,x
5

,y
nan,1
0,1
8,1e39
\xff,1
9,10,11
0,2
"""
TOLD = r"""file,row,column,expected,got
{file},2,height,a number that FP32 can hold,'x'
{file},3,,2 cells,1
{file},4,width,a number that FP32 can hold,''
{file},4,height,a number that FP32 can hold,'y'
{file},5,width,a number that FP32 can hold,'nan'
{file},7,height,a number that FP32 can hold,'1e39'
{file},8,width,text in UTF-8,b'\xff'
{file},9,,2 cells,3
"""
DIRTY_OBJECTS = b"""{"width": 1, "height": 2}
rubbish

{"width": null}
{"height": 1, "width": 0}
[1]
{"width": 1, "height": 2, "width": 3}
{"width": 1e400, "height": 2}
{"width": "1", "height": [2]}
{"width": 0, "height": 2}
"""
OBJECTS_TOLD = """file,row,column,expected,got
{file},2,,a JSON object,'rubbish'
{file},3,width,a number,null
{file},3,height,a number,null
{file},5,,a JSON object,a list of 1
{file},6,width,one value,2
{file},7,width,a number,a number too large
{file},8,width,a number,'1'
{file},8,height,a number,a list of 1
"""
DIRTY_TABLE = point([1.0, None, 3.0, np.nan, 0.0, 0.0, 1e300, None], [2.0, 1.0, np.inf, None, 1.0, 2.0, 1.0, 1.0])
TABLE_TOLD = """file,row,column,expected,got
{file},2,width,a number,null
{file},3,height,a number within ±3.403e+38,a number too large
{file},4,width,a number within ±3.403e+38,nan
{file},4,height,a number,null
{file},7,width,a number within ±3.403e+38,1e+300
{file},8,width,a number,null
"""


@pytest.mark.parametrize(
    ("name", "content", "rejected", "told"),
    [
        *((f"in.csv{one}", packed(DIRTY, one), 7, TOLD) for one in PACKED),
        *((f"in.jsonl{one}", packed(DIRTY_OBJECTS, one), 6, OBJECTS_TOLD) for one in PACKED),
        ("in.parquet", as_parquet(DIRTY_TABLE), 5, TABLE_TOLD),
        *((f"in.arrow{one}", packed(as_file(DIRTY_TABLE), one), 5, TABLE_TOLD) for one in PACKED),
        *((f"in.ipc{one}", packed(as_stream(DIRTY_TABLE), one), 5, TABLE_TOLD) for one in PACKED),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("in.") else "",
)
def test_rows_that_are_wrong_are_left_out_and_told(
    name: str, content: bytes, rejected: int, told: str, command: Command
) -> None:
    """Each of a row's faults is a line of the side file, and the others' answers are those of a clean file."""
    Path(name).write_bytes(content)
    status, out, err = command("line", name, "out.csv", "--on-error", "skip")
    assert (status, err) == (REJECTED, "")
    assert out.splitlines()[1:] == [f"{rejected} rows rejected"]
    assert sorted(os.listdir()) == [name, "out.csv"]  # noqa: PTH208  # of where it runs
    status, out, err = command("line", name, "more.csv", "--on-error", "quarantine")
    assert (status, err) == (REJECTED, "")
    assert out.splitlines()[1:] == [f"{rejected} rows rejected: more.csv.rejected.csv says why"]
    assert Path("more.csv.rejected.csv").read_text() == told.replace("{file}", name)
    assert Path("out.csv").read_text() == Path("more.csv").read_text() == '"value"\n-2\n-1.25\n-2.5\n'


@pytest.fixture
def odd(tmp_path: Path) -> None:
    """Things in the folder that are no files of rows, and folders of which one file is bad."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "lost.csv").symlink_to("gone.csv")
    (tmp_path / "circle.csv").symlink_to("circle.csv")
    for name in ("nothing.csv", "value", "column", "cut", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "sound.csv").write_bytes(POINT + b"1,2\n")
    for name in ("value", "column", "other"):
        (tmp_path / name / "a.csv").write_bytes(POINT + b"1,2\n")
    (tmp_path / "value" / "b.csv").write_bytes(POINT + b"1,2\n3,x\n")
    (tmp_path / "column" / "b.csv").write_bytes(b"width,depth\n1,2\n")
    (tmp_path / "cut" / "a.csv.gz").write_bytes(GZIP)
    (tmp_path / "cut" / "b.csv.gz").write_bytes(GZIP[:-9])
    (tmp_path / "other" / "b.jsonl").write_bytes(ROW)


NO_FILE = "{source}: it is no regular file: what comes from a pipe is read from standard input, as -"
IN_B = "row 2, column 'height': expected a number that FP32 can hold, got 'x'"
UNKNOWN = "its name does not say its format: known are .csv, …"


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pipe.csv", NO_FILE),
        ("/dev/zero --format csv", NO_FILE),
        ("lost.csv", "{source}: it cannot be read: No such file or directory"),
        ("circle.csv", "{source}: it cannot be read: Too many levels of symbolic links"),
        ("sound.csv/in.csv", "{source}: it cannot be read: Not a directory"),
        ("", "the input's name is empty: give a file, a folder, a pattern, or - for standard input"),
        (os.fsdecode(b"\xff.csv"), "\\xff.csv: its name is not UTF-8: rename it"),
        ("nothing.csv", "{source}: the folder holds no file of rows: known are …"),
        ("[xyz]*.csv", "{source}: no file fits the pattern"),
        ("value", f"value/b.csv, {IN_B}"),
        ("value/?.csv", f"value/b.csv, {IN_B}"),
        ("column", "column/b.csv: the column 'height' is missing: expected are width, height; there are width, depth"),
        ("cut", "cut/b.csv.gz: it is truncated or damaged…"),
        ("other", "other/b.jsonl is no csv as other/a.csv is: score one format at a time"),
        ("sound.csv --format parquet", "{source}: it cannot be read: …"),
        ("sound.csv --format csv.gz", "{source}: it is truncated or damaged: …"),
        ("sound.csv --format text", "--format: expected one of csv, jsonl, parquet, arrow, … got 'text'"),
        ("-", "standard input: it has no name that says its format: give it with --format"),
        ("- --format parquet", "standard input: Parquet begins to be read at its end: give it as a file"),
    ],
)
def test_inputs_that_cannot_be_read_are_told(source: str, said: str, command: Command) -> None:
    """Each by its name, also one file of a folder; nothing of an output is left."""
    source, *options = source.split() or [source]
    before = sorted(Path().rglob("*"))
    status, out, err = command("line", source, "out.csv", *options)
    check(err, said.replace("{source}", source))
    assert (status, out) == (FAILURE, "")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing.csv", "{target} exists already: name another file, or allow it with --overwrite"),
        ("nothing.csv --overwrite", "{target}: it cannot be written: Is a directory"),
        ("gone/out.csv", "{target}: it cannot be written: No such file or directory"),
        ("sound.csv/out.csv", "{target}: it cannot be written: Not a directory"),
        ("sound.csv --overwrite", "sound.csv, or its file of rejected rows, is to be scored itself: name another"),
        ("pipe.csv --overwrite", "{target}: it cannot be written: it is no file"),
        ("/dev/null --output-format csv", "{target} exists already: name another file, or allow it with --overwrite"),
        ("/dev/null --output-format csv --overwrite", "{target}: it cannot be written: it is no file"),
        (f"{'x' * 300}.csv", "{target}: it cannot be written: File name too long"),
        ("out", f"{{target}}: {UNKNOWN}"),
        ("out.parquet.gz", f"{{target}}: {UNKNOWN}"),
    ],
)
def test_outputs_that_cannot_be_written_are_told(target: str, said: str, command: Command) -> None:
    """Each by its name, and what lies there stays as it is."""
    target, *options = target.split()
    before = sorted(Path().rglob("*"))
    status, out, err = command("line", "sound.csv", target, *options)
    check(err, said.replace("{target}", target))
    assert (status, out) == (FAILURE, "")
    assert sorted(Path().rglob("*")) == before


MEASURED = """
import sys
from service.__main__ import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    print(*[line.split()[1] for line in file if line.startswith("VmHWM")])
sys.exit(status)
"""
"""Runs the command, and prints behind what it prints how many kilobytes it has had at the most."""


def bomb(suffix: str) -> bytes:
    """A gibibyte of zeros in about a megabyte, or less: streams one behind the other, which are one."""
    return packed(bytes(64 << 20), suffix) * 16


class Hostile(NamedTuple):
    """A file that would take much memory where somebody read it whole."""

    name: str
    content: Callable[[], bytes]
    end: Said
    """With what is left behind it in place of what is printed."""
    options: Sequence[str] = ()


HOSTILE = {
    "bomb of gzip": Hostile("in.csv.gz", lambda: bomb(".gz"), Said(FAILURE, "", f"in.csv.gz: {TOO_LONG}")),
    "bomb of zstd": Hostile("in.jsonl.zst", lambda: bomb(".zst"), Said(FAILURE, "", f"in.jsonl.zst: {TOO_LONG}")),
    "row of 60 MB": Hostile(
        "in.csv",
        lambda: POINT + b"1,2\n" + b"," * 60_000_000 + b"\n0,2\n",
        Said(REJECTED, '"value"\n-2\n-2.5\n', ""),
        ["--on-error", "skip"],
    ),
}


def measured(models: Path, folder: Path, name: str, *options: str) -> tuple[Said, int]:
    """How a process ends that scores a file of the folder, or endless zeros as standard input; and its memory."""
    command = [sys.executable, "-c", MEASURED, "score", "line", name, "out.csv", "--models", str(models), *options]
    variables = {**environment(), "PYTHONPATH": str(ROOT)}
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            command, cwd=folder, env=variables, stdin=zeros, capture_output=True, text=True, check=False
        )
    *_, peak = done.stdout.splitlines()
    return Said(done.returncode, done.stdout, done.stderr), int(peak)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_take_no_more_memory(kind: str, models: Path, tmp_path: Path) -> None:
    """Real processes, of which each has about what an ordinary file takes and the longest record that may be."""
    name, content, (status, left, said), options = HOSTILE[kind]
    (tmp_path / name).write_bytes(content())
    ended, peak = measured(models, tmp_path, name, *options)
    assert ended.status == status, ended.err
    if left:
        assert (ended.err, (tmp_path / "out.csv").read_text()) == ("", left)
    else:
        check(ended.err, said)
        assert [path.name for path in tmp_path.iterdir()] == [name]
    assert peak <= PEAK


def test_endless_standard_input_takes_no_more_memory(models: Path, tmp_path: Path) -> None:
    """It is refused as soon as it is plain that its first record has no end."""
    ended, peak = measured(models, tmp_path, "-", "--format", "csv")
    check(ended.err, f"standard input: {TOO_LONG}")
    assert (ended.status, list(tmp_path.iterdir())) == (FAILURE, [])
    assert peak <= PEAK
