"""Behaviour of service.score."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from service.codec.tensors import Array
from service.errors import ChecksumError, RowError, ScoreError, SettingsError
from service.manifest import TensorSpec
from service.model.runtime import Runtime
from service.model.store import open_version
from service.score import Summary, score
from tests.service.conftest import Sample, damage, graph_of, publish, save

POINT = "width,height\n"


def write(path: Path, columns: Mapping[str, Sequence[object]]) -> Path:
    """A CSV file of columns; floats are written so that they can be read back to the bit."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read(path: Path) -> dict[str, list[str]]:
    """The columns of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def scored(models: Path, model: str, source: Path, **options: Any) -> dict[str, list[str]]:  # noqa: ANN401  # score's own
    """The columns of the file that scoring writes."""
    target = source.with_name("out.csv")
    score(model, source, target, models=models, **options)
    return read(target)


def refused(models: Path, content: bytes | str, model: str = "line") -> str:
    """The sentence with which a file is refused; nothing of an output is left."""
    folder = models / "refused"
    folder.mkdir()
    source = folder / "in.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ScoreError) as caught:
        score(model, source, folder / "out.csv", models=models)
    assert [path.name for path in folder.iterdir()] == ["in.csv"]
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


def direct(models: Path, model: str, *arrays: Array) -> tuple[Array, ...]:
    """What the runtime answers."""
    stored = open_version(models / model / "1")
    return Runtime(stored.graph, model).run(arrays)


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A folder with the models `line`, `counter` and `pair`."""
    for name in ("line", "counter", "pair"):
        publish(tmp_path, name)
    return tmp_path


@pytest.mark.parametrize(("rows", "max_batch"), [(1, 256), (256, 256), (257, 256), (1000, 7), (50, 1)])
def test_predictions_are_the_runtimes_to_the_bit(rows: int, max_batch: int, committed: Path, tmp_path: Path) -> None:
    """Whatever the batches, a row's number is the one that a direct run gives, in the order of the rows."""
    values = np.random.default_rng(rows).normal(size=(rows, 20)).astype(np.float32)
    # As the shortest decimal that reads back to the same bits.
    columns = {f"feature_{place}": list(map(repr, values[:, place].tolist())) for place in range(20)}
    source = write(tmp_path / "in.csv", columns)
    table = scored(committed, "binary_classifier/1", source, max_batch=max_batch)
    (expected,) = direct(committed, "binary_classifier", values)
    labels = open_version(committed / "binary_classifier" / "1").manifest.outputs[0].labels or ()
    assert list(table) == ["probability", "label"]
    assert np.array(table["probability"], np.float64).astype(np.float32).tobytes() == expected.tobytes()
    assert table["label"] == [labels[one > 0.5] for one in expected[:, 0].tolist()]


def test_the_summary_says_what_was_scored(line: Path) -> None:
    """Model, version and numbers of rows, and how long it took."""
    source = write(line / "in.csv", {"width": [1, 0], "height": [2, 1]})
    summary = score("line/1", source, line / "out.csv", models=line)
    assert summary == Summary("line", 1, 2, 0, 0, summary.seconds, None)
    assert 0 < summary.seconds < 60
    assert read(line / "out.csv") == {"value": ["-2", "-1.25"]}


def test_columns_are_found_by_name(line: Path) -> None:
    """Their order is the file's own business, and other columns are passed over."""
    source = write(line / "in.csv", {"note": ["a,b", 'say "x"'], "height": [2, 1], "id": [7, ""], "width": [1, 0]})
    assert scored(line, "line", source) == {"value": ["-2", "-1.25"]}


def test_spaces_around_numbers_and_other_spellings_are_fine(line: Path) -> None:
    """Quotes, a byte order mark, exponents, signs and Windows' line ends do not change a number."""
    (line / "in.csv").write_bytes(b'\xef\xbb\xbfwidth,height\r\n" 1 ",2e0\r\n+0,\t1.0\r\n')
    assert scored(line, "line", line / "in.csv") == {"value": ["-2", "-1.25"]}


