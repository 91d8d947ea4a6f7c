"""Behaviour of service.scoring.reading.csv_file."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.errors import ScoreError
from service.scoring.reading.blocks import MOST_COLUMNS, UnfitError
from service.scoring.reading.csv_file import CsvFile
from tests.service.scoring.conftest import blocks_of, file_at, found_in, refusal, rows_of

TEXT = {"a": pa.string(), "b": pa.string()}
NUMBERS = {"a": pa.float64(), "b": pa.float64()}

cells = st.text(st.sampled_from('",\n\r a1é\x00') | st.characters(codec="utf-8"), max_size=8)


def opened(path: Path, content: str | bytes, chunk: int = 16) -> CsvFile:
    """A CSV file of this content."""
    return CsvFile(file_at(path / "a.csv", content if isinstance(content, bytes) else content.encode()), chunk)


@settings(deadline=None)
@given(
    rows=st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    chunk=st.integers(1, 60),
    mark=st.booleans(),
)
def test_blocks_hold_what_was_written(
    rows: list[list[str]], quoting: int, chunk: int, tmp_path_factory: pytest.TempPathFactory, *, mark: bool
) -> None:
    """Wherever they are cut, and whatever quotes, commas and line ends the cells have, the header's too."""
    text = io.StringIO()
    # Else the library leaves a CR without quotes.
    csv.writer(text, quoting=quoting, lineterminator="\r\n").writerows(rows)  # type: ignore[arg-type]  # it is one of them
    content = ("\ufeff" if mark else "") + text.getvalue()
    file = opened(tmp_path_factory.mktemp("csv"), content, chunk)
    header, *written = rows
    assert file.schema == pa.schema([(name, pa.string()) for name in header])
    if len(set(header)) < len(header):
        return
    types = dict.fromkeys(header, pa.string())
    assert [list(row.values()) for row in rows_of(file, types)] == written
    assert [row for block in blocks_of(file, types) for row in block.loosely().batch.to_pylist()] == [
        dict(zip(header, row, strict=True)) for row in written
    ]


