"""What Triton's clients ask beside predictions: the models there are, their tensors, configuration and statistics."""

from collections.abc import Mapping
from typing import Any

import msgspec

from service.codec.body import read
from service.errors import UnsupportedError
from service.manifest import ONNX_FILE, Datatype, ModelManifest, TensorSpec
from service.metrics import Histogram, ModelStats

PLATFORM = "onnxruntime_onnx"

_NAMES: Mapping[Datatype, str] = {"BYTES": "STRING"}
"""Triton's own names for datatypes, where they are not the protocol's."""
_NANOSECONDS = 1e9
_NEVER = {"count": 0, "ns": 0}


class _IndexRequest(msgspec.Struct):
    ready: bool = False


class _LoadRequest(msgspec.Struct):
    parameters: dict[str, msgspec.Raw] | None = None


_LOAD_REQUESTS = msgspec.json.Decoder(_LoadRequest)
_INDEX_REQUESTS = msgspec.json.Decoder(_IndexRequest)


def wants_only_ready(body: bytes) -> bool:
    """Whether a request for the repository's index, which may be empty, asks for the models that are ready only.

    Raises `JsonError` or `StructureError` for a body that is no such request.
    """
    return bool(body) and read(_INDEX_REQUESTS, body).ready


def require_no_override(body: bytes) -> None:
    """Raise `UnsupportedError` where a request to load a model brings files or a configuration of its own.

    Raises `JsonError` or `StructureError` for a body, which may be empty, that is no such request.
    """
    parameters = read(_LOAD_REQUESTS, body).parameters if body else None
    if parameters:
        raise UnsupportedError(
            f"a model is loaded as it lies on disk: {', '.join(map(repr, list(parameters)[:3]))} cannot replace that"
        )


def metadata(manifest: ModelManifest, versions: list[str]) -> dict[str, Any]:
    """The inputs and outputs of a model, and the versions there are."""
    return {
        "name": manifest.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
    }


def configuration(manifest: ModelManifest, max_rows: int) -> dict[str, Any]:
    """The model's configuration: in a model of rows the shapes are those of a row, `max_rows` the most of a request."""
    rows = manifest.batching == "rows"
    return {
        "name": manifest.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [manifest.version]}},
        "max_batch_size": max_rows if rows else 0,
        "input": [_field(spec, rows=rows) for spec in manifest.inputs],
        "output": [_field(spec, rows=rows) for spec in manifest.outputs],
        "default_model_filename": ONNX_FILE,
        **({"dynamic_batching": {}} if rows else {}),
    }


def statistics(manifest: ModelManifest, stats: ModelStats) -> dict[str, Any]:
    """Counts, and durations in nanoseconds, since the server started.

    Of a request `compute_input` is the decoding and `compute_output` the encoding; `compute_infer` is of the batches.
    """
    return {
        "name": manifest.name,
        "version": str(manifest.version),
        "last_inference": int(stats.last_batch * 1000),
        "inference_count": int(stats.batch_rows.total),
        "execution_count": stats.batch_rows.count,
        "inference_stats": {
            "success": _duration(stats.duration),
            "fail": {
                "count": stats.ended("invalid", "refused", "expired", "failed"),
                "ns": int(stats.failed_seconds * _NANOSECONDS),
            },
            "queue": _duration(stats.queue),
            "compute_input": _duration(stats.decode),
            "compute_infer": _duration(stats.compute),
            "compute_output": _duration(stats.encode),
            "cache_hit": _NEVER,
            "cache_miss": _NEVER,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _NEVER,
                "compute_infer": {"count": count, "ns": int(seconds * _NANOSECONDS)},
                "compute_output": _NEVER,
            }
            for rows, (count, seconds) in sorted(stats.batches.items())
        ],
        "memory_usage": [],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _field(spec: TensorSpec, *, rows: bool) -> dict[str, Any]:
    shape = spec.shape[1:] if rows else spec.shape
    return {"name": spec.name, "data_type": f"TYPE_{_NAMES.get(spec.datatype, spec.datatype)}", "dims": list(shape)}


def _duration(histogram: Histogram) -> dict[str, int]:
    return {"count": histogram.count, "ns": int(histogram.total * _NANOSECONDS)}
