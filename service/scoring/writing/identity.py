"""What a run is: all that decides the bytes of its output, so that another may go on with it."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from service.manifest import ONNX_FILE
from service.model.graph_file import files_beside
from service.model.runtime import VERSION
from service.scoring.reading.sources import File
from service.scoring.recipe import Recipe

Identity = Mapping[str, Any]
"""What a run is, as JSON can hold it; `files` is a list of objects with `path`, `bytes` and `modified`."""


def identity_of(recipe: Recipe, files: Sequence[File], options: Mapping[str, Any]) -> Identity:
    """The run that scores files by a recipe, with options that decide what is written."""
    graph = recipe.place if recipe.place.is_file() else recipe.place / ONNX_FILE
    return {
        **{library: version(library) for library in ("forwardpass", "numpy", "pyarrow")},
        "onnxruntime": VERSION,
        "model": recipe.name,
        "version": recipe.manifest.version,
        "graph": _digest(graph),
        "weights": {name: _digest(path) for name, path in sorted(files_beside(graph).items())},
        "manifest": hashlib.sha256(recipe.manifest.model_dump_json().encode()).hexdigest(),
        "provider": recipe.provider,
        "on-error": recipe.on_error,
        "keep": list(recipe.layout.keep),
        **options,
        "files": [
            {"path": file.path, "bytes": file.bytes, "modified": file.modified, "form": list(file.form)}
            for file in files
        ],
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(before: Identity, now: Identity, within: str = "") -> list[str]:
    """What is another in two runs, each in a few words."""
    found: list[str] = []
    for key in {**before, **now}:
        one, other = before.get(key), now.get(key)
        if one == other:
            continue
        if key == "files":
            found += _changed_files(one or [], other or [])
        elif isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{within}{key} ")
        else:
            found.append(f"{within}{key} was {_words(one)} and is {_words(other)} now")
    return found


def _changed_files(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    was = {file["path"]: file for file in before}
    found: list[str] = []
    for file in now:
        path, old = file["path"], was.pop(file["path"], None)
        if old is None:
            found.append(f"{path} was not there")
        elif old["bytes"] != file["bytes"]:
            found.append(f"{path} has changed: it had {old['bytes']:,} bytes, now {file['bytes']:,}")
        elif old["modified"] != file["modified"]:
            found.append(f"{path} has changed: it was modified since")
        elif old.get("form") != file.get("form"):
            found.append(f"{path} was read as {_form(old)} and is read as {_form(file)} now")
    return found + [f"{path} is no longer there" for path in was]


def _form(file: dict[str, Any]) -> str:
    return ".".join(filter(None, file["form"]))


def _words(value: object) -> str:
    return "not given" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