def test_integers_are_exact(line: Path) -> None:
    """All 64 bits count; a whole number with a point, sign or exponent is one too, beside any other."""
    first = ["9007199254740993", "1.0", "-9223372036854775808", "9223372036854775797", "1e3", "007", "+5"]
    source = write(line / "in.csv", {"first": first, "second": ["0"] * 7})
    table = scored(line, "counter", source)
    assert list(map(int, table["next_0"])) == [
        9007199254740994,
        2,
        -9223372036854775807,
        9223372036854775798,
        1001,
        8,
        6,
    ]
    assert table["next_1"] == ["10"] * 7


def test_several_inputs_and_outputs_are_columns(line: Path) -> None:
    """Without names of features, a column is the input's name and the place in it; outputs alike."""
    source = write(line / "in.csv", {"right_0": [5, 6], "left_1": [2, 4], "left_0": [1, 3]})
    assert scored(line, "pair", source) == {"half_0": ["0.5", "1.5"], "half_1": ["1", "2"], "twice": ["10", "12"]}


def test_labels_name_columns_and_follow_them(tmp_path: Path) -> None:
    """Each class has its column, and the likeliest its name."""
    publish(tmp_path, "species")
    source = write(tmp_path / "in.csv", {"petal_0": [1, 5], "petal_1": [2, 0], "petal_2": [3, 1]})
    table = scored(tmp_path, "species", source)
    names = [f"probability_{name}" for name in ("setosa", "versicolor", "virginica")]
    assert list(table) == [*names, "label"]
    assert table["label"] == ["virginica", "setosa"]
    (expected,) = direct(tmp_path, "species", np.array([[1, 2, 3], [5, 0, 1]], np.float32))
    found: npt.NDArray[np.float64] = np.array([table[name] for name in names], np.float64).T
    assert found.astype(np.float32).tobytes() == expected.tobytes()


def test_the_latest_version_is_taken(tmp_path: Path) -> None:
    """A name alone means the highest number."""
    for version in (9, 10):
        publish(tmp_path, "line", version)
    source = write(tmp_path / "in.csv", {"width": [1], "height": [2]})
    assert score("line", source, tmp_path / "a.csv", models=tmp_path).version == 10
    assert score("line/9", source, tmp_path / "b.csv", models=tmp_path).version == 9


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("lime", "holds no model 'lime': it holds counter, line, pair"),
        ("", "holds no model '': it holds counter, line, pair"),
        ("line/2", "holds line in the versions 1, not in '2'"),
        ("line/01", "holds line in the versions 1, not in '01'"),
        ("line/../line/1", "holds line in the versions 1, not in '../line/1'"),
    ],
)
def test_an_unknown_model_is_answered_with_the_known(model: str, said: str, line: Path) -> None:
    """Names and numbers that could have been meant are listed."""
    assert refused(line, POINT + "1,2\n", model) == f"{line} {said}"


