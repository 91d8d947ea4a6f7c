"""Behaviour of service.scoring.layout."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from service.errors import ScoreError
from service.manifest import Feature, ModelManifest, TensorSpec
from service.scoring.layout import ALL, Layout, as_read, match, types_of
from service.scoring.reading.formats import Form
from tests.service.conftest import manifest_of, sample_of, tensor
from tests.service.scoring.conftest import form_for

F64, TEXT, INT = pa.float64(), pa.string(), pa.int64()
CSV, JSONL, PARQUET = Form("csv", None), Form("jsonl", "gzip"), Form("parquet", None)
WORDS = ModelManifest(
    schema=1,
    name="next",
    version=1,
    kind="next_word",
    inputs=(TensorSpec(name="ids", datatype="INT64", shape=(-1, -1), vocabulary=("<unknown>", "the")),),
    outputs=(TensorSpec(name="probability", datatype="FP32", shape=(-1, 2)),),
)


def made(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (tensor("y", "FP32", 1),)) -> ModelManifest:
    """The manifest of a model with these tensors."""
    return ModelManifest(schema=1, name="made", version=1, kind="regression", inputs=inputs, outputs=outputs)


LINE = manifest_of("line", sample_of("line"))
PAIR = manifest_of("pair", sample_of("pair"))
IMAGE = made(tensor("image", "FP32", 2, 3))
SCALAR = made(tensor("age", "FP32"))
ONE = made(tensor("age", "FP32", 1, features=(Feature(name="age"),)))
TOKENS = made(tensor("ids", "INT64", -1))


def matched(
    manifest: ModelManifest,
    there: Mapping[str, pa.DataType],
    names: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
) -> Layout:
    """The layout of a file with these columns."""
    schema = pa.schema(list(there.items()))
    return match(manifest, schema, names or {}, keep, where="in.file", form=form_for(schema))


def refused(manifest: ModelManifest, there: Any, names: Mapping[str, str] | None = None, keep: Any = ()) -> str:  # noqa: ANN401  # columns
    """The sentence with which a file is refused."""
    schema = there if isinstance(there, pa.Schema) else pa.schema(list(there.items()))
    with pytest.raises(ScoreError) as caught:
        match(manifest, schema, names or {}, keep, where="in.file", form=form_for(schema))
    return caught.value.message


@pytest.mark.parametrize(
    ("manifest", "there", "names", "found"),
    [
        (LINE, {"note": TEXT, "height": F64, "width": INT}, {}, [("width", ()), ("height", ())]),
        (LINE, {"w": F64, "height": F64}, {"width": "w"}, [("w", ()), ("height", ())]),
        (LINE, {"height": F64, "width": F64}, {"width": "height", "height": "width"}, [("height", ()), ("width", ())]),
        (LINE, {"point": pa.list_(F64)}, {}, [("point", (2,))]),
        (LINE, {"point": pa.list_(F64), "width": F64}, {}, [("point", (2,))]),
        (LINE, {"point": pa.list_(F64), "width": F64, "height": F64}, {}, [("width", ()), ("height", ())]),
        (LINE, {"xy": pa.list_(F64, 2)}, {"point": "xy"}, [("xy", (2,))]),
        (LINE, {"point": TEXT}, {}, [("point", (2,))]),
        (
            PAIR,
            dict.fromkeys(["right_0", "left_1", "left_0"], F64),
            {},
            [("left_0", ()), ("left_1", ()), ("right_0", ())],
        ),
        (PAIR, {"left": pa.large_list(F64), "right_0": INT}, {}, [("left", (2,)), ("right_0", ())]),
        (IMAGE, {"image": pa.list_(pa.list_(INT))}, {}, [("image", (2, 3))]),
        (IMAGE, {f"image_{i}": F64 for i in range(6)}, {}, [(f"image_{i}", ()) for i in range(6)]),
        (SCALAR, {"age": F64}, {}, [("age", ())]),
        (ONE, {"age": F64}, {}, [("age", ())]),
        (ONE, {"age": TEXT}, {}, [("age", ())]),
        (ONE, {"age": pa.list_(F64)}, {}, [("age", (1,))]),
        (TOKENS, {"ids": pa.list_(INT)}, {}, [("ids", (-1,))]),
        (TOKENS, {"ids": pa.list_(pa.null())}, {}, [("ids", (-1,))]),
        (WORDS, {"context": pa.list_(TEXT)}, {}, [("context", (-1,))]),
        (WORDS, {"ids": pa.list_(INT)}, {}, [("ids", (-1,))]),
        (WORDS, {"context": pa.list_(F64), "n": INT}, {}, [("context", (-1,))]),
        (WORDS, {"said": pa.list_(TEXT)}, {"context": "said"}, [("said", (-1,))]),
        (WORDS, {"context": TEXT, "ids": TEXT}, {}, [("context", (-1,))]),
        (made(tensor("text", "BYTES", 1)), {"text_0": pa.string_view(), "n": INT}, {}, [("text_0", ())]),
        (made(tensor("flag", "BOOL", 1)), {"flag_0": pa.bool_()}, {}, [("flag_0", ())]),
        (made(tensor("x", "FP32", 1)), {"x_0": pa.decimal128(9, 2)}, {}, [("x_0", ())]),
        (made(tensor("x", "FP32", 1)), {"x_0": pa.null()}, {}, [("x_0", ())]),
    ],
)
def test_columns_are_found_by_name(
    manifest: ModelManifest,
    there: Mapping[str, pa.DataType],
    names: Mapping[str, str],
    found: list[tuple[str, tuple[int, ...]]],
) -> None:
    """Whatever their order, and whatever else is there; a list where not every element has a column."""
    layout = matched(manifest, there, names)
    assert [(cell.column, cell.shape) for cell in layout.cells] == found
    assert [cell.spec.name for cell in layout.cells] == [
        spec.name for spec in manifest.inputs for cell in layout.cells if cell.spec == spec
    ]
    assert pickle.loads(pickle.dumps(layout)) == layout  # noqa: S301  # our own


@pytest.mark.parametrize(
    ("manifest", "there", "said"),
    [
        (LINE, {"width": F64}, "the column 'height' is missing: expected are width, height; there are width"),
        (LINE, {}, "the column 'width' is missing: expected are width, height; there are none"),
        (PAIR, {"left_0": F64, "left_1": F64}, "'right_0' is missing: expected are left_0, left_1, right_0; there are"),
        (
            LINE,
            pa.schema([("width", F64), ("height", F64), ("width", F64)]),
            "the column 'width' is there twice: expected are width, height; there are width, height, width",
        ),
        (LINE, pa.schema([("point", TEXT)] * 3), "the column 'point' is there 3 times"),
        (TOKENS, {"ids_0": INT}, "the column 'ids' is missing: expected is one of lists; there are ids_0"),
        (WORDS, {"words": TEXT}, "the column 'context' is missing: expected is one of lists; there are words"),
        (LINE, {"width": F64, "height": TEXT}, "the column 'height' is of type string: expected are numbers"),
        (LINE, {"width": F64, "height": pa.bool_()}, "the column 'height' is of type bool: expected are numbers"),
        (
            LINE,
            {"width": pa.date32(), "height": F64},
            "the column 'width' is of type date32[day]: expected are numbers",
        ),
        (LINE, {"point": F64}, "the column 'point' is of type double: expected are lists of numbers"),
        (LINE, {"point": pa.list_(TEXT)}, "type list<item: string>: expected are lists of numbers"),
        (IMAGE, {"image": pa.list_(F64)}, "type list<item: double>: expected are lists of lists of numbers"),
        (WORDS, {"context": pa.list_(pa.bool_())}, "expected are lists of words, or of their ids"),
        (made(tensor("text", "BYTES", 1)), {"text_0": pa.binary()}, "is of type binary: expected are texts"),
        (made(tensor("flag", "BOOL", 1)), {"flag_0": pa.list_(INT)}, "expected are booleans, or 0 and 1"),
        (made(tensor("n", "INT64", 1)), {"n_0": pa.timestamp("s")}, "is of type timestamp[s]: expected are integers"),
        (
            made(*(tensor(name, "FP32", 1, features=(Feature(name="x"),)) for name in "ab")),
            {"x": F64},
            "made takes two columns 'x', which a file cannot tell apart",
        ),
        (made(tensor("x", "BF16", 1)), {"x_0": F64}, "made: 'x' is BF16, which no column can hold"),
        (
            made(tensor("x", "FP32", 1), outputs=(tensor("y", "BF16", 1),)),
            {"x_0": F64},
            "made: 'y' is BF16, which no column can hold",
        ),
        (
            made(tensor("x", "FP32", 1), outputs=(tensor("y", "FP32", 2), tensor("y_1", "FP32", 1))),
            {"x_0": F64},
            "made gives two columns 'y_1', which a file cannot tell apart",
        ),
    ],
)
def test_columns_that_cannot_be_used_are_told(manifest: ModelManifest, there: Any, said: str) -> None:  # noqa: ANN401  # columns
    """The sentence says which, what was expected and what there is."""
    message = refused(manifest, there)
    assert said in message
    assert message.startswith(("in.file: ", "made"))


@pytest.mark.parametrize("sign", [";", "\t"])
def test_cells_that_other_signs_separate_are_told(sign: str) -> None:
    """Where all names are one to CSV; a column may be called so."""
    said = f"its cells are separated by {sign!r}: expected are commas, and points in numbers"
    assert said in refused(LINE, {f"width{sign}height": TEXT})
    assert f"there are width{sign}height" in refused(LINE, {f"width{sign}height": F64})
    one = made(tensor("x", "FP32", 1))
    assert matched(one, {f"a{sign}b": TEXT}, {"x": f"a{sign}b"}).cells[0].column == f"a{sign}b"


def test_of_very_many_names_some_are_told() -> None:
    """A sentence stays one that can be read; and very many columns take no time."""
    there = {f"c{i}": F64 for i in range(60_000)}
    message = refused(LINE, there)
    assert message.endswith(", c23 and 59976 more")
    assert len(matched(LINE, there | {"width": F64, "height": F64}, keep=[ALL]).keep) == 60_002


@pytest.mark.parametrize(
    ("names", "keep", "said"),
    [
        ({"depth": "d"}, (), "line has no input or feature 'depth' to map a column to: it takes width, height"),
        ({"width": "w"}, (), "the column 'w' is missing: expected are w, height; there are width, height, id"),
        ({"width": "height"}, (), "line takes two columns 'height', which a file cannot tell apart"),
        ({}, ["name"], "the column 'name' is missing: it is to be kept; there are width, height, id"),
    ],
)
def test_names_that_the_caller_gives_are_checked(names: Mapping[str, str], keep: Sequence[str], said: str) -> None:
    """One that nothing has is no silent nothing."""
    assert said in refused(LINE, {"width": F64, "height": F64, "id": INT}, names, keep)


def test_kept_columns_are_those_asked_for() -> None:
    """In their order, once each; a prediction's name is its own."""
    there = {"width": F64, "height": F64, "id": INT}
    assert matched(LINE, there, keep=["id", "width", "id"]).keep == ("id", "width")
    assert matched(LINE, there, keep=["height", "*"]).keep == ("height", "width", "id")
    assert refused(LINE, there | {"value": F64}, keep=["*"]).startswith("the output would have two columns 'value'")


