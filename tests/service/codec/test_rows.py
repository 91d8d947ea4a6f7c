"""Behaviour of service.codec.rows."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codec.body import LARGE
from service.codec.rows import RowsCodec
from service.codec.tensors import DTYPES, Array, Inputs
from service.codec.texts import MOST_TEXTS
from service.errors import (
    MAX_FAULTS,
    ElementError,
    FeatureError,
    JsonError,
    ReplyTooLargeError,
    RequestError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from service.manifest import VARIABLE, Datatype, Feature, ModelManifest, TensorSpec
from tests.service.codec.draws import JSON_DATATYPES, arrays, is_exact, same_bits

ODD_NAMES = ("a b", "a/b", "~tilde~1", "é☃", "cell_0", "instances", "0", "a.b[0]", "`")
Check = Callable[[RequestError, Any], None]


def spec_of(name: str, datatype: Datatype, *shape: int, names: Sequence[str] = (), **more: Any) -> TensorSpec:  # noqa: ANN401  # a spec's own fields
    """One input or output, with names of its columns if there are any."""
    features = tuple(Feature(name=feature) for feature in names) or None
    return TensorSpec(name=name, datatype=datatype, shape=shape, features=features, **more)


MAX_ROWS = 64


def codec_of(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] | None = None) -> RowsCodec:
    """The codec of a model with these tensors."""
    outputs = [spec_of("y", "FP32", VARIABLE, 1)] if outputs is None else outputs
    return RowsCodec(
        ModelManifest(name="m", version=1, kind="tensors", inputs=tuple(inputs), outputs=tuple(outputs)),
        MAX_ROWS,
    )


NAMED = codec_of([spec_of("x", "FP32", VARIABLE, 2, names=("a b", "c/d"))])
"""A model whose one input has names for its two columns."""
SEVERAL = codec_of([spec_of("x", "FP32", VARIABLE, 2), spec_of("n/m", "INT8", VARIABLE)])
"""A model with two inputs."""


def decoded(codec: RowsCodec, instances: object) -> Inputs:
    """What the codec reads of some instances."""
    return codec.decode(json.dumps({"instances": instances}).encode())


def refusal(codec: RowsCodec, instances: object) -> RequestError:
    """The error that the codec raises for some instances."""
    with pytest.raises(RequestError) as caught:
        decoded(codec, instances)
    return caught.value


def places(error: RequestError) -> list[str]:
    """Where an error's faults stand."""
    return [fault.pointer for fault in error.faults]


def predictions(outputs: Sequence[TensorSpec], *arrays: Array) -> Any:  # noqa: ANN401  # JSON
    """The predictions in a model's reply."""
    reply = json.loads(codec_of([spec_of("x", "FP32", VARIABLE)], outputs).encode(Inputs((), 0), arrays))
    assert reply.keys() == {"predictions"}
    return reply["predictions"]


@st.composite
def tables(draw: st.DrawFn, rows: int, *, finite: bool = True) -> tuple[TensorSpec, Array]:
    """Draw a tensor of any datatype, of fixed and variable dimensions, and an array of so many rows that fits it."""
    datatype = draw(st.sampled_from(JSON_DATATYPES))
    row_shape = draw(st.lists(st.integers(1, 3), max_size=3))
    shape = [VARIABLE, *(draw(st.sampled_from([VARIABLE, length])) for length in row_shape)]
    name = draw(st.sampled_from(ODD_NAMES))
    return spec_of(name, datatype, *shape), draw(arrays(datatype, (rows, *row_shape), finite=finite))


@given(data=st.data(), rows=st.integers(1, 4))
@settings(deadline=None)
def test_rows_by_position_come_in_bit_for_bit(data: st.DataObject, rows: int) -> None:
    """An instance of a model with one input is that input's row, of any datatype and shape."""
    spec, array = data.draw(tables(rows))
    inputs = decoded(codec_of([spec]), array.tolist())
    assert inputs.rows == rows
    assert same_bits(inputs.arrays[0], array)


