"""Behaviour of service.codec.oip."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec.oip import InferCodec, InferRequest, Wanted
from service.codec.tensors import DTYPES, Array, Inputs
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    DatatypeError,
    ElementError,
    JsonError,
    RequestError,
    ShapeError,
    StructureError,
    TensorError,
    UnsupportedError,
)
from service.manifest import VARIABLE, Datatype, ModelManifest, TensorSpec

DATATYPES: tuple[Datatype, ...] = get_args(Datatype)
Check = Callable[[RequestError, Any], None]


class Case(NamedTuple):
    """A model's tensor, and an array that fits it."""

    spec: TensorSpec
    array: Array


def spec_of(name: str, datatype: Datatype, *shape: int, allow_non_finite: bool = False) -> TensorSpec:
    """One input or output."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, allow_non_finite=allow_non_finite)


MAX_ROWS = 64


def codec_of(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] | None = None) -> InferCodec:
    """The codec of a model with these tensors."""
    outputs = [spec_of("y", "FP32", VARIABLE, 1)] if outputs is None else outputs
    manifest = ModelManifest(name="m", version=7, kind="tensors", inputs=tuple(inputs), outputs=tuple(outputs))
    return InferCodec(manifest, MAX_ROWS)


PAIR = codec_of(
    [spec_of("x", "FP32", VARIABLE, 2), spec_of("n", "INT8", VARIABLE)],
    [spec_of("y", "FP32", VARIABLE, 1), spec_of("z", "INT64", VARIABLE), spec_of("b", "BOOL", VARIABLE)],
)
"""A model with two inputs and three outputs."""

X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2]}
N = {"name": "n", "datatype": "INT8", "shape": [1], "data": [3]}


def binary(tensor: dict[str, Any], size: object) -> dict[str, Any]:
    """The tensor with a size in place of its data."""
    return {key: value for key, value in tensor.items() if key != "data"} | {"parameters": {"binary_data_size": size}}


def decoded(codec: InferCodec, request: object, *blobs: bytes) -> InferRequest:
    """What the codec reads of a request, with raw tensors behind it if there are any."""
    text = json.dumps(request).encode()
    return codec.decode(text + b"".join(blobs), len(text)) if blobs else codec.decode(text)


def refusal(codec: InferCodec, request: object, *blobs: bytes) -> RequestError:
    """The error that the codec raises for a request."""
    with pytest.raises(RequestError) as caught:
        decoded(codec, request, *blobs)
    return caught.value


def pointers(error: RequestError) -> list[str]:
    """Where an error's faults stand."""
    return [fault.pointer for fault in error.faults]


def same_bits(first: Array, second: Array) -> bool:
    """Whether two arrays have the same datatype, shape and bytes."""
    return (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())


@st.composite
def cases(draw: st.DrawFn, *, finite: bool) -> list[Case]:
    """Draw one to three tensors of any datatype, of one number of rows and of fixed and variable dimensions."""
    rows = draw(st.integers(1, 3))
    drawn = []
    for index in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from(DATATYPES))
        row_shape = draw(st.lists(st.integers(1, 3), max_size=3))
        shape = [VARIABLE, *(draw(st.sampled_from([VARIABLE, length])) for length in row_shape)]
        dtype = DTYPES[datatype]
        options = {"allow_nan": not finite, "allow_infinity": not finite} if dtype.kind == "f" else {}
        elements = hnp.from_dtype(dtype, **options)  # type: ignore[arg-type]  # options of floats
        array = draw(hnp.arrays(dtype, (rows, *row_shape), elements=elements))
        drawn.append(Case(spec_of(f"tensor {index}", datatype, *shape, allow_non_finite=not finite), array))
    return drawn


@given(tensors=cases(finite=True), data=st.data())
@settings(deadline=None)
def test_inputs_come_in_bit_for_bit(tensors: list[Case], data: st.DataObject) -> None:
    """Written flat, nested or as raw bytes, mixed as one likes and in any order, arrays are what they were."""
    described, blobs = [], []
    for spec, array in data.draw(st.permutations(tensors)):
        tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
        form = data.draw(st.sampled_from(["flat", "nested", "binary"]))
        if form == "binary":
            blobs.append(array.tobytes())
            described.append(binary(tensor, array.nbytes))
        else:
            described.append(tensor | {"data": (array.ravel() if form == "flat" else array).tolist()})
    request = decoded(codec_of([case.spec for case in tensors]), {"inputs": described}, *blobs)
    assert request.inputs.rows == len(tensors[0].array)
    for read, case in zip(request.inputs.arrays, tensors, strict=True):
        assert same_bits(read, case.array)