def test_a_missing_models_folder_is_told(tmp_path: Path) -> None:
    """It is the first thing that is looked at."""
    with pytest.raises(ScoreError, match="gone: there is no such file or folder"):
        score("line", tmp_path / "in.csv", tmp_path / "out.csv", models=tmp_path / "gone")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("width\n1\n", "the column 'height' is missing: expected are width, height; there are width"),
        ("1,2\n3,4\n", "the column 'width' is missing: expected are width, height; there are 1, 2"),
        ("width;height\n1;2\n", "its cells are separated by ';': expected are commas, and points in numbers"),
        ("width,height,width\n1,2,3\n", "the column 'width' is there twice"),
        (POINT + "1,2\n3,x\n", "row 2, column 'height': expected a number that FP32 can hold, got 'x'"),
        (POINT + "1,2\n,4\n", "row 2, column 'width': expected a number that FP32 can hold, got ''"),
        (POINT + "1,nan\n", "row 1, column 'height': expected a number that FP32 can hold, got 'nan'"),
        (POINT + "inf,1\n", "row 1, column 'width': expected a number that FP32 can hold, got 'inf'"),
        (POINT + "1,1e39\n", "row 1, column 'height': expected a number that FP32 can hold, got '1e39'"),
        (POINT + "1,1e999\n", "row 1, column 'height': expected a number that FP32 can hold, got '1e999'"),
        (POINT + "1,null\n", "row 1, column 'height': expected a number that FP32 can hold, got 'null'"),
        (POINT + "1,1_0\n", "row 1, column 'height': expected a number that FP32 can hold, got '1_0'"),
        (POINT + "1,0x10\n", "row 1, column 'height': expected a number that FP32 can hold, got '0x10'"),
        (POINT + "1,\x1d\n", "row 1, column 'height': expected a number that FP32 can hold, got '\\x1d'"),
        (POINT + "1,2\n3,x\ny,4\n", "row 2, column 'height'"),
        (POINT + "1,2\n3,4\ny,x\n", "row 3, column 'width'"),
        (POINT + "1,2\n3\n", "row 2: expected 2 cells, got 1"),
        (POINT + "1,2\n3,4,5\n", "row 2: expected 2 cells, got 3"),
        (b"width,height\n1,\xff\n", "row 1, column 'height': expected text in UTF-8, got b'\\xff'"),
        (b"width,height,\xff\n1,2,3\n", "in.csv: expected is a header in UTF-8, got b'\\xff' in it"),
        ("", "in.csv: it is empty"),
        ("\n\n", "in.csv: it is empty"),
        (POINT, "in.csv: it has no rows"),
        (POINT + "\n\n", "in.csv: it has no rows"),
    ],
)
def test_a_faulty_file_is_told(content: bytes | str, said: str, line: Path) -> None:
    """The sentence names the place and what is expected there, and no file is left."""
    assert said in refused(line, content)


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1.5",
        "x",
        "",
        "nan",
        "inf",
        "0xFF",
        "true",
        "1e",
        "1.0.0",
    ],
)
def test_what_is_no_integer_is_told(text: str, line: Path) -> None:
    """A number that INT64 cannot hold is not rounded, wrapped or cut."""
    message = refused(line, f"first,second\n1,2\n3,{text}\n", "counter")
    assert message == f"row 2, column 'second': expected an integer that INT64 can hold, got {text!r}"


@pytest.mark.parametrize("late", ["x", "nan", "1e39", ""])
def test_a_fault_in_a_late_block_is_told_with_its_row(late: str, line: Path) -> None:
    """Rows are counted over the whole file, and the blocks before the fault leave nothing behind."""
    # More than twice what pyarrow reads at once.
    rows, number = 300_000, 250_123
    lines = ["1.25,2.5\n"] * rows
    lines[number - 1] = f"1,{late}\n"
    assert refused(line, POINT + "".join(lines)).startswith(f"row {number}, column 'height': ")


def test_a_row_of_another_width_in_a_late_block_is_told(line: Path) -> None:
    """It is named, and the blocks before it leave nothing behind."""
    assert refused(line, POINT + "1.25,2.5\n" * 300_000 + "7,8,9\n") == "row 300001: expected 2 cells, got 3"


def test_a_large_file_is_scored_block_by_block(line: Path) -> None:
    """Every row of every block comes out once and in order, whatever another column holds in them."""
    rows = 150_000
    width = list(range(rows))
    # The first block of it looks like integers, a later one does not.
    note = [0] * (rows - 1) + ["text"]
    source = write(line / "in.csv", {"width": width, "height": [0] * rows, "note": note})
    assert source.stat().st_size > 1 << 20
    table = scored(line, "line", source, max_batch=4096)
    assert [float(value) for value in table["value"]] == [number / 2 for number in width]


@pytest.mark.parametrize("first", ["1,2\n", ""])
def test_blank_lines_are_no_rows(first: str, line: Path) -> None:
    """Not even where a whole block has nothing else."""
    (line / "in.csv").write_text(POINT + first + "\n" * 3_000_000 + "0,1\n\n")
    assert scored(line, "line", line / "in.csv") == {"value": ["-2", "-1.25"] if first else ["-1.25"]}


