"""Behaviour of service.codec.oip."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import triton_to_np_dtype

from service.codec.infer_output import MOST_CLASSES, Wanted
from service.codec.oip import InferCodec, InferRequest
from service.codec.tensors import DTYPES, Array, Inputs, to_bytes
from service.codec.texts import MOST_TEXTS
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    DatatypeError,
    ElementError,
    JsonError,
    ReplyTooLargeError,
    RequestError,
    ShapeError,
    StructureError,
    TensorError,
    UnsupportedError,
)
from service.manifest import VARIABLE, Batching, Datatype, ModelManifest, TensorSpec
from tests.service.codec.draws import DATATYPES, JSON_DATATYPES, arrays, is_exact, same_bits

Check = Callable[[RequestError, Any], None]


class Case(NamedTuple):
    """A model's tensor, and an array that fits it."""

    spec: TensorSpec
    array: Array


def spec_of(name: str, datatype: Datatype, *shape: int, allow_non_finite: bool = False) -> TensorSpec:
    """One input or output."""
    return TensorSpec(name=name, datatype=datatype, shape=shape, allow_non_finite=allow_non_finite)


MAX_ROWS = 64


def codec_of(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec] | None = None, batching: Batching = "rows"
) -> InferCodec:
    """The codec of a model with these tensors."""
    outputs = [spec_of("y", "FP32", VARIABLE, 1)] if outputs is None else outputs
    manifest = ModelManifest(
        name="m", version=7, kind="tensors", batching=batching, inputs=tuple(inputs), outputs=tuple(outputs)
    )
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


@st.composite
def cases(draw: st.DrawFn, *, finite: bool) -> list[Case]:
    """Draw one to three tensors of any datatype, of one number of rows and of fixed and variable dimensions."""
    rows = draw(st.integers(1, 3))
    drawn = []
    for index in range(draw(st.integers(1, 3))):
        datatype = draw(st.sampled_from(DATATYPES))
        row_shape = draw(st.lists(st.integers(1, 3), max_size=3))
        shape = [VARIABLE, *(draw(st.sampled_from([VARIABLE, length])) for length in row_shape)]
        array = draw(arrays(datatype, (rows, *row_shape), finite=finite))
        drawn.append(Case(spec_of(f"tensor {index}", datatype, *shape, allow_non_finite=not finite), array))
    return drawn


@given(tensors=cases(finite=True), data=st.data())
@settings(deadline=None)
def test_inputs_come_in_bit_for_bit(tensors: list[Case], data: st.DataObject) -> None:
    """Written flat, nested or as raw bytes, mixed as one likes and in any order, arrays are what they were."""
    described, blobs = [], []
    for spec, array in data.draw(st.permutations(tensors)):
        tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
        form = "binary" if spec.datatype == "BF16" else data.draw(st.sampled_from(["flat", "nested", "binary"]))
        if form == "binary":
            blobs.append(bytes(to_bytes(array)))
            described.append(binary(tensor, len(blobs[-1])))
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
        binary({"name": spec.name, "datatype": spec.datatype, "shape": array.shape}, len(to_bytes(array)))
        for spec, array in tensors
    ]
    codec = codec_of([case.spec for case in tensors])
    padding = " " * data.draw(st.integers(0, 8))
    text = (json.dumps({"inputs": described}) + padding).encode()
    request = codec.decode(text + b"".join(to_bytes(case.array) for case in tensors), len(text))
    for read, case in zip(request.inputs.arrays, tensors, strict=True):
        assert same_bits(read, case.array)
        assert read.flags.aligned


@given(tensors=cases(finite=False), data=st.data())
@settings(deadline=None)
def test_outputs_go_out_bit_for_bit(tensors: list[Case], data: st.DataObject) -> None:
    """A reply is read back as the arrays it was made of; only in JSON is what is not finite a null."""
    codec = codec_of([spec_of("x", "FP32", VARIABLE)], [case.spec for case in tensors])
    places = data.draw(st.lists(st.integers(0, len(tensors) - 1), unique=True))
    wanted = tuple(
        Wanted(place, tensors[place].spec.datatype == "BF16" or data.draw(st.booleans())) for place in places
    )
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
            assert rest[:size] == to_bytes(array)
            rest = rest[size:]
        else:
            assert "parameters" not in told
            values = told["data"]
            if spec.datatype == "BYTES":
                assert values == array.ravel().tolist()
                continue
            assert [value is None for value in values] == (~np.isfinite(array.ravel())).tolist()
            finite = np.where(np.isfinite(array), array, array.dtype.type(0))
            written = np.array([0 if value is None else value for value in values], array.dtype)
            assert same_bits(written.reshape(array.shape), finite)
    assert rest == b""