@given(tensors=cases(finite=False), data=st.data())
@settings(deadline=None)
def test_raw_inputs_may_be_anything_where_the_model_allows_it(tensors: list[Case], data: st.DataObject) -> None:
    """NaN and the infinities keep their bits, from any place in the body, if the tensor allows them."""
    described = [
        binary({"name": spec.name, "datatype": spec.datatype, "shape": array.shape}, array.nbytes)
        for spec, array in tensors
    ]
    codec = codec_of([case.spec for case in tensors])
    padding = " " * data.draw(st.integers(0, 8))
    text = (json.dumps({"inputs": described}) + padding).encode()
    request = codec.decode(text + b"".join(case.array.tobytes() for case in tensors), len(text))
    for read, case in zip(request.inputs.arrays, tensors, strict=True):
        assert same_bits(read, case.array)
        assert read.flags.aligned


@given(tensors=cases(finite=False), data=st.data())
@settings(deadline=None)
def test_outputs_go_out_bit_for_bit(tensors: list[Case], data: st.DataObject) -> None:
    """A reply is read back as the arrays it was made of; only in JSON is what is not finite a null."""
    codec = codec_of([spec_of("x", "FP32", VARIABLE)], [case.spec for case in tensors])
    places = data.draw(st.lists(st.integers(0, len(tensors) - 1), unique=True))
    wanted = tuple(Wanted(place, data.draw(st.booleans())) for place in places)
    request = InferRequest(Inputs((), 1), wanted, data.draw(st.none() | st.text()))
    body, json_length = codec.encode(request, [case.array for case in tensors])
    assert (json_length is not None) == any(output.binary for output in wanted)
    reply = json.loads(body[:json_length])
    rest = b"" if json_length is None else body[json_length:]
    assert reply.get("id") == request.id
    assert (reply["model_name"], reply["model_version"]) == ("m", "7")
    for output, told in zip(wanted, reply["outputs"], strict=True):
        spec, array = tensors[output.place]
        assert (told["name"], told["datatype"], told["shape"]) == (spec.name, spec.datatype, list(array.shape))
        if output.binary:
            size = told["parameters"]["binary_data_size"]
            assert "data" not in told
            assert rest[:size] == array.tobytes()
            rest = rest[size:]
        else:
            assert "parameters" not in told
            values = told["data"]
            assert [value is None for value in values] == (~np.isfinite(array.ravel())).tolist()
            finite = np.where(np.isfinite(array), array, array.dtype.type(0))
            written = np.array([0 if value is None else value for value in values], array.dtype)
            assert same_bits(written.reshape(array.shape), finite)
    assert rest == b""


@pytest.mark.parametrize("raw", [False, True])
@given(tensors=cases(finite=True))
@settings(deadline=None)
def test_the_triton_client_is_understood_and_understands(tensors: list[Case], *, raw: bool) -> None:
    """What the public client writes is read bit for bit, and it reads what is answered so too."""
    codec = codec_of([case.spec for case in tensors], [case.spec for case in tensors])
    inputs, outputs = [], []
    for spec, array in tensors:
        given_input = triton.InferInput(spec.name, list(array.shape), spec.datatype)
        # The client writes halves as raw bytes only.
        given_input.set_data_from_numpy(array, binary_data=raw or spec.datatype == "FP16")
        inputs.append(given_input)
        outputs.append(triton.InferRequestedOutput(spec.name, binary_data=raw))
    generate = triton.InferenceServerClient.generate_request_body
    for asked in (outputs, None):
        body, json_length = generate(inputs, outputs=asked, request_id="7")
        request = codec.decode(body.encode() if isinstance(body, str) else body, json_length)
        answer, header_length = codec.encode(request, request.inputs.arrays)
        result = triton.InferenceServerClient.parse_response_body(answer, header_length=header_length)
        assert result.get_response()["id"] == "7"
        for spec, array in tensors:
            assert same_bits(result.as_numpy(spec.name), array)


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