def test_an_output_that_exists_is_kept(line: Path) -> None:
    """Only with `overwrite` another takes its place."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    target = line / "out.csv"
    target.write_text("precious")
    with pytest.raises(ScoreError, match=r"out\.csv exists already: name another file, or allow it with --overwrite"):
        score("line", source, target, models=line)
    assert target.read_text() == "precious"
    score("line", source, target, models=line, overwrite=True)
    assert read(target) == {"value": ["-2"]}


def test_a_fault_keeps_what_would_have_been_overwritten(line: Path) -> None:
    """The old output is there until a whole new one is."""
    source = write(line / "in.csv", {"width": [1], "height": ["x"]})
    target = line / "out.csv"
    target.write_text("precious")
    before = sorted(line.iterdir())
    with pytest.raises(ScoreError, match="row 1"):
        score("line", source, target, models=line, overwrite=True)
    assert (target.read_text(), sorted(line.iterdir())) == ("precious", before)


@pytest.mark.parametrize(
    ("place", "overwrite", "said"),
    [
        ("gone/out.csv", False, "gone/out.csv: it cannot be written: No such file or directory"),
        ("in.csv/out.csv", False, "in.csv/out.csv: it cannot be written: Not a directory"),
        ("folder.csv", True, "folder.csv: it cannot be written: Is a directory"),
        ("folder.csv", False, "folder.csv exists already"),
    ],
)
def test_an_output_that_cannot_be_written_is_told(place: str, said: str, *, overwrite: bool, line: Path) -> None:
    """The system's reason comes with the output's name, and no part of it is left."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    (line / "folder.csv").mkdir()
    before = sorted(line.rglob("*"))
    with pytest.raises(ScoreError, match=re.escape(said)):
        score("line", source, line / place, models=line, overwrite=overwrite)
    assert sorted(line.rglob("*")) == before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gone.csv", "it cannot be read: No such file or directory"),
        ("line", "the folder holds no file of rows"),
        ("*.gone", "no file fits the pattern"),
    ],
)
def test_an_input_that_cannot_be_read_is_told(place: str, said: str, line: Path) -> None:
    """The reason comes with the input's name, and no output is left."""
    with pytest.raises(ScoreError) as caught:
        score("line", line / place, line / "out.csv", models=line)
    assert caught.value.message.startswith(f"{line / place}: {said}")
    assert not [path for path in line.iterdir() if "out.csv" in path.name]


def test_a_damaged_model_scores_nothing(line: Path) -> None:
    """A file is scored by the same checked model as a request."""
    damage(line / "line" / "1")
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    with pytest.raises(ChecksumError):
        score("line", source, line / "out.csv", models=line)
    assert not (line / "out.csv").exists()


def test_rows_that_are_no_columns_are_told(tmp_path: Path) -> None:
    """A model whose rows have no certain width has a column of lists, not one for each element."""
    publish(tmp_path, "tokens")
    message = refused(tmp_path, "ids_0\n1\n", "tokens")
    assert message.endswith("in.csv: the column 'ids' is missing: expected is one of lists; there are ids_0")