@given(data=st.data(), rows=st.integers(1, 4))
@settings(deadline=None)
def test_rows_of_several_inputs_come_in_bit_for_bit(data: st.DataObject, rows: int) -> None:
    """An instance of a model with several inputs is an object with a row of each, in any order of keys."""
    drawn = data.draw(
        st.lists(tables(rows), min_size=2, max_size=3, unique_by=lambda table: table[0].name),
    )
    instances = [
        {spec.name: array.tolist()[row] for spec, array in data.draw(st.permutations(drawn))} for row in range(rows)
    ]
    inputs = decoded(codec_of([spec for spec, _ in drawn]), instances)
    assert inputs.rows == rows
    for read, (_, array) in zip(inputs.arrays, drawn, strict=True):
        assert same_bits(read, array)


@given(data=st.data(), datatype=st.sampled_from(JSON_DATATYPES), rows=st.integers(1, 4))
@settings(deadline=None)
def test_rows_by_name_are_the_rows_by_position(data: st.DataObject, datatype: Datatype, rows: int) -> None:
    """Named and listed rows mix in one request, keys come in any order, and names may be any text."""
    names = data.draw(st.lists(st.sampled_from(ODD_NAMES), min_size=1, max_size=4, unique=True))
    array = data.draw(arrays(datatype, (rows, len(names))))
    instances: list[Any] = []
    for row in array.tolist():
        named = data.draw(st.permutations(list(zip(names, row, strict=True))))
        instances.append(dict(named) if data.draw(st.booleans()) else row)
    codec = codec_of([spec_of("x", datatype, VARIABLE, len(names), names=names)])
    assert same_bits(decoded(codec, instances).arrays[0], array)


def test_keys_beside_the_instances_are_ignored() -> None:
    """Such as the signature that other clients send."""
    body = b'{"signature_name": "serving_default", "instances": [[1, 2]], "else": {"a": [1e400]}}'
    assert NAMED.decode(body).arrays[0].tolist() == [[1, 2]]


def test_rows_of_a_variable_length_share_it() -> None:
    """Any length but none, and one length in a request."""
    codec = codec_of([spec_of("x", "INT64", VARIABLE, VARIABLE)])
    assert decoded(codec, [[1, 2, 3], [4, 5, 6]]).arrays[0].shape == (2, 3)
    uneven = refusal(codec, [[1, 2, 3], [4]])
    assert isinstance(uneven, ShapeError)
    assert [(fault.pointer, fault.expected, fault.got) for fault in uneven.faults] == [
        ("/instances/1", "a list of 3, as the first row has", "a list of 1")
    ]
    assert "a list of 2" in str(refusal(codec, [[1]] * 3 + [[1, 2]]))
    empty = refusal(codec, [[1], []])
    assert isinstance(empty, ShapeError)
    assert [(fault.pointer, fault.expected) for fault in empty.faults] == [
        ("/instances/1", "a list of 1 or more integers")
    ]


@pytest.mark.parametrize(
    ("inputs", "instances", "told"),
    [
        (
            [spec_of("x", "FP32", VARIABLE, VARIABLE)],
            [[1, 2], [3, 4], [5], [6]],
            ("/instances/2", "a list of 2, as the first row has", "a list of 1"),
        ),
        (
            [spec_of("x", "FP32", VARIABLE, VARIABLE, VARIABLE)],
            [[[1], [2]], [[3], [4, 5]]],
            ("/instances/1/1", "a list of 1, as the first list there has", "a list of 2"),
        ),
        (
            [spec_of("x", "FP32", VARIABLE, VARIABLE, VARIABLE)],
            [[[1], [2, 3]]],
            ("/instances/0/1", "a list of 1, as the first list there has", "a list of 2"),
        ),
        (
            [spec_of("x", "FP32", VARIABLE, 1), spec_of("a/b", "INT8", VARIABLE, VARIABLE)],
            [{"x": [1], "a/b": [1, 2]}, {"x": [1], "a/b": [1.0]}],
            ("/instances/1/a~1b", "a list of 2, as the first row has", "a list of 1"),
        ),
    ],
)
def test_of_each_input_the_first_row_of_another_shape_is_named(
    inputs: Sequence[TensorSpec], instances: list[Any], told: tuple[str, str, str], explained: Check
) -> None:
    """With the length it should have: rows that are sound, each by itself, are computed together."""
    error = refusal(codec_of(inputs), instances)
    assert [(fault.pointer, fault.expected, fault.got) for fault in error.faults] == [told]
    explained(error, {"instances": instances})