def is_exact(datatype: Datatype, value: Any) -> bool:  # noqa: ANN401  # JSON
    """Whether an element is a value of the datatype, said in the protocol's terms."""
    if datatype == "BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.array(float(value)).astype(dtype)))
    return value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def is_laid_out(datatype: Datatype, value: Any, shape: Sequence[int]) -> bool:  # noqa: ANN401  # JSON
    """Whether nested lists have the shape and only elements of the datatype."""
    if not shape:
        return is_exact(datatype, value)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(is_laid_out(datatype, inner, shape[1:]) for inner in value)
    )


@pytest.mark.parametrize("datatype", DATATYPES)
@given(
    value=st.lists(ELEMENTS, min_size=4, max_size=4)
    | st.lists(st.lists(ELEMENTS, min_size=2, max_size=2), min_size=2, max_size=2)
    | st.lists(st.just(1) | st.just(True) | ELEMENTS, min_size=4, max_size=4)  # noqa: FBT003  # data
    | JSON
)
@settings(deadline=None, max_examples=60)
def test_data_are_exactly_their_values_or_explained(datatype: Datatype, value: object, explained: Check) -> None:
    """Whatever JSON stands as `data`, it is read as just its values or refused with faults that lead to them."""
    codec = codec_of([spec_of("x", datatype, VARIABLE, 2)])
    body = {"inputs": [{"name": "x", "datatype": datatype, "shape": [2, 2], "data": value}]}
    nested = isinstance(value, list) and bool(value) and isinstance(value[0], list)
    if is_laid_out(datatype, value, (2, 2) if nested else (4,)):
        (array,) = decoded(codec, body).inputs.arrays
        assert same_bits(array, np.array(value).astype(DTYPES[datatype]).reshape(2, 2))
    else:
        explained(refusal(codec, body), body)


@given(value=JSON, key=st.sampled_from(["inputs", "outputs", "id", "parameters", "name", "datatype", "shape", "else"]))
@settings(deadline=None)
def test_any_json_anywhere_is_read_or_explained(value: object, key: str, explained: Check) -> None:
    """Whatever stands at a key of the protocol, nothing but an explained refusal comes out."""
    body: dict[str, Any] = {"inputs": [X, N], "outputs": [{"name": "z"}]}
    if key in X:
        body["inputs"] = [X | {key: value}, N]
    else:
        body[key] = value
    try:
        decoded(PAIR, body)
    except RequestError as error:
        explained(error, body)


@given(
    start=st.sampled_from([json.dumps({"inputs": [X, binary(N, 1)]}).encode() + b"\x03", b""]),
    cut=st.integers(0, 200),
    splice=st.binary(max_size=8),
    skip=st.integers(0, 8),
    json_length=st.none() | st.integers(-5, 220),
)
@settings(deadline=None, max_examples=400)
def test_any_bytes_are_read_or_refused(
    start: bytes, cut: int, splice: bytes, skip: int, json_length: int | None
) -> None:
    """Damaged bodies and wrong lengths raise nothing but a caller's error with one fault or more."""
    body = start[:cut] + splice + start[cut + skip :]
    try:
        PAIR.decode(body, json_length)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right
        assert 1 <= len(error.faults) <= MAX_FAULTS  # noqa: PT017  # the same


@pytest.mark.parametrize(
    ("datatype", "text", "kind", "pointer"),
    [
        ("INT8", "[128]", ElementError, "/0"),
        ("INT8", "[-129]", ElementError, "/0"),
        ("UINT8", "[-1]", ElementError, "/0"),
        ("UINT64", "[18446744073709551616]", ElementError, "/0"),
        ("INT64", "[9223372036854775808]", ElementError, "/0"),
        ("INT64", "[1.5]", ElementError, "/0"),
        ("INT64", "[true]", ElementError, "/0"),
        ("INT64", "[1e400]", ElementError, "/0"),
        ("INT64", '["1"]', ElementError, "/0"),
        ("FP64", "[1e400]", ElementError, "/0"),
        ("FP32", "[1e39]", ElementError, "/0"),
        ("FP32", "[-1e39]", ElementError, "/0"),
        ("FP16", "[70000]", ElementError, "/0"),
        ("FP32", "[true]", ElementError, "/0"),
        ("FP32", "[null]", ElementError, "/0"),
        ("FP64", f"[{'1' * 400}]", ElementError, "/0"),
        ("INT64", f"[{'1' * 5000}]", StructureError, "/0"),
        ("BOOL", "[1]", ElementError, "/0"),
        ("BOOL", '["true"]', ElementError, "/0"),
        ("BOOL", "[]", ShapeError, ""),
        ("BOOL", "[true, true]", ShapeError, ""),
        ("FP32", "5", ShapeError, ""),
        ("FP32", "null", ShapeError, ""),
        ("FP32", "{}", ShapeError, ""),
        ("FP32", "[[1]]", ElementError, "/0"),
    ],
)
def test_a_wrong_element_is_refused_at_its_place(
    datatype: Datatype, text: str, kind: type[RequestError], pointer: str
) -> None:
    """Nothing is wrapped, rounded to infinity or guessed, whether or not the model allows infinities."""
    for allowed in (False, True):
        codec = codec_of([spec_of("x", datatype, VARIABLE, allow_non_finite=allowed)])
        body = f'{{"inputs": [{{"name": "x", "datatype": "{datatype}", "shape": [1], "data": {text}}}]}}'
        with pytest.raises(kind) as caught:
            codec.decode(body.encode())
        assert pointers(caught.value) == [f"/inputs/0/data{pointer}"]


