"""Behaviour of service.scoring.scorer."""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import helper

from service.codec.rows import RowsCodec
from service.codec.words import WordsCodec
from service.errors import MAX_FAULTS
from service.manifest import Golden
from service.model.loading import Loaded, load
from service.scoring.layout import match, types_of
from service.scoring.reading.blocks import Decoded, Loose, RowFault, UnfitError
from service.scoring.reading.opening import open_input
from service.scoring.reading.sources import find_files
from service.scoring.scorer import COMPUTABLE, OnError, Scored, Scorer
from tests.service.conftest import COMMITTED, Sample, graph_of, manifest_of, tensor, write_version
from tests.service.scoring.conftest import form_for

SAME = Sample(
    inputs=(tensor("x", "FP32", 3),),
    outputs=(tensor("y", "FP32", 3),),
    nodes=[helper.make_node("Identity", ["x"], ["y"])],
    rows={"x": [[1.0, 2.0, 3.0]]},
)


class Unfit(NamedTuple):
    """A block of which some rows cannot be taken apart."""

    loose: Loose
    size: int = 1

    def strictly(self) -> pa.RecordBatch:
        """Nothing: a row is faulty."""
        raise UnfitError

    def loosely(self) -> Loose:
        """What the close look finds."""
        return self.loose


class Dirty(NamedTuple):
    """A block that can be read, though not all of it fits."""

    batch: pa.RecordBatch
    loose: Loose
    size: int = 1

    def strictly(self) -> pa.RecordBatch:
        """All rows."""
        return self.batch

    def loosely(self) -> Loose:
        """What the close look finds."""
        return self.loose


def scorer_of(
    loaded: Loaded,
    there: pa.Schema,
    on_error: OnError = "quarantine",
    *,
    keep: Sequence[str] = (),
    max_batch: int = 4,
) -> Scorer:
    """A scorer of files with these columns."""
    layout = match(loaded.manifest, there, {}, keep, where="in.file", form=form_for(there))
    return Scorer(loaded.runtime, loaded.manifest, max_batch, layout, there, on_error)


def scored(
    loaded: Loaded,
    columns: Mapping[str, Any],
    on_error: OnError = "quarantine",
    **more: Any,  # noqa: ANN401  # a scorer's
) -> Scored:
    """What becomes of a block of these columns; the batch is sound and has the columns that were announced."""
    batch = pa.record_batch(dict(columns))
    scorer = scorer_of(loaded, batch.schema, on_error, **more)
    result = scorer.score(Decoded(batch, 1))
    assert result.batch.schema == scorer.schema
    result.batch.validate(full=True)
    assert result.rows == batch.num_rows
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301  # our own
    return result


