"""Behaviour of service.http.triton."""

import pytest

from service.errors import JsonError, RequestError, StructureError, UnsupportedError
from service.http.triton import configuration, metadata, require_no_override, statistics, wants_only_ready
from service.manifest import ModelManifest, TensorSpec
from tests.service.conftest import SAMPLES, counting, manifest_of

PAIR = manifest_of("pair", SAMPLES["pair"], 3)
WHOLE = ModelManifest(
    schema=1,
    name="whole",
    version=1,
    kind="tensors",
    batching="none",
    inputs=(TensorSpec(name="texts", datatype="BYTES", shape=(-1, 2)),),
    outputs=(TensorSpec(name="flag", datatype="BOOL", shape=()),),
)


def test_a_model_is_described_by_its_tensors() -> None:
    """The shapes are those of a request, -1 where a length is free; every version served is named."""
    assert metadata(PAIR, ["1", "3"]) == {
        "name": "pair",
        "versions": ["1", "3"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "left", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "right", "datatype": "INT64", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "half", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "twice", "datatype": "INT64", "shape": [-1, 1]},
        ],
    }


def test_a_configuration_of_rows_has_the_shapes_of_a_row() -> None:
    """The batch dimension is left out of the shapes, and the largest batch is told."""
    content = configuration(PAIR, 64)
    assert (content["name"], content["max_batch_size"], content["dynamic_batching"]) == ("pair", 64, {})
    assert content["version_policy"] == {"specific": {"versions": [3]}}
    assert content["input"] == [
        {"name": "left", "data_type": "TYPE_FP32", "dims": [2]},
        {"name": "right", "data_type": "TYPE_INT64", "dims": [1]},
    ]


def test_a_configuration_without_rows_has_the_shapes_of_the_graph() -> None:
    """A batch of 0 means that there is none; strings have Triton's own name."""
    content = configuration(WHOLE, 1)
    assert content["max_batch_size"] == 0
    assert "dynamic_batching" not in content
    assert content["input"] == [{"name": "texts", "data_type": "TYPE_STRING", "dims": [-1, 2]}]
    assert content["output"] == [{"name": "flag", "data_type": "TYPE_BOOL", "dims": []}]


def test_statistics_are_the_counted_numbers() -> None:
    """Requests that were answered and those that were not, batches by their rows, durations in nanoseconds."""
    stats = counting()
    stats.end("v2", "ok")
    stats.fail("v2", "invalid", 0.5)
    stats.end("v1", "cancelled")
    stats.duration.observe(0.002)
    stats.count_batch(4, 0.001)
    stats.count_batch(4, 0.003)
    stats.count_batch(1, 0.0005)
    content = statistics(PAIR, stats)
    assert (content["name"], content["version"]) == ("pair", "3")
    assert (content["inference_count"], content["execution_count"]) == (9, 3)
    assert content["inference_stats"]["success"] == {"count": 1, "ns": 2_000_000}
    assert content["inference_stats"]["fail"] == {"count": 1, "ns": 500_000_000}
    assert content["inference_stats"]["compute_infer"] == {"count": 3, "ns": 4_500_000}
    assert [(one["batch_size"], one["compute_infer"]["count"]) for one in content["batch_stats"]] == [(1, 1), (4, 2)]
    assert content["last_inference"] > 1_600_000_000_000


def test_statistics_of_an_unused_model_are_zeros() -> None:
    """No request, no batch, no time of the last one."""
    content = statistics(PAIR, counting())
    assert (content["last_inference"], content["inference_count"], content["batch_stats"]) == (0, 0, [])


@pytest.mark.parametrize(
    ("body", "wanted"), [(b"", False), (b"{}", False), (b'{"ready": true}', True), (b'{"ready": false, "x": 1}', False)]
)
def test_an_index_can_be_asked_for_the_ready_only(body: bytes, *, wanted: bool) -> None:
    """An empty body asks for all."""
    assert wants_only_ready(body) is wanted


@pytest.mark.parametrize(
    ("body", "error"), [(b"{", JsonError), (b"[]", StructureError), (b'{"ready": "yes"}', StructureError)]
)
def test_another_body_is_refused(body: bytes, error: type[RequestError]) -> None:
    """What is no request for an index is a fault, not the whole index."""
    with pytest.raises(error):
        wants_only_ready(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": null}', b'{"parameters": {}, "more": 1}'])
def test_a_model_may_be_loaded_as_it_is(body: bytes) -> None:
    """A request to load it brings nothing."""
    require_no_override(body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", JsonError),
        (b"[]", StructureError),
        (b'{"parameters": 1}', StructureError),
        (b'{"parameters": {"config": "{}"}}', UnsupportedError),
        (b'{"parameters": {"file:1/model.onnx": "AA=="}}', UnsupportedError),
    ],
)
def test_a_model_is_loaded_from_nothing_but_its_folder(body: bytes, error: type[RequestError]) -> None:
    """Files and configurations in a request would be another model under its name."""
    with pytest.raises(error):
        require_no_override(body)