@pytest.mark.parametrize(("text", "value"), [("1.0", 1), ("1e2", 100), ("-0.0", 0), ("-0", 0), ("1e0", 1)])
def test_a_whole_number_is_an_integer_however_written(text: str, value: int) -> None:
    """1.0 is a valid INT64, beside others that are written as integers."""
    codec = codec_of([spec_of("x", "INT64", VARIABLE)])
    body = f'{{"inputs": [{{"name": "x", "datatype": "INT64", "shape": [2], "data": [{text}, 9007199254740993]}}]}}'
    assert codec.decode(body.encode()).inputs.arrays[0].tolist() == [value, 9007199254740993]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xef\xbb\xbf" + json.dumps({"inputs": [X, N]}).encode(),
        json.dumps({"inputs": [X, N]}).encode().replace(b"1.5", b"NaN"),
        json.dumps({"inputs": [X, N]}).encode().replace(b'"INT8"', b'"\\ud800"'),
        b'{"inputs":' + b"[" * 250_000 + b"]" * 250_000 + b"}",
        json.dumps({"inputs": [X, N]}).encode().replace(b"[1.5, 2]", b"[" * 250_000 + b"]" * 250_000),
        json.dumps({"inputs": [X, N]}).encode().replace(b"{", b'{"else":' + b"[" * 250_000 + b"]" * 250_000 + b",", 1),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body: bytes) -> None:
    """Empty, marked, with NaN, with half a character, or nested without end: one fault in a short sentence."""
    with pytest.raises(RequestError) as caught:
        PAIR.decode(body)
    assert len(caught.value.faults) == 1
    assert len(caught.value.message) < 200


def test_half_a_character_in_the_data_is_told_with_its_place() -> None:
    """Bytes that are not UTF-8, met only when the data are looked at, are refused there."""
    body = json.dumps({"inputs": [X | {"data": ["?", 2]}, N]}).encode().replace(b"?", b"\xff")
    with pytest.raises(JsonError) as caught:
        PAIR.decode(body)
    assert pointers(caught.value) == ["/inputs/0/data"]


def test_of_a_key_given_twice_the_last_counts() -> None:
    """Duplicate keys are read as every other reader of JSON does."""
    codec = codec_of([spec_of("x", "INT8", VARIABLE)])
    body = b'{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": ["a"], "data": [5]}]}'
    assert codec.decode(body).inputs.arrays[0].tolist() == [5]


# Raw tensors


def test_raw_tensors_are_taken_in_the_order_of_the_inputs() -> None:
    """Each input finds its own bytes, and a JSON input between them takes none."""
    codec = codec_of([spec_of(name, "INT8", VARIABLE) for name in "abc"])
    tensors = [binary(N | {"name": "c"}, 1), N | {"name": "a"}, binary(N | {"name": "b"}, 1)]
    request = decoded(codec, {"inputs": tensors}, b"\x05\x06")
    assert [array.tolist() for array in request.inputs.arrays] == [[3], [6], [5]]


@pytest.mark.parametrize("size", [7, 9, 0, -8, 2**70, True, False, 8.0, 8.5, "8", [8], {}])
def test_a_size_that_is_not_the_tensors_is_refused(size: object) -> None:
    """The size is an integer, and what the shape and the datatype need."""
    error = refusal(PAIR, {"inputs": [binary(X, size), N]}, bytes(8))
    assert isinstance(error, BinaryError)
    assert pointers(error) == ["/inputs/0/parameters/binary_data_size"]
    assert (error.faults[0].expected, error.faults[0].hint) == ("8", "2 elements of FP32")


