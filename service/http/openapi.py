"""The OpenAPI document: the server's own paths, and those of each model made from its manifest."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.codec.tensors import element_type, limits
from service.codec.words import LONGEST_CONTEXT, NEXT_WORDS
from service.manifest import VARIABLE, Datatype, Golden, ModelManifest, TensorSpec

Schema = dict[str, Any]

_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_ZEROS = {bool: False, int: 0, float: 0.0, str: ""}
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
"""The replies that every path can give in place of its own."""

_ROUNDED: dict[Datatype, float] = {"FP16": 65520.0, "FP32": 2.0**128 - 2.0**103}
"""The least number that is rounded to infinity: below it, and above its negative, numbers fit their datatype."""


def document(app: FastAPI, models: Iterable[tuple[ModelManifest, Golden | None]], max_rows: int) -> Schema:
    """The document of an application with these models; of several versions of one, the last is shown."""
    content = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path in content["paths"].values():
        for operation in path.values():
            # FastAPI's own: what a path here takes are strings, which are always valid.
            operation["responses"].pop("422", None)
            operation["responses"] |= _ERRORS
    # First what most readers come for.
    content["paths"] = prediction_paths(models, max_rows) | content["paths"]
    return content


def prediction_paths(models: Iterable[tuple[ModelManifest, Golden | None]], max_rows: int) -> Schema:
    """The paths of each model, by version 1 and version 2, with their schemas and an example that works.

    A request has at most `max_rows` rows. A model without golden rows has an example of zeros.
    """
    paths: Schema = {}
    for manifest, golden in models:
        if manifest.batching == "rows" and not any(
            spec.datatype == "BF16" for spec in manifest.inputs + manifest.outputs
        ):
            paths[f"/v1/models/{manifest.name}:predict"] = {"post": _predict(manifest, golden, max_rows)}
        paths[f"/v2/models/{manifest.name}/infer"] = {"post": _infer(manifest, golden)}
    return paths


def _predict(manifest: ModelManifest, golden: Golden | None, max_rows: int) -> Schema:
    rows = _rows(manifest.inputs)
    request = {
        "type": "object",
        "required": ["instances"],
        "properties": {"instances": {"type": "array", "minItems": 1, "maxItems": max_rows, "items": rows}},
        "example": {"instances": _example_rows(manifest, golden)},
    }
    reply = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": _prediction(manifest)}},
    }
    return _operation(manifest, "predict", "Predict, one instance a row", request, reply)


def _infer(manifest: ModelManifest, golden: Golden | None) -> Schema:
    parameters = {"type": ["object", "null"], "description": "Those of the protocol; unknown ones are passed over."}
    wanted = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"enum": [spec.name for spec in manifest.outputs]}, "parameters": parameters},
    }
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": parameters,
            "inputs": {
                "type": "array",
                "minItems": len(manifest.inputs),
                "maxItems": len(manifest.inputs),
                "items": _tensor(manifest.inputs),
            },
            "outputs": {"type": ["array", "null"], "items": wanted},
        },
        "example": {"inputs": [_example_tensor(manifest, spec, golden) for spec in manifest.inputs]},
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
        return _object({"context": {"type": "array", "minItems": 1, "maxItems": LONGEST_CONTEXT, "items": _TEXT}})
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
                properties[spec.name] = _object({name: _answered(spec, ()) for name in spec.labels})
            properties[label] = {"enum": list(spec.labels)}
    return _object(properties)


def _value(spec: TensorSpec) -> Schema:
    return _answered(spec, () if spec.row_shape == (1,) else spec.row_shape)


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _nested(spec: TensorSpec, shape: tuple[int, ...]) -> Schema:
    """The schema of what a request has at this shape: (nested) lists of elements that fit the tensor."""
    if not shape:
        schema: Schema = {"type": _JSON_TYPES[element_type(spec.datatype)]}
        if bounds := limits(spec):
            schema |= {"minimum": bounds[0], "maximum": bounds[1]}
        elif edge := _ROUNDED.get(spec.datatype):
            schema |= {"exclusiveMinimum": -edge, "exclusiveMaximum": edge}
        return schema
    schema = {"type": "array", "items": _nested(spec, shape[1:])}
    if shape[0] == VARIABLE:
        return schema | {"minItems": 1}
    return schema | {"minItems": shape[0], "maxItems": shape[0]}


def _answered(spec: TensorSpec, shape: tuple[int, ...]) -> Schema:
    """The schema of what a reply has at this shape: a number that is not finite is null there."""
    if shape:
        return {"type": "array", "items": _answered(spec, shape[1:])}
    name = _JSON_TYPES[element_type(spec.datatype)]
    return {"type": [name, "null"] if name == "number" else name}


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


def _example_rows(manifest: ModelManifest, golden: Golden | None) -> list[Any]:
    columns = [_example(manifest, spec, golden) for spec in manifest.inputs]
    words = manifest.inputs[0].vocabulary
    if words is not None:
        return [{"context": [words[one] for one in row]} for row in columns[0]]
    if len(columns) == 1:
        return list(columns[0])
    names = [spec.name for spec in manifest.inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _example_tensor(manifest: ModelManifest, spec: TensorSpec, golden: Golden | None) -> Schema:
    data = _example(manifest, spec, golden)
    return {"name": spec.name, "shape": _shape_of(data), "datatype": spec.datatype, "data": data}


def _example(manifest: ModelManifest, spec: TensorSpec, golden: Golden | None) -> Any:  # noqa: ANN401  # nested lists
    """What an input can be: some known rows, or where none are known one of zeros."""
    if golden is None:
        return _zeros(spec, spec.shape)
    return golden.inputs[spec.name][: _EXAMPLE_ROWS if manifest.batching == "rows" else None]


def _zeros(spec: TensorSpec, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  # nested lists, or an element
    if not shape:
        return _ZEROS[element_type(spec.datatype)]
    return [_zeros(spec, shape[1:])] * (1 if shape[0] == VARIABLE else shape[0])


def _shape_of(values: Any) -> list[int]:  # noqa: ANN401  # nested lists
    return [len(values), *_shape_of(values[0])] if isinstance(values, list) else []