def test_uneven_rows_of_several_inputs_are_told_at_once() -> None:
    """In the order of the rows."""
    codec = codec_of([spec_of("x", "FP32", VARIABLE, VARIABLE), spec_of("n", "INT8", VARIABLE, VARIABLE)])
    error = refusal(codec, [{"x": [1], "n": [1]}, {"x": [1], "n": [1, 2]}, {"x": [1, 2], "n": [1, 2]}])
    assert places(error) == ["/instances/1/n", "/instances/2/x"]


@given(row_shapes=st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=3))
@settings(deadline=None)
def test_what_may_be_sent_is_no_flood(row_shapes: list[list[int]]) -> None:
    """As many rows as are allowed, each by name, of numbers in lists of any depth: always few enough to be read."""
    specs = [
        spec_of(
            f"x{place}",
            "INT8",
            VARIABLE,
            *shape,
            names=[f"f{name}" for name in range(shape[0] if len(shape) == 1 else 0)],
        )
        for place, shape in enumerate(row_shapes)
    ]
    rows: list[Any] = [{spec.name: np.ones(spec.row_shape, np.int8).tolist() for spec in specs}]
    if len(specs) == 1:
        (row,) = rows[0].values()
        rows = [row, dict.fromkeys((feature.name for feature in specs[0].features or ()), 1) or row]
    for one in rows:
        body = json.dumps({"instances": [one] * MAX_ROWS, "else": " " * LARGE}).encode()
        assert codec_of(specs).decode(body).rows == MAX_ROWS