def as_the_client_has_it(spec: TensorSpec, array: Array) -> Array:
    """The array in the type that the public client uses for the datatype, where it is another than ours."""
    return array.view(triton_to_np_dtype("BF16")) if spec.datatype == "BF16" else array


def as_it_was_sent(spec: TensorSpec, array: Array) -> Array:
    """An array that the public client read, in our type."""
    if spec.datatype == "BYTES":
        texts = [one.decode() if isinstance(one, bytes) else one for one in array.reshape(-1).tolist()]
        return np.array(texts, np.object_).reshape(array.shape)
    return array.view(np.uint16) if spec.datatype == "BF16" else array


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("batching", ["rows", "none"])
@given(tensors=cases(finite=True))
@settings(deadline=None)
def test_the_triton_client_is_understood_and_understands(tensors: list[Case], batching: Batching, *, raw: bool) -> None:
    """What the public client writes is read bit for bit, and it reads what is answered so too."""
    specs = [case.spec for case in tensors]
    codec = codec_of(specs, specs, batching)
    inputs, outputs = [], []
    for spec, array in tensors:
        given_input = triton.InferInput(spec.name, list(array.shape), spec.datatype)
        # The client writes halves as raw bytes only.
        as_bytes = raw or spec.datatype in ("FP16", "BF16")
        given_input.set_data_from_numpy(as_the_client_has_it(spec, array), binary_data=as_bytes)
        inputs.append(given_input)
        outputs.append(triton.InferRequestedOutput(spec.name, binary_data=raw or spec.datatype == "BF16"))
    generate = triton.InferenceServerClient.generate_request_body
    for asked in (outputs, None):
        body, json_length = generate(inputs, outputs=asked, request_id="7", timeout=1500)
        request = codec.decode(body.encode() if isinstance(body, str) else body, json_length)
        assert request.timeout == 0.0015
        answer, header_length = codec.encode(request, request.inputs.arrays)
        result = triton.InferenceServerClient.parse_response_body(answer, header_length=header_length)
        assert result.get_response()["id"] == "7"
        for spec, array in tensors:
            assert same_bits(as_it_was_sent(spec, result.as_numpy(spec.name)), array)


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


def is_laid_out(datatype: Datatype, value: Any, shape: Sequence[int]) -> bool:  # noqa: ANN401  # JSON
    """Whether nested lists have the shape and only elements of the datatype."""
    if not shape:
        return is_exact(datatype, value)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(is_laid_out(datatype, inner, shape[1:]) for inner in value)
    )


@pytest.mark.parametrize("datatype", JSON_DATATYPES)
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


@given(data=st.data(), cut=st.integers(0, 400), splice=st.binary(max_size=4), skip=st.integers(0, 4))
@settings(deadline=None, max_examples=200)
def test_damaged_tensors_are_read_or_refused(data: st.DataObject, cut: int, splice: bytes, skip: int) -> None:
    """Of every datatype as raw bytes, beside texts in JSON, and of models without a batch too."""
    tensors = data.draw(cases(finite=True))
    raw = [to_bytes(array) for _, array in tensors]
    described = [
        binary({"name": spec.name, "datatype": spec.datatype, "shape": array.shape}, len(blob))
        if spec.datatype == "BF16" or data.draw(st.booleans())
        else {"name": spec.name, "datatype": spec.datatype, "shape": array.shape, "data": array.reshape(-1).tolist()}
        for (spec, array), blob in zip(tensors, raw, strict=True)
    ]
    text = json.dumps({"inputs": described}, ensure_ascii=False).encode()
    blobs = [blob for one, blob in zip(described, raw, strict=True) if "data" not in one]
    body = text + b"".join(blobs)
    body = body[:cut] + splice + body[cut + skip :]
    codec = codec_of([case.spec for case in tensors], batching=data.draw(st.sampled_from(["rows", "none"])))
    try:
        codec.decode(body, len(text) + data.draw(st.sampled_from([0, 0, len(splice) - skip])))
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right
        assert 1 <= len(error.faults) <= MAX_FAULTS  # noqa: PT017  # the same


