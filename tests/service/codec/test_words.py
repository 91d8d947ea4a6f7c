"""Behaviour of service.codec.words."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec.envelope import Input
from service.codec.infer_input import InputReader
from service.codec.oip import InferCodec
from service.codec.words import LONGEST_CONTEXT, MOST_WORDS, NEXT_WORDS, Contexts, WordsCodec
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    ElementError,
    FeatureError,
    JsonError,
    ReplyTooLargeError,
    RequestError,
    ShapeError,
    StructureError,
)
from service.manifest import VARIABLE, ModelManifest, TensorSpec

WORDS = ("<unknown>", "the", "value", "of", "a", "list", "is")
MAX_ROWS = 64
MANIFEST = ModelManifest(
    schema=1,
    name="next",
    version=1,
    kind="next_word",
    inputs=(TensorSpec(name="context", datatype="INT64", shape=(VARIABLE, VARIABLE), vocabulary=WORDS),),
    outputs=(TensorSpec(name="probability", datatype="FP32", shape=(VARIABLE, len(WORDS))),),
)
CODEC = WordsCodec(MANIFEST, MAX_ROWS)
CONTEXTS = st.lists(
    st.lists(st.sampled_from([*WORDS[1:], "zebra", "The"]), min_size=1, max_size=6), min_size=1, max_size=9
)


def decoded(instances: object) -> Contexts:
    """What the codec reads of some instances."""
    return CODEC.decode(json.dumps({"instances": instances}).encode())


def refusal(body: bytes) -> RequestError:
    """The error that the codec raises for a body."""
    with pytest.raises(RequestError) as caught:
        CODEC.decode(body)
    return caught.value


@given(contexts=CONTEXTS)
def test_contexts_are_grouped_by_length_and_answered_in_order(contexts: list[list[str]]) -> None:
    """Each row of a group is the ids of its context, and the answers stand where their contexts stood."""
    request = decoded([{"context": context} for context in contexts])
    outputs = []
    for places, inputs in zip(request.places, request.groups, strict=True):
        (ids,) = inputs.arrays
        assert [[WORDS.index(w) if w in WORDS else 0 for w in contexts[place]] for place in places] == ids.tolist()
        # As if the likeliest next word were the last one of the context.
        probabilities = np.eye(len(WORDS), dtype=np.float32)[ids[:, -1]]
        outputs.append((probabilities,))
    predictions = json.loads(CODEC.encode(request, outputs))["predictions"]
    assert len(predictions) == len(contexts)
    for context, prediction in zip(contexts, predictions, strict=True):
        assert prediction["unknown"] == [place for place, word in enumerate(context) if word not in WORDS]
        if context[-1] in WORDS:
            assert prediction["next"][0] == {"word": context[-1], "probability": 1.0}


@given(probabilities=st.lists(st.floats(0, 1, width=32), min_size=len(WORDS), max_size=len(WORDS)))
def test_the_likeliest_words_come_first_and_the_unknown_is_none(probabilities: list[float]) -> None:
    """There are five, of falling probability, each with just the model's number."""
    reply = CODEC.encode(decoded([{"context": ["the"]}]), [(np.array([probabilities], np.float32),)])
    (prediction,) = json.loads(reply)["predictions"]
    given_for = dict(zip(WORDS, probabilities, strict=True))
    words = [entry["word"] for entry in prediction["next"]]
    assert (len(set(words)), "<unknown>" in words) == (NEXT_WORDS, False)
    assert [entry["probability"] for entry in prediction["next"]] == [given_for[word] for word in words]
    assert [given_for[word] for word in words] == sorted(probabilities[1:], reverse=True)[:NEXT_WORDS]


@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=len(WORDS), max_size=len(WORDS)), min_size=1, max_size=9
    )
)
def test_of_equally_likely_words_the_first_comes_first(rows: list[list[float]]) -> None:
    """Each context has its own answer, the same every time."""
    reply = CODEC.encode(decoded([{"context": ["the"]}] * len(rows)), [(np.array(rows, np.float32),)])
    for row, prediction in zip(rows, json.loads(reply)["predictions"], strict=True):
        order = sorted(range(1, len(WORDS)), key=lambda index: -row[index])[:NEXT_WORDS]
        assert prediction["next"] == [{"word": WORDS[index], "probability": row[index]} for index in order]


def test_a_reply_that_would_be_too_large_is_not_computed() -> None:
    """Words and their probabilities take about as many bytes for each context."""
    codec = WordsCodec(MANIFEST, MAX_ROWS, max_reply=1000)
    context = {"context": ["the"]}
    rows = 1000 // (NEXT_WORDS * (len("<unknown>") + 48))
    assert len(codec.decode(json.dumps({"instances": [context] * rows}).encode()).unknown) == rows
    with pytest.raises(ReplyTooLargeError, match=f"{rows + 1} rows"):
        codec.decode(json.dumps({"instances": [context] * (rows + 1)}).encode())


@pytest.mark.parametrize(
    ("rows", "length", "pointer"),
    [
        (1, LONGEST_CONTEXT, None),
        (MOST_WORDS // LONGEST_CONTEXT, LONGEST_CONTEXT, None),
        (1, LONGEST_CONTEXT + 1, "/inputs/0/shape/1"),
        (MOST_WORDS // LONGEST_CONTEXT + 1, LONGEST_CONTEXT, "/inputs/0/shape"),
    ],
)
def test_contexts_over_version_2_are_as_long_as_over_version_1(rows: int, length: int, pointer: str | None) -> None:
    """As JSON, as bytes and as bytes alone; longer ones are refused by their shape, before their ids are read."""
    codec = InferCodec(MANIFEST, MAX_ROWS)
    count = rows * length
    tensor = {"name": "context", "datatype": "INT64", "shape": [rows, length]}
    listed = json.dumps({"inputs": [tensor | {"data": [1] * count}]}).encode()
    raw = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 8 * count}}]}).encode()
    blob = np.ones(count, np.int64).tobytes()
    bodies = [(listed, None), (raw + blob, len(raw))]
    if rows == 1:
        bodies.append((blob, 0))
    for body, json_length in bodies:
        if pointer is None:
            assert codec.decode(body, json_length).inputs.arrays[0].shape == (rows, length)
            continue
        with pytest.raises(BinaryError if json_length == 0 else ShapeError) as caught:
            codec.decode(body, json_length)
        assert [fault.pointer for fault in caught.value.faults] == ["" if json_length == 0 else pointer]