def loaded_of(samples: Path, name: str) -> Loaded:
    """A sample, opened."""
    return load(samples / name / "1", name)


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model that answers with its input."""
    root = tmp_path_factory.mktemp("same")
    golden = Golden(inputs=dict(SAME.rows), outputs={"y": SAME.rows["x"]})
    files = {"model.onnx": graph_of(SAME), "golden.json": golden.render()}
    return load(write_version(root, manifest_of("same", SAME), files), "same")


NUMBERS = st.one_of(
    st.floats(-3.4e38, 3.4e38).map(repr),
    st.floats(-1.0, 1.0, width=32).map(repr),
    st.integers(-(2**63), 2**63 - 1).map(str),
    # Between two single floats, and a little beside the middle: by more than a double can tell, and by less.
    st.tuples(st.integers(1, 2**24), st.sampled_from(["", "0000000001", "000000000000000000000001"])).map(
        lambda drawn: f"{2**24 + drawn[0]}.5{drawn[1]}"
    ),
    st.sampled_from(
        ["-0.0", "1e-45", "7e-46", "7.006492321624085e-46", "1.1754942e-38", "3.4028235677973362e38", "5e-324"]
    ),
    st.sampled_from(["16777217", "9007199254740993", "1e-999", "0.1", "1.00000005960464477539062500000000000001"]),
)


@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=9))
@example(rows=[("-0.0", "1e-45", "7e-46"), ("16777217", "9007199254740993", "9223372036854775807")])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_same_rows_by_any_way_are_the_same_bits(same: Loaded, tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    """As text, as columns of numbers, as lists, and over HTTP."""
    lists = [f"[{','.join(row)}]" for row in rows]
    body = '{"instances": [' + ",".join(lists) + "]}"
    (wanted,) = same.runtime.run(RowsCodec(same.manifest, 64).decode(body.encode()).arrays)
    names = ["x_0", "x_1", "x_2"]
    objects = [", ".join(f'"{name}": {text}' for name, text in zip(names, row, strict=True)) for row in rows]
    texts = {
        "in.csv": "\n".join([",".join(names), *map(",".join, rows), ""]),
        "in.jsonl": "".join(f"{{{one}}}\n" for one in objects),
        "lists.csv": "x\n" + "".join(f'"{one}"\n' for one in lists),
        "lists.jsonl": "".join(f'{{"x": {one}}}\n' for one in lists),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    numbers = [[float(text) for text in row] for row in rows]
    columns = {name: [row[place] for row in numbers] for place, name in enumerate(names)}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    pq.write_table(pa.table({"x": pa.array(numbers, pa.list_(pa.float64(), 3))}), tmp_path / "lists.parquet")
    for name in (*texts, "in.parquet", "lists.parquet"):
        (answers,) = answers_of(same, tmp_path / name, keep=[])
        found = np.stack([answers.column(f"y_{place}").to_numpy() for place in range(3)], axis=1)
        assert found.dtype == np.float32
        assert found.tobytes() == wanted.tobytes(), name


def answers_of(loaded: Loaded, path: Path, *, keep: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The answers to a file's blocks, none of whose rows is rejected."""
    (file,) = find_files(path, None)
    opened = open_input(file)
    layout = match(loaded.manifest, opened.schema, {}, keep, where=str(path), form=file.form)
    scorer = Scorer(loaded.runtime, loaded.manifest, 4, layout, opened.schema, "fail")
    for start, stop in opened.segments():
        for block in opened.blocks(start, stop, types_of(layout, file.form)):
            result = scorer.score(block)
            assert result.faults == ()
            yield result.batch


def test_kept_columns_are_carried_through_unchanged(same: Loaded, tmp_path: Path) -> None:
    """Also those that are read as numbers, and whatever the format."""
    (tmp_path / "in.csv").write_text("id,x_0,x_1,x_2\n007, 1.50 ,2,3\n,4e0,5,6\n")
    (batch,) = answers_of(same, tmp_path / "in.csv", keep=["x_0", "id"])
    assert batch.select(["x_0", "id", "y_0"]).to_pylist() == [
        {"x_0": " 1.50 ", "id": "007", "y_0": 1.5},
        {"x_0": "4e0", "id": "", "y_0": 4.0},
    ]
    columns = {"x_0": [1, None, 3], "x_1": [1.0, 2.0, 3.0], "x_2": [1, 2, 3], "id": pa.array([7, 8, None], pa.int16())}
    result = scored(same, columns, keep=["*"])
    assert result.batch.select(["x_0", "id", "y_0"]).to_pylist() == [
        {"x_0": 1, "id": 7, "y_0": 1.0},
        {"x_0": 3, "id": None, "y_0": 3.0},
    ]
    assert result.batch.schema.field("id").type == pa.int16()


@pytest.mark.parametrize("max_batch", [1, 3, 100])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_every_row_is_answered_in_order(samples: Path, rows: int, max_batch: int) -> None:
    """However many a run may take; of no rows there are none."""
    columns = {"width": np.arange(float(rows)), "height": np.zeros(rows)}
    result = scored(loaded_of(samples, "line"), columns, max_batch=max_batch)
    assert result.batch.to_pydict() == {"value": [number / 2 for number in range(rows)]}
    assert (result.faults, result.rejected) == ((), 0)


def test_rows_that_do_not_fit_are_left_out_and_told(samples: Path) -> None:
    """In reading order, with every column at fault."""
    columns = {"width": [0.0, None, 2.0, 4.0], "height": [0.0, float("inf"), 0.0, None]}
    faults = (
        RowFault(1, "width", "a number", "null"),
        RowFault(1, "height", "a number within ±3.403e+38", "a number too large"),
        RowFault(3, "height", "a number", "null"),
    )
    on_errors: tuple[OnError, ...] = ("skip", "quarantine")
    for on_error in on_errors:
        result = scored(loaded_of(samples, "line"), columns, on_error)
        assert result.batch.to_pydict() == {"value": [0.0, 1.0]}
        assert (result.faults, result.rejected) == (faults, 2)
    result = scored(loaded_of(samples, "line"), columns, "fail")
    assert (result.batch.num_rows, result.faults, result.rejected) == (0, faults[:2], 1)