def test_one_wrong_value_among_many_rows_is_found() -> None:
    """In listed rows and named ones, in any row of a large request, and each of them only where it is."""
    for place in (0, 1, MAX_ROWS - 1):
        rows: list[Any] = [[1, 2], {"a b": 1, "c/d": 2}] * (MAX_ROWS // 2)
        rows[place] = {"a b": 1, "c/d": None}
        assert places(refusal(NAMED, rows)) == [f"/instances/{place}/c~1d"]
        rows[place] = {"a b": 1, "e": 2}
        assert places(refusal(NAMED, rows)) == [f"/instances/{place}", f"/instances/{place}/e"]
        several: list[Any] = [{"x": [1, 2], "n/m": 3}] * MAX_ROWS
        several[place] = {"n/m": 3, "x": [1, "a"]}
        assert places(refusal(SEVERAL, several)) == [f"/instances/{place}/x/1"]


def test_texts_are_at_most_a_million() -> None:
    """Of which each is costly, however short."""
    codec = codec_of([spec_of("t", "BYTES", VARIABLE, VARIABLE)])
    assert decoded(codec, [[""] * MOST_TEXTS]).arrays[0].size == MOST_TEXTS
    error = refusal(codec, [[""] * (MOST_TEXTS + 1)])
    assert (type(error), places(error)) == (ShapeError, ["/instances"])


@pytest.mark.parametrize(
    ("outputs", "rows"),
    [
        ([spec_of("y", "FP32", VARIABLE, 10)], 5),
        ([spec_of("y", "INT8", VARIABLE, 10)], 8),
        ([spec_of("y", "FP32", VARIABLE, 5), spec_of("z" * 96, "BOOL", VARIABLE)], 4),
        ([spec_of("p", "FP32", VARIABLE, 1, labels=("no", "y" * 66))], 10),
        ([spec_of("p", "FP32", VARIABLE, 2, labels=("n" * 21, "y" * 40))], 6),
        ([spec_of("y", "FP32", VARIABLE, VARIABLE)], MAX_ROWS),
    ],
)
def test_a_reply_that_would_be_too_large_is_not_computed(outputs: Sequence[TensorSpec], rows: int) -> None:
    """About as many rows come in as the reply has room for; any number where a row's length is not known."""
    manifest = ModelManifest(
        name="m", version=1, kind="tensors", inputs=(spec_of("x", "FP32", VARIABLE),), outputs=tuple(outputs)
    )
    codec = RowsCodec(manifest, MAX_ROWS, max_reply=1000)
    assert decoded(codec, [1] * rows).rows == rows
    if rows < MAX_ROWS:
        with pytest.raises(ReplyTooLargeError, match=f"{rows + 1} rows") as caught:
            decoded(codec, [1] * (rows + 1))
        assert places(caught.value) == ["/instances"]


@pytest.mark.parametrize("value", [1.0, 1e2, -0.0])
def test_a_whole_number_is_an_integer_however_written(value: float) -> None:
    """1.0 is a valid integer, by position and by name, beside large ones that stay exact."""
    codec = codec_of([spec_of("x", "INT64", VARIABLE, 2, names=("a", "b"))])
    exact = 2**53 + 1
    for instance in ([value, exact], {"b": exact, "a": value}):
        assert decoded(codec, [instance, [1, 2]]).arrays[0].tolist() == [[int(value), exact], [1, 2]]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
)
ELEMENTS = st.integers(-130, 130) | st.integers(0, 1).map(float) | st.booleans() | st.floats(-2, 2) | JSON
CELLS = st.just(1) | st.just(True) | ELEMENTS  # noqa: FBT003  # data
ROWS = (
    st.lists(CELLS, min_size=2, max_size=2)
    | st.fixed_dictionaries({"a b": CELLS, "c/d": CELLS})
    | st.fixed_dictionaries({"a b": CELLS}, optional={"c/d": CELLS, "else~": CELLS})
    | JSON
)


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
@given(instances=st.lists(ROWS, max_size=3) | st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1) | JSON)
@settings(deadline=None, max_examples=60)
def test_instances_are_exactly_their_values_or_explained(
    datatype: Datatype, instances: object, explained: Check
) -> None:
    """Whatever JSON stands as `instances`, it is read as just its values or refused with faults that lead to them."""
    names = ("a b", "c/d")
    codec = codec_of([spec_of("x", datatype, VARIABLE, 2, names=names)])
    listed = [
        [row[name] for name in names] if isinstance(row, dict) and row.keys() == set(names) else row
        for row in (instances if isinstance(instances, list) else [])
    ]
    if listed and all(
        isinstance(row, list) and len(row) == 2 and all(is_exact(datatype, value) for value in row) for row in listed
    ):
        assert same_bits(decoded(codec, instances).arrays[0], np.array(listed).astype(DTYPES[datatype]))
    else:
        explained(refusal(codec, instances), {"instances": instances})


@given(
    instances=st.lists(
        st.fixed_dictionaries({"x": st.lists(CELLS, min_size=2, max_size=2) | JSON, "n/m": CELLS}) | JSON, max_size=3
    )
)
@settings(deadline=None)
def test_instances_of_several_inputs_are_read_or_explained(instances: list[object], explained: Check) -> None:
    """For a model of several inputs too, nothing but an explained refusal comes out."""
    try:
        decoded(SEVERAL, instances)
    except RequestError as error:
        explained(error, {"instances": instances})


@given(
    start=st.sampled_from([b'{"instances": [[1, 2.5], {"a b": 1, "c/d": -2e1}, [null, true]]}', b""]),
    cut=st.integers(0, 70),
    splice=st.binary(max_size=8),
    skip=st.integers(0, 8),
)
@settings(deadline=None, max_examples=400)
def test_any_bytes_are_read_or_refused(start: bytes, cut: int, splice: bytes, skip: int) -> None:
    """Damaged bodies raise nothing but a caller's error with one fault or more."""
    try:
        NAMED.decode(start[:cut] + splice + start[cut + skip :])
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right
        assert 1 <= len(error.faults) <= MAX_FAULTS  # noqa: PT017  # the same


