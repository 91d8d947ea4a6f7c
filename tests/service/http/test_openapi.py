"""Behaviour of service.http.openapi."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema_rs import Draft202012Validator

from service.config import Settings
from service.http.app import create_app
from service.http.openapi import prediction_paths
from service.model.store import find_models, open_version
from tests.service.conftest import COMMITTED, SAMPLES, golden_of, manifest_of

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
Json = Any
MOST_ROWS = 100


def paths_of(*names: str) -> dict[str, Json]:
    """The prediction paths of some samples."""
    return prediction_paths([(manifest_of(name, SAMPLES[name]), golden_of(name)) for name in names], MOST_ROWS)


def request_schema(path: dict[str, Json]) -> dict[str, Json]:
    """The schema of what is posted."""
    schema: dict[str, Json] = path["post"]["requestBody"]["content"]["application/json"]["schema"]
    return schema


def reply_schema(path: dict[str, Json], status: str = "200") -> dict[str, Json]:
    """The schema of what comes back."""
    schema: dict[str, Json] = path["post"]["responses"][status]["content"]["application/json"]["schema"]
    return schema


def misfits(schema: dict[str, Json], value: Json) -> list[str]:
    """Where a value does not satisfy a schema."""
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def visit(value: Json) -> Iterator[dict[str, Json]]:
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from visit(child)


def conversation(root: Path, *posts: tuple[str, Json]) -> tuple[dict[str, Json], list[httpx.Response]]:
    """The document that the application shows, and its replies to what is posted."""
    app = create_app(Settings(models=root))

    async def talk() -> tuple[dict[str, Json], list[httpx.Response]]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://server") as client,
        ):
            document = (await client.get("/openapi.json")).json()
            return document, [await client.post(path, json=content) for path, content in posts]

    return asyncio.run(talk())


def test_the_document_is_openapi(samples: Path) -> None:
    """It has what OpenAPI 3.1 asks of a document, its paths, operations, parameters and replies."""
    document, _ = conversation(samples)
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"]
    assert document["info"]["version"]
    identifiers = []
    for path, item in document["paths"].items():
        assert path.startswith("/")
        assert item.keys() <= METHODS
        for operation in item.values():
            identifiers.append(operation["operationId"])
            assert operation["summary"]
            assert operation["responses"]
            assert all(reply["description"] for reply in operation["responses"].values())
            assert all(re.fullmatch(r"[1-5](\d\d|XX)|default", status) for status in operation["responses"])
            parameters = operation.get("parameters", [])
            assert {one["name"] for one in parameters if one["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
            assert all(one["required"] for one in parameters if one["in"] == "path")
            assert all(content.keys() <= {"schema", "example", "examples"} for content in _contents(operation))
    assert len(identifiers) == len(set(identifiers))


def _contents(operation: dict[str, Json]) -> Iterator[dict[str, Json]]:
    for carrier in [operation.get("requestBody", {}), *operation["responses"].values()]:
        yield from carrier.get("content", {}).values()


def test_every_reference_leads_somewhere(samples: Path) -> None:
    """A reader's tools find each schema that another one names."""
    document, _ = conversation(samples)
    for one in visit(document):
        if isinstance(reference := one.get("$ref"), str):
            target = document
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]


def test_each_model_has_its_own_paths(samples: Path) -> None:
    """Both protocols' paths of every model that answers are listed beside the server's own."""
    document, _ = conversation(samples)
    for name in find_models(samples):
        assert f"/v1/models/{name}:predict" in document["paths"]
        assert f"/v2/models/{name}/infer" in document["paths"]
    assert {"/", "/v2", "/metrics", "/v2/health/ready"} <= document["paths"].keys()


@pytest.mark.parametrize("committed_ones", [False, True])
def test_every_example_works(*, committed_ones: bool, samples: Path) -> None:
    """An example satisfies its own schema; posted as it stands it is answered, by what the schema promises."""
    root = COMMITTED if committed_ones else samples
    document, _ = conversation(root)
    paths = {path: item for path, item in document["paths"].items() if path.endswith((":predict", "/infer"))}
    assert len(paths) == 2 * len(find_models(root))
    examples = {path: request_schema(item)["example"] for path, item in paths.items()}
    _, replies = conversation(root, *examples.items())
    for (path, item), reply in zip(paths.items(), replies, strict=True):
        assert not misfits(request_schema(item), examples[path]), path
        assert reply.status_code == 200, reply.text
        assert not misfits(reply_schema(item), reply.json()), path