def test_a_model_that_fails_is_told(tmp_path: Path) -> None:
    """A failure of onnxruntime comes in our words, and no output is left."""
    publish(tmp_path, "lookup")
    source = write(tmp_path / "in.csv", {"index_0": [0, 7]})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RowError, match="row 2: expected a row that the model can compute, got onnxruntime fails on a"):
        score("lookup", source, tmp_path / "out.csv", models=tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_line_ends_within_a_quoted_cell_are_no_rows(tmp_path: Path) -> None:
    """A column that is passed over may hold anything that is CSV, however large the file."""
    publish(tmp_path, "line")
    source = tmp_path / "in.csv"
    note = '"first line\nsecond line, ""quoted""' + " and on" * 100 + '"'
    rows = 20_000
    source.write_text("width,note,height\n" + f"1,{note},2\n" * rows)
    (values,) = scored(tmp_path, "line", source).values()
    assert len(values) == rows
    assert len(set(values)) == 1


def test_a_model_of_one_row_is_scored_row_by_row(tmp_path: Path) -> None:
    """No run has more than its graph takes, whatever the setting says."""
    publish(tmp_path, "fixed")
    source = write(tmp_path / "in.csv", {"row_0": [1, 2], "row_1": [3, 4]})
    assert scored(tmp_path, "fixed", source) == {"same_0": ["1", "2"], "same_1": ["3", "4"]}


def test_a_missing_provider_is_told(line: Path) -> None:
    """It is a setting's fault, not the file's."""
    with pytest.raises(SettingsError, match="CUDAExecutionProvider"):
        score("line", line / "in.csv", line / "out.csv", models=line, provider="cuda")


def test_more_threads_give_the_same_bits(line: Path) -> None:
    """How a run is divided does not show in its answers."""
    source = write(line / "in.csv", {"width": np.linspace(-1, 1, 500).tolist(), "height": [0.1] * 500})
    one = scored(line, "line", source, threads=1)
    assert scored(line, "line", source, threads=2, overwrite=True) == one


def test_texts_are_taken_and_given_as_they_stand(tmp_path: Path) -> None:
    """Spaces, quotes and line ends belong to them, and an empty cell is an empty text."""
    publish(tmp_path, "echo")
    texts = [" a ", "", 'say "x"', "two\nlines", "ü 語"]
    source = write(tmp_path / "in.csv", {"text_0": texts, "text_1": texts[::-1]})
    assert scored(tmp_path, "echo", source) == {"again_0": texts, "again_1": texts[::-1]}


def test_rows_that_change_each_other_are_scored_as_the_setting_says(tmp_path: Path) -> None:
    """By themselves, so that a file and a request agree; together where that is allowed."""
    publish(tmp_path, "quantised")
    rows = np.array([[0.1, 0.25, -0.7, 0.33], [10, -20, 30, 5]], np.float32)
    source = write(tmp_path / "in.csv", {f"signal_{place}": rows[:, place].tolist() for place in range(4)})
    together, alone = (
        {place: column.tolist() for place, column in zip(("filtered_0", "filtered_1"), answers.T, strict=True)}
        for answers in (
            direct(tmp_path, "quantised", rows)[0],
            np.concatenate([direct(tmp_path, "quantised", rows[row : row + 1])[0] for row in (0, 1)]),
        )
    )
    assert together != alone
    for mode, expected in (("alone", alone), ("request", together), ("mixed", together)):
        table = scored(tmp_path, "quantised", source, dependent_rows=mode, overwrite=True)
        for name, column in expected.items():
            assert np.array(table[name], np.float32).tolist() == np.array(column, np.float32).tolist()


def test_an_onnx_file_scores_too(tmp_path: Path) -> None:
    """It needs no manifest: the columns are numbered."""
    path = save(tmp_path, "my line.onnx", "line")
    source = write(tmp_path / "in.csv", {"point_0": [1, 0], "point_1": [2, 1]})
    assert scored(path, "my_line", source) == {"value": ["-2", "-1.25"]}


def test_a_model_without_rows_is_told(tmp_path: Path) -> None:
    """A file has nothing but rows."""
    publish(tmp_path, "whole")
    message = refused(tmp_path, "square_0\n1\n", "whole")
    assert message == "whole takes requests whole, not rows, so it cannot score the rows of a file"


def test_a_graph_alone_whose_rows_depend_on_each_other_scores_none(tmp_path: Path) -> None:
    """Which of a file's rows belong together nobody knows, and that is told, with the setting that decides it."""
    save(tmp_path, "quantised.onnx", "quantised")
    message = refused(tmp_path, "signal_0,signal_1,signal_2,signal_3\n1,2,3,4\n", "quantised")
    assert "cannot score the rows of a file: a row's answer depends on the batch, by up to " in message
    assert "FORWARDPASS_DEPENDENT_ROWS says otherwise" in message


def test_numbers_that_no_column_can_hold_are_told(tmp_path: Path) -> None:
    """BF16 has no spelling."""
    specs = [TensorSpec(name=name, datatype="BF16", shape=(-1, 1)) for name in ("given", "same")]
    nodes = [
        helper.make_node("Cast", ["given"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wide"], ["same"], to=TensorProto.BFLOAT16),
    ]
    sample = Sample(inputs=(specs[0],), outputs=(specs[1],), nodes=nodes, rows={})
    (tmp_path / "half.onnx").write_bytes(graph_of(sample))
    message = refused(tmp_path, "given_0\n1\n", "half")
    assert message == "half: 'given' is BF16, which no column can hold"


def test_files_of_a_folder_or_a_pattern_come_to_one_output(line: Path) -> None:
    """In the order of their names; rows are counted in each, and a fault names the file."""
    folder = line / "rows"
    folder.mkdir()
    write(folder / "b.csv", {"width": [0], "height": [1]})
    write(folder / "a.csv", {"height": [2], "width": [1]})
    (folder / "_SUCCESS").touch()
    for number, source in enumerate((folder, folder / "*.csv")):
        target = line / f"out{number}.csv"
        assert score("line", source, target, models=line).rows == 2
        assert read(target) == {"value": ["-2", "-1.25"]}
    write(folder / "c.csv", {"width": [1, "x"], "height": [1, 1]})
    with pytest.raises(RowError, match=r"rows/c\.csv, row 2, column 'width': expected a number that FP32 can hold"):
        score("line", folder, line / "out.csv", models=line)


def test_files_that_are_not_alike_are_told(line: Path) -> None:
    """Before a row is read: one lacks a column, has another format, or keeps another type."""
    folder = line / "rows"
    folder.mkdir()
    write(folder / "a.csv", {"width": [1], "height": [2], "id": [7]})
    odd = write(folder / "b.csv", {"width": [1], "id": [7]})
    with pytest.raises(ScoreError, match=r"rows/b\.csv: the column 'height' is missing"):
        score("line", folder, line / "out.csv", models=line)
    odd.unlink()
    pq.write_table(pa.table({"width": [1.0], "height": [2.0]}), folder / "b.parquet")
    with pytest.raises(ScoreError, match=r"rows/b\.parquet is no csv as .*rows/a\.csv is: score one format at a time"):
        score("line", folder, line / "out.csv", models=line)
    (folder / "a.csv").unlink()
    for name, kind in (("b", pa.int64()), ("c", pa.string())):
        table = pa.table({"width": [1.0], "height": [2.0], "id": pa.array([None], kind)})
        pq.write_table(table, folder / f"{name}.parquet")
    with pytest.raises(
        ScoreError, match=r"c\.parquet: the column 'id' is of type string, but in .*b\.parquet of int64"
    ):
        score("line", folder, line / "out.csv", models=line, keep=["id"])
    assert score("line", folder, line / "out.csv", models=line).rows == 2


def test_columns_of_other_names_are_mapped_and_others_kept(line: Path) -> None:
    """Kept columns stand before the predictions, as text where they were text."""
    source = write(line / "in.csv", {"id": ["007", "x,y"], "w": [1, 0], "height": [2, 1]})
    table = scored(line, "line", source, columns={"width": "w"}, keep=["id"])
    assert table == {"id": ["007", "x,y"], "value": ["-2", "-1.25"]}
    table = scored(line, "line", source, columns={"width": "w"}, keep=["*"], overwrite=True)
    assert list(table) == ["id", "w", "height", "value"]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "parquet", "arrow", "arrow.zst"])
def test_every_format_goes_in_and_out(form: str, line: Path) -> None:
    """What one run writes another reads, and the numbers are the same to the bit."""
    widths = [0.1, -0.0, 1e-45, 3.4e38, 1 / 3]
    middle, last = line / f"middle.{form}", line / "out.parquet"
    table = pa.table({"width": widths, "height": [0.0] * 5})
    pq.write_table(table, line / "in.parquet")
    score("line", line / "in.parquet", middle, models=line, keep=["width", "height"])
    score("line", middle, last, models=line)
    (expected,) = direct(line, "line", np.array([[one, 0] for one in widths], np.float32))
    assert pq.read_table(last)["value"].to_numpy().tobytes() == expected.tobytes()


def test_rows_that_are_not_valid_are_left_out_or_told(line: Path) -> None:
    """Each fault of a row is told, and which file tells it the summary says."""
    source = write(line / "in.csv", {"width": [1, "x", 0, ""], "height": [2, "y", 1, 3]})
    target = line / "out.csv"
    summary = score("line", source, target, models=line, on_error="skip")
    assert (summary.rows, summary.rejected, summary.rejects) == (2, 2, None)
    assert read(target) == {"value": ["-2", "-1.25"]}
    summary = score("line", source, target, models=line, on_error="quarantine", overwrite=True)
    assert (summary.rows, summary.rejected, summary.rejects) == (2, 2, line / "out.csv.rejected.csv")
    told = read(line / "out.csv.rejected.csv")
    assert list(zip(told["row"], told["column"], told["got"], strict=True)) == [
        ("2", "width", "'x'"),
        ("2", "height", "'y'"),
        ("4", "width", "''"),
    ]
    assert read(target) == {"value": ["-2", "-1.25"]}


def test_an_output_among_the_inputs_is_told(line: Path) -> None:
    """It would be read while it is replaced, or by the next run."""
    folder = line / "rows"
    folder.mkdir()
    source = write(folder / "in.csv", {"width": [1], "height": [2]})
    with pytest.raises(ScoreError, match="is to be scored itself: name another"):
        score("line", source, source, models=line, overwrite=True)
    with pytest.raises(ScoreError, match="lies in the folder"):
        score("line", folder, folder / "out.csv", models=line)
    assert [path.name for path in folder.iterdir()] == ["in.csv"]


def test_the_rejected_rows_of_an_output_are_no_input_of_it(line: Path) -> None:
    """They would be replaced, or removed, with it."""
    source = write(line / "out.csv.rejected.csv", {"width": [1], "height": [2]})
    with pytest.raises(ScoreError, match="is to be scored itself"):
        score("line", source, line / "out.csv", models=line, overwrite=True)
    assert source.exists()


def test_a_file_that_changes_while_it_is_scored_is_told(line: Path) -> None:
    """What was read of it may be of two files, so nothing is written."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})

    class Touching(io.StringIO):
        """Asked whether it is a terminal, once the files are known and before they are read."""

        def isatty(self) -> bool:
            os.utime(source, ns=(1, 1))
            return False

    with pytest.raises(ScoreError, match=r"in\.csv: it was changed or removed while it was read"):
        score("line", source, line / "out.csv", models=line, progress=Touching())
    assert not (line / "out.csv").exists()


def test_standard_output_is_no_output(line: Path) -> None:
    """Nothing appears there in one step."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    with pytest.raises(ScoreError, match="standard output cannot hold an output"):
        score("line", source, "-", models=line, output_format="csv")


def test_standard_input_cannot_be_resumed(line: Path) -> None:
    """It is gone once it is read."""
    with pytest.raises(ScoreError, match="standard input is gone once it is read"):
        score("line", "-", line / "out.csv", models=line, format="csv", resume=True)


def test_resuming_where_nothing_is_begins_at_the_beginning(line: Path) -> None:
    """So that a job may always say it."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    assert score("line", source, line / "out.csv", models=line, resume=True).rows == 1


def test_an_output_of_no_known_format_is_told(line: Path) -> None:
    """Which option says it comes with that."""
    source = write(line / "in.csv", {"width": [1], "height": [2]})
    with pytest.raises(ScoreError, match=r"out\.txt: its name does not say its format: .* --output-format"):
        score("line", source, line / "out.txt", models=line)
    assert score("line", source, line / "out.txt", models=line, output_format="csv").rows == 1
