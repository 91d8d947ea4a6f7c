"""Behaviour of service.scoring.writing.identity."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.model.graph_file import files_beside
from service.model.loading import load
from service.scoring.layout import match
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import find_files
from service.scoring.recipe import Recipe
from service.scoring.writing.identity import differences, identity_of
from tests.service.conftest import publish, save, tabled

THERE = pa.schema([("width", pa.string()), ("height", pa.string()), ("id", pa.string())])


def made(place: Path, source: Path, *, name: str = "line", keep: tuple[str, ...] = (), **options: Any) -> Any:  # noqa: ANN401  # JSON
    """The identity of a run over a file, as JSON holds it."""
    loaded = load(place, name)
    names = {} if loaded.golden else {"point_0": "width", "point_1": "height"}
    layout = match(loaded.manifest, THERE, names, keep, where="in.csv", form=Form("csv", None))
    recipe = Recipe(place, name, "cpu", 1, loaded.manifest, 256, layout, THERE, "fail")
    identity = identity_of(recipe, find_files(source, None), options)
    return msgspec.json.decode(msgspec.json.encode(identity))


def test_the_same_run_has_the_same_identity(tmp_path: Path) -> None:
    """However often it is asked."""
    publish(tmp_path, "line")
    source = tmp_path / "in.csv"
    source.write_text("width,height\n1,2\n")
    place = tmp_path / "line" / "1"
    assert differences(made(place, source, columns={}), made(place, source, columns={})) == []


def test_what_decides_the_output_is_in_it(tmp_path: Path) -> None:
    """The graph's bytes, the files, what is kept, and the options; each is named where it is another."""
    place = save(tmp_path, "line.onnx", "line")
    source = tmp_path / "in.csv"
    source.write_text("width,height\n1,2\n")
    before = made(place, source, output="csv")
    assert differences(before, made(place, source, output="jsonl")) == ["output was csv and is jsonl now"]
    (kept,) = differences(before, made(place, source, output="csv", keep=("id",)))
    assert kept == 'keep was [] and is ["id"] now'
    place.write_bytes(place.read_bytes().replace(b"sample", b"simple"))
    (graph,) = differences(before, made(place, source, output="csv"))
    assert graph.startswith("graph was ")
    os.utime(source, ns=(1, 1))
    assert f"{source} has changed: it was modified since" in differences(before, made(place, source, output="csv"))


def test_weights_beside_the_graph_are_in_it(tmp_path: Path) -> None:
    """Another file of them is another model."""
    place = tabled(tmp_path, 1.0)
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"index": [1]}), source)
    (beside,) = files_beside(place).values()

    def identity() -> Any:  # noqa: ANN401  # JSON
        loaded = load(place, "table")
        there = pa.schema([("index", pa.int64())])
        layout = match(loaded.manifest, there, {}, (), where="in.parquet", form=Form("parquet", None))
        recipe = Recipe(place, "table", "cpu", 1, loaded.manifest, 256, layout, there, "fail")
        return identity_of(recipe, find_files(source, None), {})

    before = identity()
    assert differences(before, identity()) == []
    beside.write_bytes(bytes(beside.stat().st_size))
    (changed,) = differences(before, identity())
    assert changed.startswith(f"weights {beside.name} was ")


def test_the_manifest_is_in_it(tmp_path: Path) -> None:
    """It has the labels, which may change without the graph and the version."""
    publish(tmp_path, "line")
    source = tmp_path / "in.csv"
    source.write_text("width,height\n1,2\n")
    place = tmp_path / "line" / "1"
    before = made(place, source)
    manifest = place / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "description": "Another one."}))
    (changed,) = differences(before, made(place, source))
    assert changed.startswith("manifest was ")


def test_how_a_file_is_read_is_in_it(tmp_path: Path) -> None:
    """The same bytes can be rows of several formats."""
    publish(tmp_path, "line")
    source = tmp_path / "in.csv"
    source.write_text("width,height\n1,2\n")
    before = made(tmp_path / "line" / "1", source)
    (file,) = before["files"]
    now = {**before, "files": [{**file, "form": ["jsonl", "gzip"]}]}
    assert differences(before, now) == [f"{source} was read as csv and is read as jsonl.gzip now"]


@pytest.mark.parametrize("same", [({"a": [1], "b": {"c": None}}, {"b": {"c": None}, "a": [1]}), ({}, {})])
def test_the_order_of_keys_is_no_difference(same: tuple[Any, Any]) -> None:
    """Nor is that of keys within."""
    assert differences(*same) == []