@pytest.mark.parametrize(
    ("body", "kind", "pointer"),
    [
        (b"", JsonError, ""),
        (b'\xef\xbb\xbf{"instances": [[1, 2]]}', JsonError, ""),
        (b'{"instances": [[NaN, 2]]}', JsonError, ""),
        (b'{"instances": [["\\ud800", 2]]}', JsonError, ""),
        (b'{"instances": [["\xff", 2]]}', JsonError, ""),
        (b'{"instances": ' + b"[" * 250_000 + b"]" * 250_000 + b"}", JsonError, ""),
        (b'{"else": ' + b"[" * 250_000 + b"]" * 250_000 + b"}", JsonError, ""),
        (b"[[1, 2]]", StructureError, ""),
        (b"{}", StructureError, ""),
        (b'{"instances": null}', StructureError, "/instances"),
        (b'{"instances": {"a b": 1, "c/d": 2}}', StructureError, "/instances"),
        (b'{"instances": []}', ShapeError, "/instances"),
    ],
)
def test_a_body_that_holds_no_rows_is_refused(body: bytes, kind: type[RequestError], pointer: str) -> None:
    """No JSON, no list of instances, or an empty one: one fault in a short sentence."""
    with pytest.raises(kind) as caught:
        NAMED.decode(body)
    assert places(caught.value) == [pointer]
    assert len(caught.value.message) < 200


def test_of_a_name_given_twice_the_last_counts() -> None:
    """Duplicate keys are read as every other reader of JSON does, on both looks."""
    assert NAMED.decode(b'{"instances": [{"a b": 9, "c/d": 2, "a b": 1}]}').arrays[0].tolist() == [[1, 2]]
    codec = codec_of([spec_of("x", "INT8", VARIABLE, 1, names=("a",))])
    assert codec.decode(b'{"instances": [{"a": 9, "a": 1.0}]}').arrays[0].tolist() == [[1]]


@pytest.mark.parametrize(
    ("datatype", "text"),
    [
        ("INT8", "128"),
        ("INT8", "1.5"),
        ("INT8", "true"),
        ("UINT64", "-1"),
        ("UINT64", "18446744073709551616"),
        ("INT64", "9223372036854775808"),
        ("INT64", "1e400"),
        ("FP64", "1e400"),
        ("FP32", "1e39"),
        ("FP16", "70000"),
        ("FP32", "true"),
        ("FP32", '"1"'),
        ("FP32", "null"),
        ("FP32", "[1]"),
        ("BOOL", "1"),
        ("BOOL", '"true"'),
    ],
)
def test_a_wrong_element_is_refused_at_its_place(datatype: Datatype, text: str) -> None:
    """By position and by name, whether or not the model allows infinities."""
    for allowed in (False, True):
        codec = codec_of([spec_of("x", datatype, VARIABLE, 1, names=("a/~",), allow_non_finite=allowed)])
        for instance, step in ((f"[{text}]", "0"), (f'{{"a/~": {text}}}', "a~1~0")):
            with pytest.raises(ElementError) as caught:
                codec.decode(f'{{"instances": [{instance}]}}'.encode())
            assert places(caught.value) == [f"/instances/0/{step}"]


def test_an_integer_of_thousands_of_digits_is_refused_at_its_place() -> None:
    """Even one that Python would not print."""
    with pytest.raises(StructureError) as caught:
        NAMED.decode(b'{"instances": [[1, 2], [1, ' + b"1" * 5000 + b"]]}")
    assert places(caught.value) == ["/instances/1/1"]


def test_all_faults_of_all_rows_are_told_at_once(explained: Check) -> None:
    """Missing names first, in the model's order, then the rest in reading order."""
    instances = [[1, "a"], {}, {"c/d": None, "e~/": 1, "a b": 2}, [1], 5]
    error = refusal(NAMED, instances)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [
        ("/instances/0/1", "a number"),
        ("/instances/1", "an object with 'a b'"),
        ("/instances/1", "an object with 'c/d'"),
        ("/instances/2/c~1d", "a number"),
        ("/instances/2/e~0~1", "absent"),
        ("/instances/3", "a list of 2 numbers"),
        ("/instances/4", "a list of 2 numbers"),
    ]
    assert "the names are a b, c/d" in str(error.faults[4])
    explained(error, {"instances": instances})