def test_rows_that_cannot_be_taken_apart_are_told_beside_others(samples: Path) -> None:
    """Numbers are those of the rows of the block, also where fewer could be taken apart."""
    batch = pa.record_batch({"width": ["1", "x", "0"], "height": ["2", "", "1"]})
    ragged = (RowFault(0, "", "2 cells", "3"), RowFault(3, "", "2 cells", "1"))
    block = Unfit(Loose(batch, np.array([1, 2, 4]), 5, ragged))
    loaded = loaded_of(samples, "line")
    result = scorer_of(loaded, batch.schema, "skip").score(block)
    number = "a number that FP32 can hold"
    own = (RowFault(2, "width", number, "'x'"), RowFault(2, "height", number, "''"))
    assert result.faults == (ragged[0], *own, ragged[1])
    assert (result.rows, result.rejected, result.batch.to_pydict()) == (5, 3, {"value": [-2.0, -1.25]})
    result = scorer_of(loaded, batch.schema, "fail").score(block)
    assert (result.faults, result.rejected, result.batch.num_rows) == (ragged[:1], 1, 0)
    behind = Unfit(Loose(batch, np.array([1, 2, 4]), 5, ragged[1:]))
    assert scorer_of(loaded, batch.schema, "fail").score(behind).faults == own
    nothing = Unfit(Loose(batch.slice(0, 0), np.zeros(0, np.int64), 1, ragged[:1]))
    result = scorer_of(loaded, batch.schema, "skip").score(nothing)
    assert (result.rows, result.rejected, result.batch.num_rows) == (1, 1, 0)


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 2]])
def test_a_fault_is_told_in_the_words_of_the_file(samples: Path, rows: list[int]) -> None:
    """Whether the close look takes as many rows apart as the fast one or fewer."""
    numbers = pa.record_batch({"width": [0.0, float("nan"), float("inf")], "height": [1.0, 1.0, 1.0]})
    texts = pa.record_batch({"width": ["0", "NaN", "1e400"], "height": ["1", "1", "1"]})
    faults = tuple(RowFault(row, "", "a row", "none") for row in {0, 1, 2} - set(rows))
    block = Dirty(numbers, Loose(texts.take(pa.array(rows)), np.array(rows), 3, faults))
    result = scorer_of(loaded_of(samples, "line"), texts.schema, "skip").score(block)
    assert [fault.got for fault in result.faults] == ["'NaN'" if len(rows) == 3 else "none", "'1e400'"]
    assert (result.rejected, result.batch.to_pydict()) == (2, {"value": [-1.25]})


def test_a_row_has_no_more_faults_than_a_request() -> None:
    """So that a bad file stays cheap."""
    digits = load(COMMITTED / "digits" / "1", "digits")
    columns = {f"image_{place}": pa.array([None, 1.0], pa.float64()) for place in range(64)}
    result = scored(digits, columns)
    assert [fault.column for fault in result.faults] == [f"image_{place}" for place in range(MAX_FAULTS)]
    assert (result.rejected, result.batch.num_rows) == (1, 1)


def test_an_image_is_lists_or_a_column_for_each_element() -> None:
    """The same bits, with labels."""
    digits = load(COMMITTED / "digits" / "1", "digits")
    image = np.random.default_rng(1).random((5, 8, 8))
    lists = scored(digits, {"image": pa.array(image.tolist())}).batch
    flat = image.reshape(5, 64)
    assert lists.equals(scored(digits, {f"image_{place}": flat[:, place] for place in range(64)}).batch)
    (wanted,) = digits.runtime.run((image.astype(np.float32),))
    assert lists.column("probability_3").to_numpy().tobytes() == wanted[:, 3].tobytes()
    assert lists.column("label").to_pylist() == [str(digit) for digit in wanted.argmax(axis=1)]


def test_rows_of_different_lengths_are_answered_in_order(samples: Path) -> None:
    """Those of one length together; one that fits no model is left out."""
    rows = [[1, 2, 3], [4], [5, 6, 7], None, [8], []]
    result = scored(loaded_of(samples, "tokens"), {"ids": pa.array(rows, pa.list_(pa.int64()))}, max_batch=1)
    assert result.batch.to_pydict() == {"shifted": [[101, 102, 103], [104], [105, 106, 107], [108]]}
    assert [(fault.row, fault.got) for fault in result.faults] == [(3, "null"), (5, "a list of 0")]