@settings(deadline=None)
@given(text=st.text(st.sampled_from('"",,\n\n\ra'), max_size=30), chunk=st.integers(1, 12))
@example(text='1,"x\n2,y\n3,"z"\n', chunk=4)
def test_any_text_means_the_same_wherever_it_is_cut(
    text: str, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rows, faults and refusals of small blocks are those of one that holds the file."""
    folder = tmp_path_factory.mktemp("csv")

    def read(size: int) -> tuple[object, ...]:
        rows, faults, before = [], [], 0
        try:
            for block in blocks_of(opened(folder, f"a,b\n{text}", size), TEXT):
                loose = block.loosely()
                own, others = found_in(loose)
                rows += [(before + row, cells) for row, cells in own]
                faults += [(before + row, *rest) for row, *rest in others]  # type: ignore[operator]  # it is a number
                before += loose.count
                try:
                    strict = block.strictly()
                except UnfitError:
                    assert others
                else:
                    assert strict == loose.batch
        except ScoreError as error:
            return error.message, [], []
        return "", rows, faults

    assert read(chunk) == read(1 << 20)


def test_numbers_are_read_as_they_stand(tmp_path: Path) -> None:
    """Signs, spaces, quotes and exponents do not change a number, and each is the nearest double."""
    file = opened(tmp_path, 'b,x,a\n" 1 ",,+0.1\n1e3,"y\nz",\t.5\n1.,,1e400\nnan,,inf\n')
    assert [str(row) for row in rows_of(file, NUMBERS)] == [
        str({"a": a, "b": b}) for a, b in [(0.1, 1.0), (0.5, 1000.0), (float("inf"), 1.0), (float("inf"), float("nan"))]
    ]


@pytest.mark.parametrize("cell", ["", "NA", "null", "0x10", "1_0", "true", "1e", "x", "\x1d", "1 2"])
def test_what_is_no_number_is_left_as_text(cell: str, tmp_path: Path) -> None:
    """The close look shows what stands there, with the rows beside it."""
    (block,) = blocks_of(opened(tmp_path, f"a,b\n1,2\n{cell},4\n", 100), NUMBERS)
    with pytest.raises(UnfitError):
        block.strictly()
    rows, faults = found_in(block.loosely())
    assert rows == [(0, {"a": "1", "b": "2"}), (1, {"a": cell, "b": "4"})]
    assert not faults


def test_rows_of_another_width_are_found(tmp_path: Path) -> None:
    """Blank lines are no rows, and a row may take several lines."""
    (block,) = blocks_of(opened(tmp_path, 'a,b\n\n1,2\n3\n\n"4\n",5\n6,7,8\n9,10\n', 100), TEXT)
    with pytest.raises(UnfitError):
        block.strictly()
    rows, faults = found_in(block.loosely())
    assert [row for row, _ in rows] == [0, 2, 4]
    assert faults == [(1, "", "2 cells", "1"), (3, "", "2 cells", "3")]


def test_cells_that_are_no_text_are_found(tmp_path: Path) -> None:
    """Where they are asked for; in another column they do not matter."""
    content = b"a,b,c\n1,\xff,\xff\n\n2\n3,\xc3\xa9,\xff\n\xfe" + b"x" * 99 + b",\xfd,\xff\n"
    (block,) = blocks_of(opened(tmp_path, content, 1000), TEXT)
    with pytest.raises(UnfitError):
        block.strictly()
    rows, faults = found_in(block.loosely())
    assert rows == [(2, {"a": "3", "b": "é"})]
    assert faults == [
        (0, "b", "text in UTF-8", r"b'\xff'"),
        (1, "", "3 cells", "1"),
        (3, "a", "text in UTF-8", rf"b'\xfe{'x' * 34}…"),
        (3, "b", "text in UTF-8", r"b'\xfd'"),
    ]


def test_a_quote_in_a_cell_that_is_not_quoted_is_a_sign_like_others(tmp_path: Path) -> None:
    """Inches, as people write them."""
    file = opened(tmp_path, 'a,b\n5" pipe,1\n"6"" pipe, red",2\n7"",3\n" 8 ","9"\n', 1)
    assert [row["a"] for row in rows_of(file, TEXT)] == ['5" pipe', '6" pipe, red', '7""', " 8 "]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("\n\r\n", "it is empty"),
        (
            "a,b\r1,2\r3,4",
            "line 1: a CR stands alone: expected are LF or CR LF at the lines' ends, or the cell in quotes",
        ),
        (b"a,\xff\n1,2\n", r"expected is a header in UTF-8, got b'\xff' in it"),
        ('a,"b\n1,2\n', "line 1: a quote that is opened in the row that begins here is never closed"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote that is opened in the row that begins here is never closed"),
        ('a,b\n"\n",2\n3,"4\n', "line 4: a quote that is opened in the row that begins here is never closed"),
        # Two that were forgotten look like one cell: what stands behind it shows that it is none.
        (
            'a,b\n1,2\n3,"4\n5,"6\n7,8\n',
            "line 3: expected a comma or the line's end behind the quote that closes a cell, got '6'",
        ),
        ('a,b\n1,"2"x\n', "line 2: expected a comma or the line's end behind the quote that closes a cell, got 'x'"),
        (
            'a,b\n1,"2"é\n',
            "line 2: expected a comma or the line's end behind the quote that closes a cell, got the byte 0xc3",
        ),
        ('"a" ,b\n1,2\n', "line 1: expected a comma or the line's end behind the quote that closes a cell, got ' '"),
    ],
)
def test_a_file_that_cannot_be_taken_apart_is_told(content: str | bytes, said: str, tmp_path: Path) -> None:
    """With the line in which it begins."""
    assert refusal(tmp_path / "a.csv", content if isinstance(content, bytes) else content.encode()).startswith(said)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_rows_before_a_quote_without_end_are_there(chunk: int, tmp_path: Path) -> None:
    """The line is counted over the whole file, wherever the blocks are cut and from wherever it is read."""
    file = opened(tmp_path, "a,b\n" + "1,2\n" * 50 + '3,"4\n', chunk)
    segments: list[tuple[int, int]] = []
    with pytest.raises(ScoreError, match="line 52: a quote that is opened"):
        segments.extend(file.segments())
    assert segments[-1][1] == 4 + 4 * 50
    with pytest.raises(ScoreError, match="line 52: a quote that is opened"):
        list(file.segments(segments[-1][1]))


def test_a_header_may_stand_alone(tmp_path: Path) -> None:
    """It is no fault of the file: it has columns, but no rows."""
    for content in ("a,b", "a,b\n", '\ufeff\n"a",b\r\n\r\n'):
        file = opened(tmp_path, content)
        assert file.schema.names == ["a", "b"]
        assert rows_of(file, NUMBERS) == []


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    """Not before the header, and not where a block has nothing else."""
    file = opened(tmp_path, "\n\r\na,b\n" + "\n" * 100 + "1,2\n" + "\r\n" * 100, 8)
    assert rows_of(file, NUMBERS) == [{"a": 1, "b": 2}]
    assert all(block.loosely().count <= 1 for block in blocks_of(file, NUMBERS))


def test_columns_of_one_name_do_not_matter_to_others(tmp_path: Path) -> None:
    """They are there twice, in the order of the file."""
    file = opened(tmp_path, "x,a,x,b\n1,2,3,4\n", 100)
    assert file.schema.names == ["x", "a", "x", "b"]
    assert rows_of(file, NUMBERS) == [{"a": 2, "b": 4}]


def test_columns_come_in_the_order_asked_for(tmp_path: Path) -> None:
    """`pa.null()` asks for them as they are."""
    file = opened(tmp_path, "a,b\n1,2\n")
    assert rows_of(file, {"b": pa.null(), "a": pa.float64()}) == [{"b": "2", "a": 1}]


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    """At once; as many as there may be are read."""
    said = "expected are at most 65,536 columns, got 1,000,000"
    assert refusal(tmp_path / "a.csv", b",".join(b"%d" % place for place in range(1_000_000))) == said
    names = [str(place) for place in range(MOST_COLUMNS)]
    file = opened(tmp_path, ",".join(names) + "\n" + ",".join(names) + "\n", 1 << 20)
    assert rows_of(file, {"65535": pa.float64()}) == [{"65535": 65535.0}]


def test_a_byte_order_mark_within_a_file_is_part_of_its_cell(tmp_path: Path) -> None:
    """Also where a block begins with it."""
    file = opened(tmp_path, "a,b\n\ufeff1,2\n\ufeff3,4\n", 1)
    assert [row["a"] for row in rows_of(file, TEXT)] == ["\ufeff1", "\ufeff3"]