@pytest.mark.parametrize("count", [0, 7])
def test_missing_bytes_are_refused(count: int) -> None:
    """The fault says how many bytes there are."""
    text = json.dumps({"inputs": [N, binary(X, 8)]}).encode()
    with pytest.raises(BinaryError) as caught:
        PAIR.decode(text + bytes(count), len(text))
    (fault,) = caught.value.faults
    assert fault.pointer == "/inputs/1/parameters/binary_data_size"
    assert (fault.expected, fault.got) == (f"{count} bytes or fewer, as are left", "8")


def test_left_over_bytes_are_refused() -> None:
    """The fault says how many bytes nobody claims."""
    error = refusal(PAIR, {"inputs": [N, binary(X, 8)]}, bytes(10))
    assert isinstance(error, BinaryError)
    assert (pointers(error), error.faults[0].got) == ([""], "2 bytes longer")


def test_a_faulty_input_still_takes_its_own_bytes() -> None:
    """The bytes of an input that is refused are not read as the next one's."""
    codec = codec_of([spec_of("x", "FP32", VARIABLE, 2), spec_of("b", "BOOL", VARIABLE)])
    good = binary({"name": "b", "datatype": "BOOL", "shape": [8]}, 8)
    for change in ({"datatype": "FP64"}, {"name": "unknown"}, {"shape": [1, 3]}):
        error = refusal(codec, {"inputs": [binary(X, 8) | change, good]}, b"\xff" * 8, bytes(8))
        (pointer,) = pointers(error)
        assert pointer.startswith(f"/inputs/0/{next(iter(change))}")


@pytest.mark.parametrize(
    ("datatype", "content", "allowed"),
    [("FP32", np.float32(math.nan).tobytes(), False), ("FP16", b"\x00\x7c", False), ("BOOL", b"\x02", True)],
)
def test_raw_bytes_that_are_no_values_are_refused(datatype: Datatype, content: bytes, *, allowed: bool) -> None:
    """NaN and infinities without leave, and a boolean of two."""
    codec = codec_of([spec_of("x", datatype, VARIABLE, allow_non_finite=allowed)])
    tensor = binary({"name": "x", "datatype": datatype, "shape": [1]}, len(content))
    error = refusal(codec, {"inputs": [tensor]}, content)
    assert isinstance(error, ElementError)
    assert pointers(error) == ["/inputs/0"]


def test_data_come_once() -> None:
    """An input with both data and a size, or with neither, is refused."""
    both = X | {"parameters": {"binary_data_size": 8}}
    neither = {key: value for key, value in X.items() if key != "data"}
    for tensor, got in ((both, "with both"), (neither, "with neither")):
        error = refusal(PAIR, {"inputs": [tensor, N]}, bytes(8))
        assert isinstance(error, TensorError)
        assert [(fault.pointer, fault.got) for fault in error.faults] == [("/inputs/0", got)]


@pytest.mark.parametrize("length", [-1, 10_000, 2**70])
def test_a_header_that_says_more_than_the_body_has_is_refused(length: int) -> None:
    """The length of the JSON lies between 0 and the body's."""
    with pytest.raises(BinaryError, match="Inference-Header-Content-Length"):
        PAIR.decode(json.dumps({"inputs": [X, N]}).encode(), length)


def test_a_header_as_long_as_the_body_leaves_no_bytes() -> None:
    """A body that is all JSON may say so."""
    body = json.dumps({"inputs": [X, N]}).encode()
    assert PAIR.decode(body, len(body)).inputs.rows == 1


@pytest.mark.parametrize("body", [b"", bytes(8)])
def test_a_raw_tensor_alone_is_not_offered(body: bytes) -> None:
    """The length 0 is refused by what it would mean."""
    with pytest.raises(UnsupportedError, match="one raw tensor"):
        PAIR.decode(body, 0)


# Inputs against the model