def test_columns_are_read_as_what_they_are_wanted_for() -> None:
    """Of CSV only floats, the rest being text; of JSON Lines what they should be; others as they are."""
    manifest = made(
        tensor("x", "FP32", 1),
        tensor("n", "INT8", 1),
        tensor("u", "UINT64", 1),
        tensor("b", "BOOL", 1),
        tensor("s", "BYTES", 1),
        tensor("image", "FP32", 2, 3),
    )
    there = dict.fromkeys(["x_0", "n_0", "u_0", "b_0", "s_0", "image", "id"], TEXT)
    layout = matched(manifest, there, keep=["id"])
    names = list(there)
    wanted = [pa.float64(), *[TEXT] * 5, pa.null()]
    assert types_of(layout, CSV) == dict(zip(names, wanted, strict=True))
    wanted = [F64, INT, pa.uint64(), pa.bool_(), TEXT, pa.list_(pa.list_(F64)), pa.null()]
    assert types_of(layout, JSONL) == dict(zip(names, wanted, strict=True))
    assert types_of(layout, PARQUET) == dict.fromkeys(names, pa.null())
    assert types_of(matched(manifest, there, keep=["x_0"]), CSV)["x_0"] == pa.null()
    assert types_of(matched(manifest, there, keep=["x_0"]), JSONL)["x_0"] == F64
    assert types_of(matched(WORDS, {"context": pa.list_(TEXT)}), JSONL) == {"context": pa.null()}
    assert types_of(matched(WORDS, {"context": TEXT}), CSV) == {"context": TEXT}


def test_the_columns_that_are_read_have_the_types_they_are_read_as() -> None:
    """Those that are taken as they are have their own."""
    there = pa.schema([("a", INT), ("b", TEXT), ("c", TEXT)])
    read = as_read(there, {"c": pa.null(), "a": F64})
    assert read == pa.schema([("c", TEXT), ("a", F64)])


def test_of_json_lines_a_column_of_numbers_may_look_like_another() -> None:
    """Each row tells what is wrong with it: the first of them may just be the faulty one."""
    schema = pa.schema([("width", TEXT), ("height", pa.bool_())])
    layout = match(LINE, schema, {}, (), where="in.file", form=JSONL)
    assert [cell.column for cell in layout.cells] == ["width", "height"]