@given(body=st.binary(max_size=200), json_length=st.none() | st.integers(0, 210))
@settings(deadline=None)
def test_any_bytes_alone_are_read_or_refused(body: bytes, json_length: int | None) -> None:
    """Bytes without a request in them raise nothing but a caller's error, for a model of texts too."""
    codec = codec_of([spec_of("t", "BYTES", VARIABLE, 1)])
    try:
        codec.decode(body, json_length)
    except RequestError as error:
        assert error.status == 400  # noqa: PT017  # either outcome is right


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


@pytest.mark.parametrize("size", [2**70, -(2**70), True, False, 8.0, 8.5, "8", [8], {}])
def test_a_size_is_an_integer(size: object) -> None:
    """Of 64 bits, and nothing that may be meant for one."""
    error = refusal(PAIR, {"inputs": [binary(X, size), N]}, bytes(8))
    assert isinstance(error, StructureError | BinaryError)
    assert pointers(error) == ["/inputs/0/parameters/binary_data_size"]
    assert "integer" in error.faults[0].expected or size == -(2**70)


@pytest.mark.parametrize("size", [7, 9, 0, -8])
def test_a_size_that_is_not_the_tensors_is_refused(size: object) -> None:
    """The size is what the shape and the datatype need."""
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


def test_a_size_below_zero_takes_no_bytes() -> None:
    """Nor gives any back to the inputs after it."""
    inputs = [binary(N, -3), binary(X, 8)]
    error = refusal(PAIR, {"inputs": inputs}, np.array([1.5, math.nan], np.float32).tobytes())
    assert [(fault.pointer, fault.got) for fault in error.faults] == [
        ("/inputs/0/parameters/binary_data_size", "-3"),
        ("/inputs/1", "a tensor with others: element 1 is nan"),
    ]
    error = refusal(PAIR, {"inputs": [binary(X, 8), binary(N, -3)]}, np.array([1.5, 2], np.float32).tobytes())
    assert pointers(error) == ["/inputs/1/parameters/binary_data_size"]


def test_a_faulty_input_still_takes_its_own_bytes() -> None:
    """The bytes of an input that is refused are not read as the next one's."""
    codec = codec_of([spec_of("x", "FP32", VARIABLE, 2), spec_of("b", "BOOL", VARIABLE)])
    good = binary({"name": "b", "datatype": "BOOL", "shape": [8]}, 8)
    for change in ({"datatype": "FP64"}, {"name": "unknown"}, {"shape": [1, 3]}):
        error = refusal(codec, {"inputs": [binary(X, 8) | change, good]}, b"\xff" * 8, bytes(8))
        (pointer,) = pointers(error)
        assert pointer.startswith(f"/inputs/0/{next(iter(change))}")


@pytest.mark.parametrize(
    ("datatype", "content", "allowed", "got"),
    [
        ("FP32", np.float32(math.nan).tobytes(), False, "nan"),
        ("FP16", b"\x00\x7c", False, "inf"),
        ("BF16", b"\x80\x7f", False, "inf"),
        ("BF16", b"\xc1\xff", False, "nan"),
        ("BOOL", b"\x02", True, "2"),
    ],
)
def test_raw_bytes_that_are_no_values_are_refused(
    datatype: Datatype, content: bytes, got: str, *, allowed: bool
) -> None:
    """NaN and infinities without leave, and a boolean of two; the first of them is named."""
    codec = codec_of([spec_of("x", datatype, VARIABLE, allow_non_finite=allowed)])
    tensor = binary({"name": "x", "datatype": datatype, "shape": [1]}, len(content))
    error = refusal(codec, {"inputs": [tensor]}, content)
    assert isinstance(error, ElementError)
    assert pointers(error) == ["/inputs/0"]
    assert error.faults[0].got == f"a tensor with others: element 0 is {got}"


