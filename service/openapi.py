"""The prediction paths of the OpenAPI document, made from the models' manifests."""

from collections.abc import Iterable
from typing import Any

from service.codec.tensors import element_type
from service.codec.words import NEXT_WORDS
from service.manifest import VARIABLE, Golden, ModelManifest, TensorSpec

Schema = dict[str, Any]

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number"}
_EXAMPLE_ROWS = 2

_TEXT: Schema = {"type": "string"}
_FAULT: Schema = {
    "type": "object",
    "required": ["pointer", "expected", "got", "hint"],
    "properties": {"pointer": _TEXT, "expected": _TEXT, "got": _TEXT, "hint": _TEXT},
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "description": "One sentence a person can act on."},
        "code": {"type": "string", "description": "Stable; the README lists all."},
        "faults": {"type": "array", "items": _FAULT},
        "retry_after_ms": {"type": "integer", "minimum": 0},
    },
}
_ERRORS: Schema = {
    "4XX": {
        "description": "The request cannot be answered as it stands.",
        "content": {"application/json": {"schema": _ERROR}},
    },
    "5XX": {
        "description": "The server cannot answer now.",
        "content": {"application/json": {"schema": _ERROR}},
    },
}


def prediction_paths(models: Iterable[tuple[ModelManifest, Golden]]) -> Schema:
    """Two paths for each model, version 1 and version 2, with their schemas and an example that works."""
    paths: Schema = {}
    for manifest, golden in models:
        paths[f"/v1/models/{manifest.name}:predict"] = {"post": _predict(manifest, golden)}
        paths[f"/v2/models/{manifest.name}/infer"] = {"post": _infer(manifest, golden)}
    return paths


def _predict(manifest: ModelManifest, golden: Golden) -> Schema:
    rows = _rows(manifest.inputs)
    request = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "minItems": 1, "items": rows}},
        "example": {"instances": _example_rows(manifest, golden)},
    }
    reply = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": _prediction(manifest)}},
    }
    return _operation(manifest, "predict", "Predict, one instance a row", request, reply)


def _infer(manifest: ModelManifest, golden: Golden) -> Schema:
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": _TEXT,
            "inputs": {"type": "array", "minItems": len(manifest.inputs), "items": _tensor(manifest.inputs)},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"enum": [spec.name for spec in manifest.outputs]}},
                },
            },
        },
        "example": {"inputs": [_example_tensor(spec, golden) for spec in manifest.inputs]},
    }
    reply = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "outputs": {"type": "array", "items": _tensor(manifest.outputs)},
        },
    }
    return _operation(manifest, "infer", "Predict, by the Open Inference Protocol", request, reply)


def _operation(manifest: ModelManifest, verb: str, summary: str, request: Schema, reply: Schema) -> Schema:
    return {
        "tags": [manifest.name],
        "operationId": f"{manifest.name}_{verb}",
        "summary": summary,
        "description": manifest.description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {"description": "The predictions.", "content": {"application/json": {"schema": reply}}},
            **_ERRORS,
        },
    }


def _rows(specs: tuple[TensorSpec, ...]) -> Schema:
    """An instance: the row itself or its named features for one input, an object of rows for several."""
    if specs[0].vocabulary is not None:
        return _object({"context": {"type": "array", "minItems": 1, "items": _TEXT}})
    if len(specs) > 1:
        return _object({spec.name: _nested(spec, spec.row_shape) for spec in specs})
    (spec,) = specs
    by_position = _nested(spec, spec.row_shape)
    if spec.features is None or len(spec.row_shape) != 1:
        return by_position
    named: Schema = {}
    for feature in spec.features:
        unit = f" [{feature.unit}]" if feature.unit else ""
        named[feature.name] = _nested(spec, ()) | {"description": f"{feature.description}{unit}"}
        if feature.minimum is not None and feature.maximum is not None:
            # What training saw, not a bound: a value beyond it is answered too.
            named[feature.name]["x-training-range"] = [feature.minimum, feature.maximum]
    return {"oneOf": [by_position, _object(named)]}


def _prediction(manifest: ModelManifest) -> Schema:
    if manifest.kind == "next_word":
        word = _object({"word": _TEXT, "probability": {"type": "number"}})
        unknown = {"type": "array", "items": {"type": "integer"}, "description": "Places of words that are not known."}
        return _object({"next": {"type": "array", "maxItems": NEXT_WORDS, "items": word}, "unknown": unknown})
    columns = manifest.output_columns
    if len(columns) == 1 and columns[0][1] is None:
        return _value(columns[0][0])
    properties: Schema = {}
    for spec, label in columns:
        properties[spec.name] = _value(spec)
        if spec.labels is not None and label is not None:
            if len(spec.labels) == spec.shape[-1]:
                properties[spec.name] = _object({name: _nested(spec, ()) for name in spec.labels})
            properties[label] = {"enum": list(spec.labels)}
    return _object(properties)


def _value(spec: TensorSpec) -> Schema:
    return _nested(spec, () if spec.row_shape == (1,) else spec.row_shape)


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _nested(spec: TensorSpec, shape: tuple[int, ...]) -> Schema:
    if not shape:
        return {"type": _JSON_TYPES[element_type(spec.datatype)]}
    schema: Schema = {"type": "array", "items": _nested(spec, shape[1:])}
    if shape[0] != VARIABLE:
        schema |= {"minItems": shape[0], "maxItems": shape[0]}
    return schema


def _tensor(specs: tuple[TensorSpec, ...]) -> Schema:
    shape = {"type": "array", "items": {"type": "integer"}}
    return {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"enum": [spec.name for spec in specs]},
            "shape": shape | {"description": "; ".join(f"{spec.name}: {list(spec.shape)}" for spec in specs)},
            "datatype": {"enum": sorted({spec.datatype for spec in specs})},
            "data": {"type": "array", "description": "Row-major, flat or nested."},
        },
    }


def _example_rows(manifest: ModelManifest, golden: Golden) -> list[Any]:
    words = manifest.inputs[0].vocabulary
    if words is not None:
        ids = golden.inputs[manifest.inputs[0].name][:_EXAMPLE_ROWS]
        return [{"context": [words[one] for one in row]} for row in ids]
    if len(manifest.inputs) == 1:
        return golden.inputs[manifest.inputs[0].name][:_EXAMPLE_ROWS]
    names = [spec.name for spec in manifest.inputs]
    columns = [golden.inputs[name][:_EXAMPLE_ROWS] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _example_tensor(spec: TensorSpec, golden: Golden) -> Schema:
    rows = golden.inputs[spec.name][:_EXAMPLE_ROWS]
    shape = _shape_of(rows)
    return {"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": rows}


def _shape_of(values: Any) -> list[int]:  # noqa: ANN401  # nested lists
    return [len(values), *_shape_of(values[0])] if isinstance(values, list) else []