@pytest.mark.parametrize(
    ("change", "kind", "pointer", "expected"),
    [
        ({"name": "q"}, TensorError, "/name", "one of x, n"),
        ({"datatype": "FP64"}, DatatypeError, "/datatype", "FP32"),
        ({"datatype": "fp32"}, DatatypeError, "/datatype", "FP32"),
        ({"shape": [2]}, ShapeError, "/shape", "2 dimensions [-1, 2]"),
        ({"shape": []}, ShapeError, "/shape", "2 dimensions [-1, 2]"),
        ({"shape": [1, 2, 1]}, ShapeError, "/shape", "2 dimensions [-1, 2]"),
        ({"shape": [1, 3]}, ShapeError, "/shape/1", "2"),
        ({"shape": [0, 2], "data": []}, ShapeError, "/shape/0", f"1 to {MAX_ROWS}"),
        ({"shape": [-1, 2]}, ShapeError, "/shape/0", f"1 to {MAX_ROWS}"),
        ({"shape": [2, 2]}, ShapeError, "/data", "a list of 4 numbers"),
        ({"shape": [MAX_ROWS + 1, 2]}, ShapeError, "/shape/0", f"1 to {MAX_ROWS}"),
        ({"shape": [10**4299, 2]}, StructureError, "/shape/0", "a value of the protocol"),
        ({"shape": [1.5, 2]}, StructureError, "/shape/0", "an integer"),
        ({"data": [[1.5], [2]]}, ShapeError, "/data", "a list of 1 lists"),
        ({"parameters": {"shared_memory_region": "r"}}, UnsupportedError, "/parameters/shared_memory_region", "absent"),
        ({"parameters": {"classification": 3}}, UnsupportedError, "/parameters/classification", "absent"),
    ],
)
def test_an_input_that_is_not_the_models_is_refused(
    change: dict[str, Any], kind: type[RequestError], pointer: str, expected: str, explained: Check
) -> None:
    """The fault stands where the input differs and says what the model has there."""
    body = {"inputs": [X | change, N]}
    error = refusal(PAIR, body)
    assert isinstance(error, kind)
    assert (error.faults[0].pointer, error.faults[0].expected) == (f"/inputs/0{pointer}", expected)
    explained(error, body)


def test_an_input_comes_once() -> None:
    """The second of a name is refused."""
    error = refusal(PAIR, {"inputs": [X, N, X]})
    assert isinstance(error, TensorError)
    assert pointers(error) == ["/inputs/2/name"]


def test_every_input_is_needed() -> None:
    """Each missing one is a fault of the list."""
    error = refusal(PAIR, {"inputs": []})
    assert isinstance(error, TensorError)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [
        ("/inputs", "a list with the input 'x'"),
        ("/inputs", "a list with the input 'n'"),
    ]


def test_inputs_have_the_same_number_of_rows() -> None:
    """The input that differs from the first is refused at its batch dimension."""
    error = refusal(PAIR, {"inputs": [X, N | {"shape": [2], "data": [1, 2]}]})
    assert isinstance(error, ShapeError)
    assert [(fault.pointer, fault.got) for fault in error.faults] == [("/inputs/1/shape/0", "2")]


def test_all_faults_are_told_at_once(explained: Check) -> None:
    """Faults of several inputs, of several parts of one input, and of the outputs come together."""
    body = {
        "inputs": [X | {"datatype": "FP64", "shape": [0, 3]}, N | {"data": ["a"]}],
        "outputs": [{"name": "q"}, {"name": "z"}, {"name": "z"}],
    }
    error = refusal(PAIR, body)
    assert pointers(error) == [
        "/inputs/0/datatype",
        "/inputs/0/shape/0",
        "/inputs/0/shape/1",
        "/inputs/1/data/0",
        "/outputs/0/name",
        "/outputs/2/name",
    ]
    explained(error, body)


def test_a_flood_of_faults_is_cut_off(explained: Check) -> None:
    """A request of many faults, in several inputs, is told the first of them only."""
    tensors = [
        X | {"shape": [50, 2], "data": ["a"] * 100},
        N | {"shape": [50], "data": ["b"] * 50},
        *[X | {"name": "q"}] * 50,
    ]
    body = {"inputs": tensors}
    error = refusal(PAIR, body)
    assert pointers(error) == [f"/inputs/0/data/{index}" for index in range(MAX_FAULTS)]
    explained(error, body)