def test_words_of_rows_of_a_fixed_length_are_bounded_too() -> None:
    """By all of them together."""
    spec = TensorSpec(name="x", datatype="INT64", shape=(VARIABLE, 1024), vocabulary=WORDS)
    reader = InputReader(spec, 1000)
    most = MOST_WORDS // 1024
    assert reader.read_alone(bytes(8 * 1024 * most)).shape == (most, 1024)
    with pytest.raises(BinaryError):
        reader.read_alone(bytes(8 * 1024 * (most + 1)))
    with pytest.raises(ShapeError) as caught:
        reader.read(Input("x", [most + 1, 1024], "INT64", data=msgspec.Raw(b"[]")), memoryview(b""), "/inputs/0")
    assert [fault.pointer for fault in caught.value.faults] == ["/inputs/0/shape"]


@pytest.mark.parametrize(
    ("instances", "kind", "pointer"),
    [
        ([], ShapeError, "/instances"),
        ([{"context": ["a"]}] * (MAX_ROWS + 1), ShapeError, "/instances"),
        ([{"context": []}], ShapeError, "/instances/0/context"),
        ([{"context": "the value"}], ShapeError, "/instances/0/context"),
        ([{"context": None}], ShapeError, "/instances/0/context"),
        ([{"context": ["a"]}, {"context": ["the", 5]}], ElementError, "/instances/1/context/1"),
        ([["the"]], StructureError, "/instances/0"),
        ([{}], FeatureError, "/instances/0"),
        ([{"context": ["a"], "a/b": 1}], FeatureError, "/instances/0/a~1b"),
        (5, StructureError, "/instances"),
    ],
)
def test_what_is_no_context_is_refused(instances: object, kind: type[RequestError], pointer: str) -> None:
    """The fault stands where the context should."""
    error = refusal(json.dumps({"instances": instances}).encode())
    assert (type(error), error.faults[0].pointer) == (kind, pointer)


def test_a_context_has_a_greatest_length() -> None:
    """One of that length is read, one word more is not."""
    longest = {"context": ["the"] * LONGEST_CONTEXT}
    assert decoded([longest]).groups[0].arrays[0].shape == (1, LONGEST_CONTEXT)
    error = refusal(json.dumps({"instances": [longest, {"context": ["the"] * (LONGEST_CONTEXT + 1)}]}).encode())
    assert [fault.pointer for fault in error.faults] == ["/instances/1/context"]


@pytest.mark.parametrize("words", [MOST_WORDS, MOST_WORDS + 1, 100 * MOST_WORDS])
def test_a_request_has_a_greatest_number_of_words(words: int) -> None:
    """In all its contexts together, of which each may be short enough."""
    count = MOST_WORDS // LONGEST_CONTEXT
    contexts = [{"context": ["of"] * LONGEST_CONTEXT}] * (count - 1)
    contexts += [
        {"context": ["of"] * (LONGEST_CONTEXT - 1)},
        {"context": ["of"] * (words - count * LONGEST_CONTEXT + 1)},
    ]
    body = json.dumps({"instances": contexts}).encode()
    if words <= MOST_WORDS:
        assert len(CODEC.decode(body).unknown) == count + 1
    else:
        error = refusal(body)
        assert [fault.pointer for fault in error.faults] == ["/instances"]
        assert str(MOST_WORDS) in error.message


def test_all_faults_are_told_up_to_a_number() -> None:
    """One answer shows what is wrong with each context."""
    instances: list[Any] = [{"context": []}, {"context": ["the"]}, {"words": 1}]
    assert [fault.pointer for fault in refusal(json.dumps({"instances": instances}).encode()).faults] == [
        "/instances/0/context",
        "/instances/2/words",
        "/instances/2",
    ]
    assert len(refusal(json.dumps({"instances": [5] * MAX_ROWS}).encode()).faults) == MAX_FAULTS


@given(body=st.binary(max_size=60))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    """Bytes that are no request are a `RequestError` and nothing else."""
    assert refusal(body).status == 400


def test_no_json_is_told_so() -> None:
    """A body that is cut off is no JSON."""
    assert type(refusal(b'{"instances": [')) is JsonError


@pytest.mark.parametrize("word", [-1, len(WORDS), 2**40])
def test_an_id_of_no_word_is_refused_over_version_2(word: int) -> None:
    """As JSON and as bytes: it would be another request's failure if it reached the model."""
    codec = InferCodec(MANIFEST, MAX_ROWS)
    tensor = {"name": "context", "datatype": "INT64", "shape": [1, 2]}
    with pytest.raises(ElementError, match=f"from 0 to {len(WORDS) - 1}"):
        codec.decode(json.dumps({"inputs": [tensor | {"data": [1, word]}]}).encode())
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 16}}]}).encode()
    with pytest.raises(ElementError, match=f"from 0 to {len(WORDS) - 1}"):
        codec.decode(header + np.array([1, word]).tobytes(), len(header))
    assert codec.decode(json.dumps({"inputs": [tensor | {"data": [[0, 6]]}]}).encode()).inputs.rows == 1