def test_missing_names_are_told_in_the_models_order() -> None:
    """The same request gives the same faults each time, also where there are too many to tell."""
    names = [f"feature {index}" for index in range(MAX_FAULTS + 4)]
    codec = codec_of([spec_of("x", "FP32", VARIABLE, len(names), names=names)])
    error = refusal(codec, [{}])
    assert isinstance(error, FeatureError)
    assert [fault.expected for fault in error.faults] == [f"an object with {name!r}" for name in names[:MAX_FAULTS]]


def test_a_flood_of_faults_is_cut_off() -> None:
    """A request of many faults is told the first of them only."""
    error = refusal(NAMED, [["a", "b"]] * MAX_ROWS)
    assert places(error) == [f"/instances/{index // 2}/{index % 2}" for index in range(MAX_FAULTS)]


@pytest.mark.parametrize("rows", [0, MAX_ROWS + 1, 100_000])
@pytest.mark.parametrize("row", [[1, 2], [1, "x"]])
def test_a_request_has_one_row_or_more_and_no_more_than_may_wait(rows: int, row: list[object]) -> None:
    """The number of rows is told before any of them is looked at."""
    error = refusal(NAMED, [row] * rows)
    assert (type(error), places(error)) == (ShapeError, ["/instances"])
    assert error.faults[0].expected == f"a list of 1 to {MAX_ROWS} rows"


def test_texts_are_strings_by_position_and_by_name() -> None:
    """BYTES come in and go out as JSON's own strings."""
    spec = spec_of("x", "BYTES", VARIABLE, 2, names=("a", "b"))
    (array,) = decoded(codec_of([spec]), [["é", ""], {"b": "2", "a": "1"}]).arrays
    assert array.tolist() == [["é", ""], ["1", "2"]]
    assert predictions([spec_of("y", "BYTES", VARIABLE, 2)], array) == [["é", ""], ["1", "2"]]
    error = refusal(codec_of([spec]), [["a", 1], {"a": None, "b": "b"}])
    assert places(error) == ["/instances/0/1", "/instances/1/a"]


@pytest.mark.parametrize("side", ["in", "out"])
def test_what_json_cannot_write_is_left_to_version_2(side: str) -> None:
    """A model with BF16 has no requests of version 1, and the error says which tensor it is."""
    bf16 = spec_of("half", "BF16", VARIABLE)
    codec = codec_of([bf16]) if side == "in" else codec_of([spec_of("x", "FP32", VARIABLE)], [bf16])
    with pytest.raises(UnsupportedError, match=r"version 2 with binary tensors.*half"):
        decoded(codec, [1])


def test_numbers_that_are_too_many_are_not_read() -> None:
    """They are counted, which takes far less, in rows that are too many or too long, or in a list of anything."""
    floods: list[list[Any]] = [[[1, 2]] * 40_000, [[1] * 100_000], [{"a b": [1] * 100_000}], [[]] * 70_000]
    for instances in floods:
        error = refusal(NAMED, instances)
        assert [(fault.pointer, fault.got) for fault in error.faults] == [("/instances", "far more than that")]
        assert isinstance(error, ShapeError)


def test_a_large_request_of_rows_is_read() -> None:
    """As many rows as are allowed, with long names and spaces, whatever else stands beside them."""
    names = tuple(f"{'a, [{' * 20}{index}" for index in range(20))
    codec = codec_of([spec_of("x", "FP32", VARIABLE, 20, names=names)])
    row = dict.fromkeys(names, 0.5)
    body = json.dumps({"instances": [row] * MAX_ROWS, "else": [1] * 100_000}, indent=4).encode()
    assert codec.decode(body).arrays[0].tolist() == [[0.5] * 20] * MAX_ROWS


def test_an_unknown_name_is_not_repeated_whole() -> None:
    """An error stays short, however long the name."""
    error = refusal(NAMED, [{"a b": 1, "c/d": 2, "e" * 1_000_000: 3}])
    assert places(error) == ["/instances/0"]
    assert len(error.message) < 300