def test_half_precision_of_the_other_kind_has_no_json() -> None:
    """BF16 is refused in JSON, in and out, with what to send and to ask for instead."""
    codec = codec_of([spec_of("x", "BF16", VARIABLE)], [spec_of("y", "BF16", VARIABLE)])
    tensor = {"name": "x", "datatype": "BF16", "shape": [1]}
    error = refusal(codec, {"inputs": [tensor | {"data": [1]}]})
    assert isinstance(error, UnsupportedError)
    assert pointers(error) == ["/inputs/0/data", ""]
    assert "binary_data_size" in error.faults[0].hint
    assert "binary_data" in error.faults[1].hint
    named = [{"name": "y", "parameters": {"binary_data": False}}]
    assert pointers(refusal(codec, {"inputs": [binary(tensor, 2)], "outputs": named}, bytes(2))) == ["/outputs/0"]
    asked = {"inputs": [binary(tensor, 2)], "parameters": {"binary_data_output": True}}
    assert decoded(codec, asked, bytes(2)).inputs.arrays[0].tolist() == [0]


def test_texts_fill_just_the_bytes_they_claim() -> None:
    """The bytes of texts have any size that their lengths add up to."""
    codec = codec_of([spec_of("t", "BYTES", VARIABLE), spec_of("n", "INT8", VARIABLE)])
    tensor = {"name": "t", "datatype": "BYTES", "shape": [2]}
    blob = b"\1\0\0\0a\2\0\0\0\xc3\xa9"
    last = binary(N | {"shape": [2]}, 2)
    request = decoded(codec, {"inputs": [binary(tensor, len(blob)), last]}, blob, b"\5\6")
    assert [array.tolist() for array in request.inputs.arrays] == [["a", "é"], [5, 6]]
    assert request.inputs.size == 2 * 8 + 2 + 2
    for size in (-1, 0, 7, len(blob) - 1, len(blob) + 1, 100):
        error = refusal(codec, {"inputs": [binary(tensor, size), last]}, blob, b"\5\6")
        assert isinstance(error, BinaryError)
        assert pointers(error)[0] == "/inputs/0/parameters/binary_data_size"


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


@given(body=st.binary(max_size=40))
def test_a_raw_tensor_alone_has_all_its_outputs_back_as_bytes(body: bytes) -> None:
    """The header length 0 says so, and the number of rows follows from the body's."""
    codec = codec_of([spec_of("x", "INT8", VARIABLE, 2)], [spec_of("y", "INT8", VARIABLE, 2)])
    if not body or len(body) % 2:
        with pytest.raises(BinaryError):
            codec.decode(body, 0)
        return
    request = codec.decode(body, 0)
    assert (request.inputs.rows, request.wanted) == (len(body) // 2, (Wanted(0, binary=True),))
    answer, json_length = codec.encode(request, request.inputs.arrays)
    assert answer[json_length:] == body


def test_a_raw_tensor_alone_needs_a_model_of_one_input() -> None:
    """Which of several it would be nobody can tell."""
    with pytest.raises(UnsupportedError, match="the inputs are x, n"):
        PAIR.decode(bytes(9), 0)


# Models without a batch dimension


def test_a_model_without_a_batch_takes_the_shapes_of_its_graph() -> None:
    """A scalar, a fixed shape, and any length where the graph leaves it open; one request is one row."""
    specs = [spec_of("s", "FP32"), spec_of("f", "INT8", 2, 1), spec_of("v", "BYTES", VARIABLE)]
    codec = codec_of(specs, specs, "none")
    for scalar in ([1.5], 1.5):
        tensors = [
            {"name": "s", "datatype": "FP32", "shape": [], "data": scalar},
            {"name": "f", "datatype": "INT8", "shape": [2, 1], "data": [[1], [2]]},
            {"name": "v", "datatype": "BYTES", "shape": [100], "data": ["é"] * 100},
        ]
        request = decoded(codec, {"inputs": tensors})
        assert request.inputs.rows == 1
        assert [array.shape for array in request.inputs.arrays] == [(), (2, 1), (100,)]
        told = json.loads(codec.encode(request, request.inputs.arrays)[0])["outputs"]
        assert [(tensor["shape"], tensor["data"]) for tensor in told] == [
            ([], [1.5]),
            ([2, 1], [1, 2]),
            ([100], ["é"] * 100),
        ]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"shape": [1]}, "/inputs/0/shape"),
        ({"data": [1, 2]}, "/inputs/0/data"),
        ({"data": [[1]]}, "/inputs/0/data/0"),
        ({"data": "1"}, "/inputs/0/data"),
        ({"data": []}, "/inputs/0/data"),
    ],
)
def test_a_scalar_is_one_element(change: dict[str, Any], pointer: str) -> None:
    """No more, no less, and not in a list of lists."""
    codec = codec_of([spec_of("s", "FP32")], batching="none")
    error = refusal(codec, {"inputs": [{"name": "s", "datatype": "FP32", "shape": [], "data": [1]} | change]})
    assert pointers(error) == [pointer]


