"""Behaviour of service.manifest."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ManifestError
from service.manifest import (
    VARIABLE,
    Batching,
    Datatype,
    Environment,
    Feature,
    FileEntry,
    Golden,
    Kind,
    ModelManifest,
    Parity,
    TensorSpec,
    Training,
    is_model_name,
)

MODELS = Path(__file__).parents[2] / "models"
PUBLISHED = sorted(MODELS.glob("*/*/manifest.json"))

DIMENSIONS = st.integers(VARIABLE, 5).filter(bool)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(min_size=1, max_size=8)
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), min_size=1, max_size=8)
FIGURES = st.dictionaries(TEXTS, FLOATS, max_size=3)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | FLOATS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def tensor_specs(draw: st.DrawFn, name: str, batching: Batching) -> TensorSpec:
    """Draw an input or output, with names of columns or classes where its shape allows them."""
    lengths = tuple(draw(st.lists(DIMENSIONS, max_size=3)))
    shape = (VARIABLE, *lengths) if batching == "rows" else lengths
    width = shape[-1] if len(shape) > 1 else 0
    features, labels = None, None
    if width > 0:
        named = st.builds(
            Feature,
            name=KEYS,
            unit=st.none() | TEXTS,
            description=st.text(max_size=8),
            minimum=st.none() | FLOATS,
            maximum=st.none() | FLOATS,
        )
        columns = st.lists(named, min_size=width, max_size=width, unique_by=lambda feature: feature.name)
        features = draw(st.none() | columns.map(tuple))
    if width > 0 and len(shape) == 2:
        count = max(width, 2)
        labels = draw(st.none() | st.lists(TEXTS, min_size=count, max_size=count, unique=True).map(tuple))
    return TensorSpec(
        name=name,
        datatype=draw(st.sampled_from(get_args(Datatype))),
        shape=shape,
        description=draw(st.text(max_size=8)),
        features=features,
        labels=labels,
        allow_non_finite=draw(st.booleans()),
    )


@st.composite
def manifests(draw: st.DrawFn) -> ModelManifest:
    """Draw a sound manifest with or without each of its parts."""
    batching = draw(st.sampled_from(get_args(Batching)))
    inputs = [draw(tensor_specs(f"input {index}", batching)) for index in range(draw(st.integers(1, 3)))]
    outputs = [draw(tensor_specs(f"output {index}", batching)) for index in range(draw(st.integers(1, 3)))]
    entries = st.builds(FileEntry, sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True), bytes=st.integers(0, 2**40))
    environment = st.builds(
        Environment,
        python=TEXTS,
        libraries=st.dictionaries(TEXTS, TEXTS, max_size=3),
        cpu_capability=TEXTS,
        threads=st.integers(1, 64),
    )
    training = st.builds(
        Training,
        source=TEXTS,
        data=TEXTS,
        recipe=st.dictionaries(TEXTS, JSON, max_size=3),
        seed=st.integers(0, 2**63),
        metrics=FIGURES,
        baseline=FIGURES,
        gate=TEXTS,
        environment=environment,
    )
    sizes = st.lists(st.integers(1, 512), max_size=3).map(tuple)
    parity = st.builds(Parity, batch_sizes=sizes, torchscript=FLOATS, onnxruntime=FLOATS)
    return ModelManifest(
        schema=1,
        name=draw(NAMES.filter(is_model_name)),
        version=draw(st.integers(1, 2**31)),
        kind=draw(st.sampled_from([kind for kind in get_args(Kind) if kind != "next_word"])),
        batching=batching,
        max_batch=draw(st.none() | st.integers(1, 2**16)),
        description=draw(st.text(max_size=8)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        files=draw(st.dictionaries(NAMES, entries, max_size=3)),
        training=draw(st.none() | training),
        parity=draw(st.none() | parity),
    )


def document(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """A small sound manifest as JSON, with some keys changed."""
    sound = {
        "schema": 1,
        "name": "adder",
        "version": 3,
        "kind": "regression",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "features": [{"name": "a"}, {"name": "b"}]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1], "labels": ["no", "yes"]}],
        "files": {"model.onnx": {"sha256": "0" * 64, "bytes": 5}},
    }
    return sound | changes


def parsed(**changes: Any) -> ModelManifest:  # noqa: ANN401  # JSON
    """The small manifest with some keys changed, read as a file is."""
    return ModelManifest.parse(json.dumps(document(**changes)).encode(), "adder/3/manifest.json")


def tensor(**changes: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # JSON
    """One tensor as the JSON of `inputs` or `outputs`."""
    return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]} | changes]


@given(manifest=manifests())
@settings(deadline=None)
def test_what_is_written_is_read_back(manifest: ModelManifest) -> None:
    """A manifest survives its file, and writing it again gives the same bytes."""
    content = manifest.render()
    again = ModelManifest.parse(content, "manifest.json")
    assert again == manifest
    assert again.render() == content


@given(
    golden=st.builds(
        Golden,
        inputs=st.dictionaries(TEXTS, st.lists(st.lists(FLOATS | st.integers(-(2**63), 2**63) | st.booleans()))),
        outputs=st.dictionaries(TEXTS, st.lists(st.lists(FLOATS))),
    )
)
@settings(deadline=None)
def test_golden_rows_are_read_back(golden: Golden) -> None:
    """Rows survive their file with every digit and type, on one line."""
    content = golden.render()
    assert content.count(b"\n") == 1
    again = Golden.parse(content, "golden.json")
    assert repr(again) == repr(golden)
    assert again.render() == content


def test_there_are_published_models() -> None:
    """The checks of published manifests have something to check."""
    assert PUBLISHED


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.parent.parent.name)
def test_a_published_manifest_is_what_it_would_be_written_as(path: Path) -> None:
    """Parsed and rendered, the file has the same bytes; its golden rows too."""
    assert ModelManifest.parse(path.read_bytes(), str(path)).render() == path.read_bytes()
    golden = path.with_name("golden.json").read_bytes()
    assert Golden.parse(golden, str(path)).render() == golden


def test_a_sound_manifest_has_defaults_for_what_it_leaves_out() -> None:
    """Descriptions are empty, origins unknown, and only finite numbers come in."""
    manifest = parsed()
    assert (manifest.description, manifest.training, manifest.parity) == ("", None, None)
    assert not manifest.inputs[0].allow_non_finite
    assert manifest.inputs[0].row_shape == (2,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": 2}, "schema: "),
        ({"name": "a/b"}, "name: "),
        ({"name": ""}, "name: "),
        ({"name": ".hidden"}, "name: "),
        ({"name": "a\n"}, "name: "),
        ({"name": "a" * 129}, "name: "),
        ({"name": "stats"}, "stats is a path of the protocol"),
        ({"version": 0}, "version: "),
        ({"kind": "poetry"}, "kind: "),
        ({"inputs": []}, "inputs: "),
        ({"outputs": []}, "outputs: "),
        ({"unknown": 1}, "unknown: "),
        ({"inputs": tensor(name="")}, "inputs/0/name: "),
        ({"inputs": tensor(datatype="FP128")}, "inputs/0/datatype: "),
        ({"inputs": tensor(shape=[-1, -2])}, "inputs/0/shape/1: "),
        ({"inputs": tensor(shape=[-1, 0])}, "inputs/0/shape/1: "),
        ({"inputs": tensor(shape=[])}, r"x: shape \[\] has no variable first dimension"),
        ({"outputs": tensor(shape=[1, 2])}, r"x: shape \[1, 2\] has no variable first dimension"),
        ({"batching": "columns"}, "batching: "),
        ({"max_batch": 0}, "max_batch: "),
        ({"inputs": tensor(name='a"b')}, "inputs/0/name: "),
        ({"inputs": tensor(unknown=1)}, "inputs/0/unknown: "),
        ({"inputs": tensor() * 2}, "input 'x' is named twice"),
        ({"outputs": tensor() * 2}, "output 'x' is named twice"),
        ({"inputs": tensor(features=[{"name": "a"}])}, "inputs/0: .*x: 1 features for shape"),
        ({"inputs": tensor(shape=[-1], features=[{"name": "a"}])}, "inputs/0: .*x: 1 features for shape"),
        ({"inputs": tensor(features=[{"name": "a"}, {"name": "a"}])}, "inputs/0: .*feature 'a' is named twice"),
        ({"inputs": tensor(features=[{"name": "a"}, {"name": ""}])}, "inputs/0/features/1/name: "),
        ({"inputs": tensor(features=[{"name": "a"}, {"name": 'a "b"'}])}, "inputs/0/features/1/name: "),
        ({"inputs": tensor(features=[{"name": "a"}, {"name": "a\\b"}])}, "inputs/0/features/1/name: "),
        ({"inputs": tensor(features=[{"name": "a"}, {"name": "a\n"}])}, "inputs/0/features/1/name: "),
        ({"outputs": tensor(labels=["a"])}, "outputs/0: .*x: 1 labels for shape"),
        ({"outputs": tensor(shape=[-1, 1], labels=["a"])}, "outputs/0: .*x: 1 labels for shape"),
        ({"outputs": tensor(shape=[-1], labels=["a", "b"])}, "outputs/0: .*x: 2 labels for shape"),
        ({"outputs": tensor(shape=[-1, -1], labels=["a", "b"])}, "outputs/0: .*x: 2 labels for shape"),
        ({"outputs": tensor(shape=[-1, 3, 2], labels=["a", "b"])}, "outputs/0: .*x: 2 labels for shape"),
        ({"outputs": tensor(labels=["a", "a"])}, "outputs/0: .*label 'a' is named twice"),
        ({"outputs": tensor(labels=["a", ""])}, "outputs/0/labels/1: "),
        ({"outputs": [*tensor(labels=["a", "b"]), *tensor(name="label")]}, "output 'label' is named twice"),
        ({"files": {"../model.onnx": {"sha256": "0" * 64, "bytes": 5}}}, "files/../model.onnx/"),
        ({"files": {"model.onnx": {"sha256": "0" * 63, "bytes": 5}}}, "files/model.onnx/sha256: "),
        ({"files": {"model.onnx": {"sha256": "0" * 64, "bytes": -1}}}, "files/model.onnx/bytes: "),
        ({"parity": {"batch_sizes": [0], "torchscript": 0, "onnxruntime": 0}}, "parity/batch_sizes/0: "),
        ({"training": {}}, "training/source: "),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    """The error names the file and the place in it."""
    with pytest.raises(ManifestError, match=rf"^adder/3/manifest\.json: .*{told}"):
        parsed(**changes)


WORDS = tensor(datatype="INT64", shape=[-1, -1], vocabulary=["<unknown>", "the", "of"])
LIKELIHOODS = tensor(name="y", shape=[-1, 3])


def test_a_model_of_words_takes_ids_and_gives_each_word_its_probability() -> None:
    """Its vocabulary is what version 1's words are read and written by."""
    manifest = parsed(kind="next_word", inputs=WORDS, outputs=LIKELIHOODS)
    assert manifest.inputs[0].vocabulary == ("<unknown>", "the", "of")


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        (tensor(datatype="INT64", shape=[-1, -1]), LIKELIHOODS, "a next_word model takes one"),
        (WORDS, tensor(name="y", shape=[-1, 4]), "a next_word model takes one"),
        (WORDS * 1 + tensor(name="z"), LIKELIHOODS, "a next_word model takes one"),
        (tensor(datatype="INT64", shape=[-1, -1], vocabulary=["a", "a", "b"]), LIKELIHOODS, "there twice"),
    ],
)
def test_a_model_of_words_without_them_is_refused(inputs: object, outputs: object, told: str) -> None:
    """A model that could not be asked in words is not called one."""
    content = json.dumps(document(kind="next_word", inputs=inputs, outputs=outputs)).encode()
    with pytest.raises(ManifestError, match=told):
        ModelManifest.parse(content, "here")