def test_an_example_by_name_is_offered_as_well(samples: Path) -> None:
    """A row of named features satisfies the schema that a row by position does."""
    schema = request_schema(paths_of("line")["/v1/models/line:predict"])
    assert not misfits(schema, {"instances": [{"width": 1, "height": 2.5}]})
    _, (reply,) = conversation(samples, ("/v1/models/line:predict", {"instances": [{"width": 1, "height": 2}]}))
    assert reply.json() == {"predictions": [-2.0]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("line", {"instances": []}),
        ("line", {"instances": [[1]]}),
        ("line", {"instances": [{"width": 1}]}),
        ("line", {"instances": [{"width": 1, "height": 2, "depth": 3}]}),
        ("line", {"instances": [["x", 1]]}),
        ("counter", {"instances": [[1.5, 2]]}),
        ("pair", {"instances": [{"left": [1, 2]}]}),
        ("pair", {"instances": [[[1, 2], [3]]]}),
        ("line", {}),
    ],
)
def test_what_the_schema_refuses_the_server_refuses(name: str, content: Json, samples: Path) -> None:
    """The schema does not promise more than the server takes, and the refusal is what it says it is."""
    path = f"/v1/models/{name}:predict"
    item = paths_of(name)[path]
    assert misfits(request_schema(item), content)
    _, (reply,) = conversation(samples, (path, content))
    assert reply.status_code == 400
    assert not misfits(reply_schema(item, "4XX"), reply.json())


def test_features_come_with_unit_and_training_range() -> None:
    """The range is told, and is no bound: that is what the datatype can hold."""
    named = request_schema(paths_of("line")["/v1/models/line:predict"])["properties"]["instances"]["items"]["oneOf"][1]
    assert named["properties"]["width"] == {
        "type": "number",
        "exclusiveMinimum": -3.4028235677973366e38,
        "exclusiveMaximum": 3.4028235677973366e38,
        "description": "The width. [cm]",
        "x-training-range": [-1.0, 2.5],
    }
    assert named["required"] == ["width", "height"]


def test_a_feature_without_a_range_has_none() -> None:
    """What training did not record is not made up; integers are integers."""
    items = request_schema(paths_of("counter")["/v1/models/counter:predict"])["properties"]["instances"]["items"]
    assert items["oneOf"][1]["properties"]["first"] == {
        "type": "integer",
        "minimum": -(2**63),
        "maximum": 2**63 - 1,
        "description": "",
    }


def test_committed_models_show_their_training_range() -> None:
    """The ranges in the manifests reach the document."""
    stored = open_version(COMMITTED / "sum_of_three" / "1")
    paths = prediction_paths([(stored.manifest, stored.golden)], MOST_ROWS)
    ranges = [one["x-training-range"] for one in visit(paths) if "x-training-range" in one]
    assert ranges == [[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]]


def test_several_inputs_are_an_object() -> None:
    """An instance names each input; the tensors of version 2 name theirs."""
    paths = paths_of("pair")
    items = request_schema(paths["/v1/models/pair:predict"])["properties"]["instances"]["items"]
    assert items["required"] == ["left", "right"]
    tensors = request_schema(paths["/v2/models/pair/infer"])["properties"]["inputs"]
    assert tensors["minItems"] == 2
    assert tensors["items"]["properties"]["name"]["enum"] == ["left", "right"]
    assert tensors["items"]["properties"]["datatype"]["enum"] == ["FP32", "INT64"]


def test_labels_are_listed() -> None:
    """A reader sees which words can come back, and which columns they name."""
    item = reply_schema(paths_of("species")["/v1/models/species:predict"])["properties"]["predictions"]["items"]
    assert item["properties"]["label"] == {"enum": ["setosa", "versicolor", "virginica"]}
    assert item["properties"]["probability"]["required"] == ["setosa", "versicolor", "virginica"]
    item = reply_schema(paths_of("vote")["/v1/models/vote:predict"])["properties"]["predictions"]["items"]
    assert item["properties"] == {"probability": {"type": ["number", "null"]}, "label": {"enum": ["no", "yes"]}}


def test_the_document_is_a_function_of_the_manifests() -> None:
    """The same models give the same document, which is JSON through and through; no models give none."""
    assert prediction_paths([], MOST_ROWS) == {}
    assert json.loads(json.dumps(paths_of(*SAMPLES))) == paths_of(*SAMPLES)


def test_an_example_is_short() -> None:
    """Two rows show the form; the golden rows may be many."""
    for name in SAMPLES:
        for item in paths_of(name).values():
            example = request_schema(item)["example"]
            rows = example.get("instances") or [example["inputs"][0]["data"]]
            assert len(rows) <= 2