@pytest.mark.parametrize("as_ids", [False, True])
def test_next_words_are_those_of_http(*, as_ids: bool) -> None:
    """With the places of the words that the vocabulary lacks, which ids have none of."""
    loaded = load(max((COMMITTED / "next_word_rnn").iterdir()), "next_word_rnn")
    contexts = [["the", "zebra"], ["of"], ["the", "value"], ["qqq", "of", "qqq"], ["a"]]
    codec = WordsCodec(loaded.manifest, 8)
    body = json.dumps({"instances": [{"context": context} for context in contexts]})
    request = codec.decode(body.encode())
    outputs = [loaded.runtime.run(inputs.arrays) for inputs in request.groups]
    wanted = json.loads(codec.encode(request, outputs))["predictions"]
    words = loaded.manifest.inputs[0].vocabulary or ()
    ids = [[words.index(word) if word in words else 0 for word in context] for context in contexts]
    found = scored(loaded, {"context": ids if as_ids else contexts}).batch.to_pylist()
    assert found == [one | {"unknown": []} if as_ids else one for one in wanted]


def test_rows_that_the_model_fails_on_are_found(samples: Path) -> None:
    """All others of their run are answered; the first one fails the block where that is asked."""
    columns = {"index_0": [0, 7, 2, 1, 1, 9, 2, 0, 1]}
    result = scored(loaded_of(samples, "lookup"), columns)
    assert result.batch.to_pydict() == {"entry": [10.0, 30.0, 20.0, 20.0, 30.0, 10.0, 20.0]}
    assert [(fault.row, fault.column, fault.expected) for fault in result.faults] == [
        (1, "", COMPUTABLE),
        (5, "", COMPUTABLE),
    ]
    assert result.faults[0].got.startswith("onnxruntime fails on a batch of shape [1, 1]: ")
    result = scored(loaded_of(samples, "lookup"), columns, "fail")
    assert ([fault.row for fault in result.faults], result.rejected, result.batch.num_rows) == ([1], 1, 0)
    result = scored(loaded_of(samples, "lookup"), {"index_0": [7, 8]}, "skip")
    assert (result.rejected, result.batch.num_rows) == (2, 0)


def test_several_inputs_are_taken(samples: Path) -> None:
    """As lists or elements, each by itself, and faults in the order of the inputs."""
    columns = {"right_0": [5.0, 0.5, 6.0], "left": [[1.0, 2.0], [3.0, None], [3.0, 4.0]]}
    result = scored(loaded_of(samples, "pair"), columns)
    assert result.batch.to_pydict() == {"half_0": [0.5, 1.5], "half_1": [1.0, 2.0], "twice": [10, 12]}
    assert result.faults == (RowFault(1, "left", "a number at /1", "null"), RowFault(1, "right_0", "an integer", "0.5"))


def test_large_outputs_become_columns_part_by_part() -> None:
    """So that they are not all in memory; each row still has its own answer."""
    loaded = load(max((COMMITTED / "next_word_rnn").iterdir()), "next_word_rnn")
    words = (loaded.manifest.inputs[0].vocabulary or ())[:5]
    # More than four million probabilities.
    contexts = [[words[place % 5]] for place in range(2500)]
    found = scored(loaded, {"context": contexts}, max_batch=1000).batch.column("next").to_pylist()
    once = scored(loaded, {"context": contexts[:5]}, max_batch=5).batch.column("next").to_pylist()
    assert found == once * 500


def test_threads_share_a_scorer(samples: Path) -> None:
    """Each block has its own answers."""
    schema = pa.schema([("width", pa.float64()), ("height", pa.float64())])
    scorer = scorer_of(loaded_of(samples, "line"), schema)
    blocks = [
        Decoded(pa.record_batch({"width": [float(number)] * 100, "height": [0.0] * 100}), 1) for number in range(50)
    ]
    with ThreadPoolExecutor(4) as pool:
        for number, result in enumerate(pool.map(scorer.score, blocks)):
            assert result.batch.column("value").to_pylist() == [number / 2] * 100