@pytest.mark.parametrize("key", ["name", "version", "kind", "inputs", "outputs"])
def test_a_manifest_without_what_it_needs_is_refused(key: str) -> None:
    """The error names the missing key."""
    content = {name: value for name, value in document().items() if name != key}
    with pytest.raises(ManifestError, match=f"^here: {key}: "):
        ModelManifest.parse(json.dumps(content).encode(), "here")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_figures_are_finite(literal: str) -> None:
    """Neither NaN nor an infinity can be a range's end."""
    features = [{"name": "a", "minimum": "?"}, {"name": "b"}]
    content = json.dumps(document(inputs=tensor(features=features))).replace('"?"', literal)
    with pytest.raises(ManifestError, match=r"^here: inputs/0/features/0/minimum: "):
        ModelManifest.parse(content.encode(), "here")


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 250_000, b"\xef\xbb\xbf{}", b"[]", b"null"])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    """Whatever the bytes are, the error names the file in one line."""
    with pytest.raises(ManifestError, match=r"^here: [^\n]+$"):
        ModelManifest.parse(content, "here")


@given(content=st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_no_other_error_comes_out(content: bytes) -> None:
    """Bytes that are no manifest are a `ManifestError` and nothing else."""
    with pytest.raises(ManifestError):
        ModelManifest.parse(content, "here")


def test_a_value_cannot_be_changed() -> None:
    """A manifest that was checked stays as it was checked."""
    manifest = parsed()
    with pytest.raises(ValueError, match="frozen"):
        manifest.version = 4  # type: ignore[misc]  # what the test is about


@given(text=NAMES | st.text(max_size=10))
def test_a_model_name_is_what_a_manifest_takes(text: str) -> None:
    """`is_model_name` and the manifest's own check agree."""
    try:
        parsed(name=text)
    except ManifestError:
        assert not is_model_name(text)
    else:
        assert is_model_name(text)


@pytest.mark.parametrize("name", ["stats", "a/b", "", ".", "..", "-a", "a b", "é", "a\n", "a" * 129])
def test_a_name_that_a_path_could_mistake_names_no_model(name: str) -> None:
    """Neither paths, nor hidden files, nor options, nor the protocol's own word."""
    assert not is_model_name(name)


@pytest.mark.parametrize("name", ["a", "0", "_a.b-c", "Stats", "a" * 128])
def test_plain_names_name_a_model(name: str) -> None:
    """Letters, digits, underscores, and behind the first also dots and dashes."""
    assert is_model_name(name)


def test_one_labelled_output_has_the_plain_key() -> None:
    """The label stands under `label`, and an output without labels has none."""
    manifest = parsed(outputs=[*tensor(labels=["a", "b"]), *tensor(name="z")])
    assert [(spec.name, key) for spec, key in manifest.output_columns] == [("x", "label"), ("z", None)]


def test_several_labelled_outputs_have_keys_of_their_own() -> None:
    """Each label stands under its output's name."""
    manifest = parsed(outputs=[*tensor(labels=["a", "b"]), *tensor(name="z", labels=["a", "b"])])
    assert [(spec.name, key) for spec, key in manifest.output_columns] == [("x", "x_label"), ("z", "z_label")]


def test_labels_of_several_outputs_cannot_hide_one() -> None:
    """An output called as another's label is refused."""
    outputs = [*tensor(labels=["a", "b"]), *tensor(name="z", labels=["a", "b"]), *tensor(name="x_label")]
    with pytest.raises(ManifestError, match="output 'x_label' is named twice"):
        parsed(outputs=outputs)


def test_a_tensor_is_refused_by_its_name() -> None:
    """Whoever builds a tensor in Python learns which one does not fit."""
    with pytest.raises(ValueError, match=re.escape("probability: 3 labels for shape [-1, 2]")):
        TensorSpec(name="probability", datatype="FP32", shape=(-1, 2), labels=("a", "b", "c"))