def test_what_is_not_known_is_ignored() -> None:
    """Keys and parameters beyond the protocol change nothing, whatever they hold."""
    extra = {"anything": [1, {"a": None}]}
    body = {
        "inputs": [X | extra | {"parameters": extra}, N | {"parameters": None}],
        "parameters": extra | {"sequence_id": 5},
        "outputs": [{"name": "y", "parameters": extra} | extra],
    } | extra
    plain = decoded(PAIR, {"inputs": [X, N], "outputs": [{"name": "y"}]})
    assert repr(decoded(PAIR, body)) == repr(plain)
    text = json.dumps(body).replace('"anything": [1', '"anything": [1e400')
    assert repr(PAIR.decode(text.encode())) == repr(plain)


# What the reply shall hold


@pytest.mark.parametrize("more", [{}, {"outputs": None}, {"outputs": []}])
def test_who_names_no_output_gets_all(more: dict[str, Any]) -> None:
    """In the model's order and as JSON."""
    request = decoded(PAIR, {"inputs": [X, N]} | more)
    assert request.wanted == (Wanted(0, binary=False), Wanted(1, binary=False), Wanted(2, binary=False))


@pytest.mark.parametrize("whole", [None, False, True])
@pytest.mark.parametrize("own", [None, False, True])
def test_an_outputs_own_form_beats_the_requests(own: bool | None, whole: bool | None) -> None:  # noqa: FBT001  # a table
    """`binary_data` on the output, else `binary_data_output` on the request, else JSON."""
    outputs = [{"name": "z", "parameters": {"binary_data": own}}, {"name": "y"}]
    request = decoded(PAIR, {"inputs": [X, N], "outputs": outputs, "parameters": {"binary_data_output": whole}})
    default = whole is True
    assert request.wanted == (Wanted(1, binary=default if own is None else own), Wanted(0, binary=default))


@pytest.mark.parametrize(
    ("outputs", "kind", "pointer"),
    [
        ([{"name": "q"}], TensorError, "/outputs/0/name"),
        ([{"name": "y"}, {"name": "y"}], TensorError, "/outputs/1/name"),
        (
            [{"name": "y", "parameters": {"classification": 2}}],
            UnsupportedError,
            "/outputs/0/parameters/classification",
        ),
        (
            [{"name": "y", "parameters": {"shared_memory_region": "r"}}],
            UnsupportedError,
            "/outputs/0/parameters/shared_memory_region",
        ),
        ([{}], StructureError, "/outputs/0"),
        ([5], StructureError, "/outputs/0"),
        (5, StructureError, "/outputs"),
    ],
)
def test_an_output_that_cannot_be_given_is_refused(
    outputs: object, kind: type[RequestError], pointer: str, explained: Check
) -> None:
    """Unknown, named twice, wanted otherwise than is offered, or no output at all."""
    body = {"inputs": [X, N], "outputs": outputs}
    error = refusal(PAIR, body)
    assert isinstance(error, kind)
    assert pointers(error) == [pointer]
    explained(error, body)


@pytest.mark.parametrize("given_id", [None, "", "7", 'a "b" é☃'])
def test_an_id_is_echoed_if_given(given_id: str | None) -> None:
    """And only then."""
    request = decoded(PAIR, {"inputs": [X, N]} | ({} if given_id is None else {"id": given_id}))
    outputs = (np.zeros((1, 1), np.float32), np.zeros(1, np.int64), np.zeros(1, np.bool_))
    reply = json.loads(PAIR.encode(request, outputs).body)
    assert reply == {"model_name": "m", "model_version": "7", "outputs": reply["outputs"]} | (
        {} if given_id is None else {"id": given_id}
    )


def test_a_reply_is_the_protocols() -> None:
    """Down to its bytes: JSON first, then the raw tensors in the order of the outputs."""
    request = InferRequest(Inputs((), 2), (Wanted(1, binary=True), Wanted(0, binary=False), Wanted(2, binary=True)))
    outputs = (
        np.array([[0.5], [np.nan]], np.float32),
        np.array([1, -2], np.int64),
        np.array([True, False]),
    )
    body, json_length = PAIR.encode(request, outputs)
    assert json_length is not None
    assert json.loads(body[:json_length])["outputs"] == [
        {"name": "z", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
        {"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [0.5, None]},
        {"name": "b", "datatype": "BOOL", "shape": [2], "parameters": {"binary_data_size": 2}},
    ]
    assert body[json_length:] == (1).to_bytes(8, "little") + (-2).to_bytes(8, "little", signed=True) + b"\x01\x00"