# Deadlines


@pytest.mark.parametrize(("timeout", "seconds"), [(None, None), (0, None), (1, 1e-6), (2_500_000, 2.5)])
def test_a_timeout_is_in_microseconds(timeout: int | None, seconds: float | None) -> None:
    """And 0 is none."""
    assert decoded(PAIR, {"inputs": [X, N], "parameters": {"timeout": timeout}}).timeout == seconds


@pytest.mark.parametrize("parameter", ["timeout", "binary_data_output"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", [], 2**63])
def test_a_parameter_of_another_type_is_refused(parameter: str, value: object) -> None:
    """It is not taken for a default."""
    error = refusal(PAIR, {"inputs": [X, N], "parameters": {parameter: value}})
    assert isinstance(error, StructureError)
    assert pointers(error) == [f"/parameters/{parameter}"]


# Cost


@pytest.mark.parametrize(
    "junk", ["[" + "1," * 3_000_000 + "1]", "[" + "{}," * 2_000_000 + "{}]", '"' + "a" * 9_000_000 + '"']
)
def test_what_is_refused_is_told_in_few_words(junk: str) -> None:
    """A body of millions of bytes at any key gives an error of a few hundred."""
    base = json.dumps({"inputs": [X, N], "outputs": [{"name": "y"}]})
    places = ["[1.5, 2]", '"x"', '"FP32"', "[1, 2]", '"y"']
    for body in [base.replace(place, junk, 1) for place in places] + [base.replace("{", f'{{"parameters": {junk},', 1)]:
        with pytest.raises(RequestError) as caught:
            PAIR.decode(body.encode())
        assert len(caught.value.message) < 500
        assert len(repr(caught.value.faults)) < 500 * len(caught.value.faults)


def test_numbers_that_are_too_many_are_not_read() -> None:
    """They are counted, which takes far less; the fault says how many there should be."""
    error = refusal(PAIR, {"inputs": [X | {"data": [1] * 100_000}, N]})
    assert isinstance(error, ShapeError)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [("/inputs/0/data", "data of 2 elements")]


@pytest.mark.parametrize("nested", [False, True])
def test_a_large_tensor_of_one_row_is_read(*, nested: bool) -> None:
    """However its brackets lie, and whatever its texts hold: what the shape allows is never too much."""
    texts = ['a,[{"' * 5, "", "\\", '\\"'] * 5_000
    specs = [spec_of("t", "BYTES", VARIABLE, 1, VARIABLE, 1), spec_of("x", "FP32", VARIABLE, 1, VARIABLE, 1)]
    data: dict[str, list[Any]] = {"t": texts, "x": [0.25] * 20_000}
    tensors = [
        {"name": spec.name, "datatype": spec.datatype, "shape": [1, 1, 20_000, 1]}
        | {"data": [[[[value] for value in data[spec.name]]]] if nested else data[spec.name]}
        for spec in specs
    ]
    arrays = decoded(codec_of(specs), {"inputs": tensors}).inputs.arrays
    assert [array.reshape(-1).tolist() for array in arrays] == list(data.values())


@pytest.mark.parametrize("batching", ["rows", "none"])
def test_a_reply_that_would_be_too_large_is_not_computed(batching: Batching) -> None:
    """As JSON a reply is several times as large as in raw bytes, and only what is asked for counts."""
    shape = (VARIABLE, 1000) if batching == "rows" else (1, 1000)
    outputs = tuple(spec_of(name, "FP32", *shape) for name in "ab")
    manifest = ModelManifest(
        name="m",
        version=1,
        kind="tensors",
        batching=batching,
        inputs=(spec_of("x", "FP32", *shape[:1]),),
        outputs=(*outputs, spec_of("open", "FP64", VARIABLE, VARIABLE)),
    )
    codec = InferCodec(manifest, MAX_ROWS, max_reply=20_000)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    for more in ({"outputs": [{"name": "a"}, {"name": "open"}]}, {"parameters": {"binary_data_output": True}}):
        assert decoded(codec, {"inputs": [tensor]} | more).inputs.rows == 1
    classes = [{"name": "b", "parameters": {"classification": 3}}]
    assert decoded(codec, {"inputs": [tensor], "outputs": [{"name": "a"}, *classes]}).inputs.rows == 1
    error = refusal(codec, {"inputs": [tensor]})
    assert (type(error), pointers(error)) == (ReplyTooLargeError, ["/inputs"])
    assert "1 row, whose reply has about 40000 bytes" in error.message
    if batching == "rows":
        assert codec.decode(bytes(8), 0).inputs.rows == 2
        with pytest.raises(ReplyTooLargeError) as caught:
            codec.decode(bytes(12), 0)
        assert pointers(caught.value) == [""]


@pytest.mark.parametrize("raw", [False, True])
def test_texts_are_at_most_a_million(*, raw: bool) -> None:
    """Each is costly, however short: more are refused by their shape, before they are read."""
    codec = codec_of([spec_of("t", "BYTES", VARIABLE, VARIABLE)])
    tensor: dict[str, Any] = {"name": "t", "datatype": "BYTES", "shape": [1, MOST_TEXTS]}
    if raw:
        assert decoded(codec, {"inputs": [binary(tensor, 4 * MOST_TEXTS)]}, bytes(4 * MOST_TEXTS)).inputs.rows == 1
    tensor["shape"] = [1, MOST_TEXTS + 1]
    error = refusal(codec, {"inputs": [binary(tensor, 4) if raw else tensor | {"data": [5]}]}, bytes(4) * raw)
    assert (type(error), pointers(error)) == (ShapeError, ["/inputs/0/shape"])


def test_classes_of_all_rows_are_bounded() -> None:
    """Each is a text of its own: as many as a row has, of as many rows as they make few enough."""
    outputs = [spec_of("wide", "FP32", VARIABLE, 5000), spec_of("slim", "FP32", VARIABLE, 2)]
    codec = codec_of([spec_of("x", "FP32", VARIABLE)], [*outputs, spec_of("open", "FP32", VARIABLE, VARIABLE)])
    rows = 32

    def asked(**counts: int) -> dict[str, Any]:
        outputs = [{"name": name, "parameters": {"classification": count}} for name, count in counts.items()]
        tensor = {"name": "x", "datatype": "FP32", "shape": [rows], "data": [1] * rows}
        return {"inputs": [tensor], "outputs": outputs}

    most = MOST_CLASSES // rows
    assert decoded(codec, asked(wide=most, slim=10**9, open=most)).inputs.rows == rows
    error = refusal(codec, asked(slim=1, wide=most + 1, open=10**9))
    assert isinstance(error, ShapeError)
    assert [(fault.pointer, fault.expected) for fault in error.faults] == [
        (f"/outputs/{place}/parameters/classification", f"{most} or fewer for {rows} rows") for place in (1, 2)
    ]


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
        ({"shape": [10**4299, 2]}, StructureError, "/shape/0", f"an integer, at most {2**63 - 1}"),
        ({"shape": [1.5, 2]}, StructureError, "/shape/0", "an integer"),
        ({"data": [[1.5], [2]]}, ShapeError, "/data", "a list of 1 lists"),
        ({"parameters": {"shared_memory_region": "r"}}, UnsupportedError, "/parameters/shared_memory_region", "absent"),
        (
            {"parameters": {"shared_memory_region": None}},
            UnsupportedError,
            "/parameters/shared_memory_region",
            "absent",
        ),
        ({"parameters": []}, StructureError, "/parameters", "an object or null"),
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
            [{"name": "b", "parameters": {"classification": 2}}],
            UnsupportedError,
            "/outputs/0/parameters/classification",
        ),
        (
            [{"name": "z", "parameters": {"classification": 2}}],
            UnsupportedError,
            "/outputs/0/parameters/classification",
        ),
        *(
            (
                [{"name": "y", "parameters": {"classification": count}}],
                StructureError,
                "/outputs/0/parameters/classification",
            )
            for count in (0, -1, 1.5, "2", True, 2**70)
        ),
        *(
            ([{"name": "y", "parameters": {"binary_data": value}}], StructureError, "/outputs/0/parameters/binary_data")
            for value in (1, 0, "true", {"a": 1})
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
    reply = json.loads(PAIR.encode(request, outputs)[0])
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