def test_several_inputs_come_by_name_only(explained: Check) -> None:
    """A list, an unknown name and a missing one are refused."""
    instances = [[1, 2], {"x": [1, 2]}, {"x": [1], "n/m": 300, "q": 1}]
    error = refusal(SEVERAL, instances)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [
        ("/instances/0", "an object with x, n/m"),
        ("/instances/1", "an object with 'n/m'"),
        ("/instances/2/x", "a list of 2 numbers"),
        ("/instances/2/n~1m", "an integer from -128 to 127"),
        ("/instances/2/q", "absent"),
    ]
    explained(error, {"instances": instances})


def test_a_model_without_names_takes_no_objects() -> None:
    """Where columns have no names, a row is a list."""
    error = refusal(codec_of([spec_of("x", "FP32", VARIABLE, 2)]), [{"a": 1}])
    assert isinstance(error, ShapeError)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [("/instances/0", "a list of 2 numbers")]


# Replies


@given(data=st.data(), rows=st.integers(1, 4))
@settings(deadline=None)
def test_one_unlabelled_output_is_plain(data: st.DataObject, rows: int) -> None:
    """A number for a single column, else a list, and every digit of it; what is not finite is a null."""
    spec, array = data.draw(tables(rows, finite=False))

    def written(value: Any) -> Any:  # noqa: ANN401  # JSON
        if isinstance(value, list):
            return [written(inner) for inner in value]
        return value if isinstance(value, str) or math.isfinite(value) else None

    plain = array.reshape(-1) if spec.row_shape == (1,) else array
    # Compared as text, in which -0.0 is not 0.0 and True is not 1.
    assert repr(predictions([spec], array)) == repr(written(plain.tolist()))


def test_what_is_not_finite_is_null() -> None:
    """A reply is JSON whatever the model answers."""
    array = np.array([[math.nan, 1], [math.inf, -math.inf]], np.float32)
    assert predictions([spec_of("y", "FP32", VARIABLE, 2)], array) == [[None, 1], [None, None]]


def test_a_single_probability_has_its_label_beside_it() -> None:
    """Half is still the first label."""
    spec = spec_of("probability", "FP32", VARIABLE, 1, labels=("no", "yes"))
    assert predictions([spec], np.array([[0.25], [0.5], [0.75]], np.float32)) == [
        {"probability": 0.25, "label": "no"},
        {"probability": 0.5, "label": "no"},
        {"probability": 0.75, "label": "yes"},
    ]


def test_labelled_columns_are_named() -> None:
    """The label is the largest column's, the first of equal ones."""
    spec = spec_of("share", "FP64", VARIABLE, 3, labels=("a/b", "é", 'c "d"'))
    assert predictions([spec], np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]])) == [
        {"share": {"a/b": 0.5, "é": 0.5, 'c "d"': 0}, "label": "a/b"},
        {"share": {"a/b": 0, "é": 0.25, 'c "d"': 0.75}, "label": 'c "d"'},
    ]


def test_two_labelled_columns_are_columns() -> None:
    """Two labels belong to two columns where there are two."""
    spec = spec_of("share", "FP64", VARIABLE, 2, labels=("a", "b"))
    assert predictions([spec], np.array([[0.4, 0.6]])) == [{"share": {"a": 0.4, "b": 0.6}, "label": "b"}]


def test_several_outputs_stand_by_their_names() -> None:
    """Each in its own form, with labels under keys of their own where several have them."""
    outputs = [
        spec_of("p", "FP32", VARIABLE, 1, labels=("no", "yes")),
        spec_of("k", "INT64", VARIABLE, 2, labels=("a", "b")),
        spec_of("plain", "BOOL", VARIABLE),
        spec_of("list", "INT8", VARIABLE, 2),
    ]
    arrays = (
        np.array([[1.0], [0.0]], np.float32),
        np.array([[1, 2], [2**53 + 1, 3]]),
        np.array([True, False]),
        np.array([[1, 2], [3, 4]], np.int8),
    )
    assert predictions(outputs, *arrays) == [
        {"p": 1.0, "p_label": "yes", "k": {"a": 1, "b": 2}, "k_label": "b", "plain": True, "list": [1, 2]},
        {"p": 0.0, "p_label": "no", "k": {"a": 2**53 + 1, "b": 3}, "k_label": "a", "plain": False, "list": [3, 4]},
    ]
