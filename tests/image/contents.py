"""What an image is made of, read from the archive that an engine saves."""

import json
import os
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tests.image.engine import Engine

MB = 1_000_000
CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """One of those that lie above the base image."""

    place: str
    """The folder that the Dockerfile fills with it."""
    paths: frozenset[str]
    """All files and folders, without a slash in front."""
    compressed: int
    """Bytes, as a registry keeps it."""


@dataclass(frozen=True)
class Contents:
    """The layers of an image above its base, and how it is run."""

    config: dict[str, Any]
    layers: tuple[Layer, ...]
    base: frozenset[str]
    """The paths of the base image."""

    @property
    def paths(self) -> frozenset[str]:
        """All files and folders."""
        return self.base.union(*(layer.paths for layer in self.layers))


def read(engine: Engine, image: str, scratch: Path) -> Contents:
    """Save an image into an empty folder, read it, and remove it again: it is large."""
    archive = scratch / "image.tar"
    try:
        engine.call("save", "--output", str(archive), image)
        return _read(archive)
    finally:
        archive.unlink(missing_ok=True)


def _read(archive: Path) -> Contents:
    with tarfile.open(archive) as parts:
        (manifest,) = json.loads(_opened(parts, "manifest.json").read())
        config = json.loads(_opened(parts, manifest["Config"]).read())
        lines = [each.get("created_by", "") for each in config["history"] if not each.get("empty_layer")]
        # Both engines write first what is copied and then where to, and one of them a remark.
        filled = [line.partition(" # ")[0].split()[-1:] for line in lines]
        first = filled.index(["/opt/forwardpass"])
        places = [parts.getmember(name) for name in manifest["Layers"]]
        paths = [_paths(_opened(parts, name)) for name in manifest["Layers"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(partial(_compressed, archive), places[first:]))
    layers = map(Layer, (place for (place,) in filled[first:]), paths[first:], sizes)
    return Contents(config, tuple(layers), frozenset().union(*paths[:first]))


def _opened(parts: tarfile.TarFile, name: str) -> IO[bytes]:
    file = parts.extractfile(name)
    assert file is not None, name
    return file


def _paths(layer: IO[bytes]) -> frozenset[str]:
    with tarfile.open(fileobj=layer) as files:
        return frozenset(name.removeprefix("./") for name in files.getnames())


def _compressed(archive: Path, place: tarfile.TarInfo) -> int:
    """How many bytes a layer has as gzip."""
    gzip = zlib.compressobj(wbits=31)
    size, left = 0, place.size
    with archive.open("rb") as file:
        file.seek(place.offset_data)
        while left:
            chunk = file.read(min(CHUNK, left))
            left -= len(chunk)
            size += len(gzip.compress(chunk))
    return size + len(gzip.flush())
