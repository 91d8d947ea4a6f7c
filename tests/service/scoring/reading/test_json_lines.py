"""Behaviour of service.scoring.reading.json_lines."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.scoring.reading.blocks import UnfitError
from service.scoring.reading.json_lines import JsonLinesFile
from tests.service.scoring.conftest import blocks_of, file_at, found_in, refusal, rows_of

TYPES = {"a": pa.float64(), "n": pa.int64()}

tricky = st.sampled_from(
    [
        '{"a":1}',
        ' {"a":2,"n":3}\r',
        '{"a":NaN}',
        '{"n":1.0}',
        '{"a":1} {"a":2}',
        '{"a":',
        "3}",
        "",
        " ",
        "\r",
        '{"z":{}',
        ',"a":{}}',
        '{"a":"x"}',
        "[1]",
        "{}",
        "}{",
    ]
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "a": st.floats(allow_nan=False, allow_infinity=False),
        "n": st.integers(-(2**63), 2**63 - 1),
        "z": st.text(),
    },
)


def opened(path: Path, content: bytes | str, chunk: int = 16) -> JsonLinesFile:
    """A file of this content."""
    return JsonLinesFile(file_at(path / "a.jsonl", content if isinstance(content, bytes) else content.encode()), chunk)


@settings(deadline=None)
@given(rows=st.lists(objects, min_size=1), chunk=st.integers(1, 100))
def test_blocks_hold_what_was_written(
    rows: list[dict[str, object]], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the last bit, wherever they are cut; what is missing is null."""
    text = '{"a": 1.5}\n' + "\n".join(map(json.dumps, rows))
    read = rows_of(opened(tmp_path_factory.mktemp("json"), text, chunk), TYPES)
    assert read[0] == {"a": 1.5, "n": None}
    assert list(map(repr, read[1:])) == [repr({"a": row.get("a"), "n": row.get("n")}) for row in rows]


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(tricky, max_size=8), chunk=st.integers(1, 40))
@example(lines=['{"a":1} {"a":2}', '{"a":', "3}"], chunk=1)
@example(lines=["", '{"a":1} {"a":2}'], chunk=1)
def test_a_line_means_the_same_whatever_stands_beside_it(
    lines: list[str], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One object a line is the rule, read fast or closely, in blocks of any size."""
    lines = ['{"a":0}', *lines]
    folder = tmp_path_factory.mktemp("json")
    alone: list[object] = []
    for line in lines:
        if line.strip():
            # The first line says what there is.
            loose = blocks_of(opened(folder, f'{{"a":0}}\n{line}', 1), TYPES)[1].loosely()
            alone.append([str(loose.batch.to_pylist()), [fault[1:] for fault in loose.faults]])
    together: list[object] = []
    for block in blocks_of(opened(folder, "\n".join(lines), chunk), TYPES):
        rows, faults = found_in(block.loosely())
        for place in range(block.loosely().count):
            own = [row for row, *_ in rows if row == place]
            told = [fault[1:] for fault in faults if fault[0] == place]
            together.append([str([dict(rows)[row] for row in own]), told])
        try:
            strict = block.strictly()
        except UnfitError:
            continue
        assert not faults
        assert str(strict.to_pylist()) == str([row for _, row in rows])
    assert together == alone


def test_kept_columns_have_the_types_of_the_first_rows(tmp_path: Path) -> None:
    """A later row of another type is faulty."""
    file = opened(tmp_path, '{"k":1,"a":1}\n{"k":"x","a":2}\n{"k":3.0,"a":3}\n', 15)
    assert file.schema == pa.schema([("k", pa.int64()), ("a", pa.int64())])
    found = [found_in(block.loosely()) for block in blocks_of(file, {"a": pa.float64(), "k": pa.null()})]
    assert [rows for rows, _ in found] == [[(0, {"a": 1.0, "k": 1})], [], [(0, {"a": 3.0, "k": 3})]]
    assert [faults for _, faults in found] == [[], [(0, "k", "an integer", "'x'")], []]


def test_long_ids_are_kept_exactly(tmp_path: Path) -> None:
    """All 64 bits of them."""
    ids = [2**64 - 1, 2**53 + 1, 12345678901234567891]
    file = opened(tmp_path, "\n".join(f'{{"id": {one}, "a": 1}}' for one in ids), 1000)
    assert file.schema.field("id").type == pa.uint64()
    assert [row["id"] for row in rows_of(file, {"id": pa.null()})] == ids


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    """Windows' line ends are fine, and the last line needs none."""
    file = opened(tmp_path, '\ufeff\n{"a":1}\r\n \r\n\n{"a":2}', 1000)
    assert [row["a"] for row in rows_of(file, TYPES)] == [1, 2]


def test_nulls_are_left_to_who_judges_values(tmp_path: Path) -> None:
    """They fit every type, and are no fault here."""
    (block,) = blocks_of(opened(tmp_path, '{"a":null,"n":1}\n{"n":null}\n', 100), TYPES)
    assert block.strictly().to_pylist() == [{"a": None, "n": 1}, {"a": None, "n": None}]
    assert block.loosely().batch == block.strictly()


@pytest.mark.parametrize(
    "content", ['[{"a":1},\n{"a":2}]', "a,b\n1,2\n", '{\n  "a": 1\n}\n', "1\n", "PAR1", "\x00\x00", "{}\n"]
)
def test_a_file_without_objects_is_refused(content: str, tmp_path: Path) -> None:
    """An array, a table and an object over several lines are told what is expected."""
    said = 'expected is a JSON object on each line, such as {"width": 1.5}, and its first lines have none'
    assert refusal(tmp_path / "a.jsonl", content.encode()) == said


def test_a_file_of_which_no_line_is_utf_8_is_refused(tmp_path: Path) -> None:
    """By the first place where it is not."""
    path = tmp_path / "a.jsonl"
    said = "line 2: expected is text in UTF-8, got the byte 0xff"
    assert refusal(path, b'rubbish\n{"a":1,"s":"\xff"}\n') == said


def test_many_columns_are_refused(tmp_path: Path) -> None:
    """As in every format."""
    content = json.dumps({str(place): 1 for place in range(65_537)}).encode()
    assert refusal(tmp_path / "a.jsonl", content) == "expected are at most 65,536 columns, got 65,537"
