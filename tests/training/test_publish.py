"""Behaviour of training.publish."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.manifest import ModelManifest, TensorSpec
from training.errors import PublishError
from training.publish import exchange, publish, try_out

MANIFEST = ModelManifest(
    schema=1,
    name="adder",
    version=3,
    kind="regression",
    inputs=(TensorSpec(name="addends", datatype="FP32", shape=(-1, 3)),),
    outputs=(TensorSpec(name="sum", datatype="FP32", shape=(-1, 1)),),
)
FILES = {"model.onnx": b"graph", "model.pt": b"script", "golden.json": b"{}"}
FOLDER = Path("adder", "3")


def contents(root: Path) -> dict[str, bytes]:
    """Read every file below a folder, hidden ones too."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Hold a folder open, so that it stays the same one whatever happens to its name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_version_is_published_with_checksums(tmp_path: Path) -> None:
    """The folder holds the files with a manifest of their checksums and sizes; nothing else is left."""
    assert publish(tmp_path / "models", MANIFEST, FILES) == "published"
    folder = tmp_path / "models" / FOLDER
    assert set(contents(tmp_path)) == {f"models/adder/3/{name}" for name in (*FILES, "manifest.json")}
    manifest = ModelManifest.parse((folder / "manifest.json").read_bytes(), "manifest.json")
    for name, entry in manifest.files.items():
        assert (folder / name).read_bytes() == FILES[name]
        assert entry.sha256 == hashlib.sha256(FILES[name]).hexdigest()
        assert entry.bytes == len(FILES[name])
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["adder"]


@given(files=st.dictionaries(st.sampled_from(["a", "b.json", "model.onnx"]), st.binary(max_size=64)))
@settings(max_examples=25, deadline=None)
def test_what_is_published_again_is_unchanged(files: dict[str, bytes]) -> None:
    """Whatever the files are, the second time nothing is written, with or without `replace`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        publish(root, MANIFEST, files)
        before = (root / FOLDER).stat()
        assert publish(root, MANIFEST, files) == "unchanged"
        assert publish(root, MANIFEST, files, replace=True) == "unchanged"
        after = (root / FOLDER).stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert {name: (root / FOLDER / name).read_bytes() for name in files} == files


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({**FILES, "model.pt": b"other"}, "another manifest.json, model.pt"),
        ({**FILES, "card.png": b"new"}, "another card.png, manifest.json"),
        ({"model.onnx": b"graph", "model.pt": b"script"}, "another golden.json, manifest.json"),
    ],
)
def test_a_published_version_does_not_change(tmp_path: Path, changed: dict[str, bytes], named: str) -> None:
    """Other bytes, a file more or a file less are refused by name, and the old files lie as they lay."""
    publish(tmp_path, MANIFEST, FILES)
    before = contents(tmp_path)
    with pytest.raises(PublishError, match=f"adder version 3 is published with {named}"):
        publish(tmp_path, MANIFEST, changed)
    assert contents(tmp_path) == before


def test_another_description_alone_is_refused(tmp_path: Path) -> None:
    """The manifest is as immutable as what it describes."""
    publish(tmp_path, MANIFEST, FILES)
    with pytest.raises(PublishError, match=r"another manifest\.json;"):
        publish(tmp_path, MANIFEST.model_copy(update={"description": "new"}), FILES)


def test_versions_stand_beside_each_other(tmp_path: Path) -> None:
    """A new number leaves the old one alone."""
    publish(tmp_path, MANIFEST, FILES)
    assert publish(tmp_path, MANIFEST.model_copy(update={"version": 4}), FILES) == "published"
    assert sorted(path.name for path in (tmp_path / "adder").iterdir()) == ["3", "4"]


def test_replace_exchanges_the_whole_folder(tmp_path: Path) -> None:
    """The new files are there, the old ones and the staging folder are gone."""
    publish(tmp_path, MANIFEST, FILES)
    assert publish(tmp_path, MANIFEST, {"model.onnx": b"new"}, replace=True) == "replaced"
    assert set(contents(tmp_path)) == {"adder/3/manifest.json", "adder/3/model.onnx"}
    assert (tmp_path / FOLDER / "model.onnx").read_bytes() == b"new"


def test_replace_publishes_what_was_not_there(tmp_path: Path) -> None:
    """Asking for a replacement needs no predecessor."""
    assert publish(tmp_path, MANIFEST, FILES, replace=True) == "published"


def test_no_reader_sees_half_a_version(tmp_path: Path) -> None:
    """However often a version is replaced, its name always leads to a folder with all its files."""
    publish(tmp_path, MANIFEST, FILES)
    complete = {*FILES, "manifest.json"}
    started, done = Event(), Event()

    def read() -> list[set[str]]:
        halves = []
        while not done.is_set():
            with open_folder(tmp_path / FOLDER) as folder:
                names = set(os.listdir(folder))  # noqa: PTH208 - a folder held open has no path
                # A folder that has lost its name meanwhile is being removed, and no longer the version.
                is_current = os.fstat(folder).st_ino == (tmp_path / FOLDER).stat().st_ino
            if is_current and names != complete:
                halves.append(names)
            started.set()
        return halves

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        try:
            started.wait(timeout=10)
            for number in range(50):
                publish(tmp_path, MANIFEST, {**FILES, "model.onnx": b"%d" % number}, replace=True)
        finally:
            done.set()
    assert reader.result() == []


@pytest.mark.parametrize("replace", [False, True])
def test_an_error_while_writing_leaves_nothing(tmp_path: Path, *, replace: bool) -> None:
    """A file that cannot be written takes those before it along; what was published stays."""
    if replace:
        publish(tmp_path, MANIFEST, FILES)
    before = contents(tmp_path)
    with pytest.raises(PublishError, match="cannot be written: File name too long"):
        publish(tmp_path, MANIFEST, {"model.onnx": b"new", "x" * 300: b""}, replace=replace)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A models folder that cannot be made is the caller's error, told as such."""
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(PublishError, match="cannot be written"):
        publish(tmp_path / "models", MANIFEST, FILES)


KILLED = """
import resource, signal, sys
from pathlib import Path
from service.manifest import ModelManifest
from training.publish import publish

# Whoever writes a longer file than this is ended by the system in the middle of it.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
manifest = ModelManifest.parse(sys.argv[2].encode(), "an argument")
publish(Path(sys.argv[1]), manifest, {"model.onnx": b"graph", "model.pt": bytes(2000)})
"""


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A process that ends in the middle of writing leaves no version; the next to publish it takes the rest away."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), MANIFEST.render().decode()]
    assert subprocess.run(command, check=False).returncode == -signal.SIGXFSZ
    assert [path.name for path in tmp_path.iterdir()] == [".adder-3"]
    assert publish(tmp_path, MANIFEST, FILES) == "published"
    assert [path.name for path in tmp_path.iterdir()] == ["adder"]


def test_who_publishes_at_once_takes_turns(tmp_path: Path) -> None:
    """Nobody takes away what another is writing: one publishes, the others find it there, or replace it."""
    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(lambda _: publish(tmp_path, MANIFEST, FILES), range(20)))
        assert sorted(outcomes) == ["published", *["unchanged"] * 19]
        others = [{**FILES, "model.onnx": b"%d" % number} for number in range(20)]
        assert set(pool.map(lambda files: publish(tmp_path, MANIFEST, files, replace=True), others)) == {"replaced"}
    assert [path.name for path in tmp_path.iterdir()] == ["adder"]


def test_exchanged_folders_have_each_others_names(tmp_path: Path) -> None:
    """After it, each name leads to what was under the other."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    exchange(one, other)
    assert ((one / "name").read_text(), (other / "name").read_text()) == ("other", "one")


def test_a_missing_folder_cannot_be_exchanged(tmp_path: Path) -> None:
    """The system's own error says which names it was about."""
    with pytest.raises(FileNotFoundError, match="gone"):
        exchange(tmp_path, tmp_path / "gone")


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hid", "", "/evil", "manifest.json"])
def test_a_name_that_is_no_files_of_a_version_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written beside the version, nothing that a reader would not find, and no second manifest."""
    with pytest.raises(PublishError, match="cannot be"):
        publish(tmp_path / "models", MANIFEST, {**FILES, name: b"bytes"})
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_no_reader_takes_is_refused(tmp_path: Path) -> None:
    """A copy that was changed without being checked is checked here."""
    with pytest.raises(PublishError, match="name: String should match pattern"):
        publish(tmp_path, MANIFEST.model_copy(update={"name": "../evil"}), FILES)
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_a_link_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """The link goes, what it led to stays as it was, and no hidden link is left."""
    elsewhere = tmp_path / "elsewhere"
    publish(elsewhere, MANIFEST, FILES)
    before = contents(elsewhere)
    root = tmp_path / "models"
    (root / "adder").mkdir(parents=True)
    (root / FOLDER).symlink_to(elsewhere / FOLDER)
    assert publish(root, MANIFEST, {"model.onnx": b"new"}, replace=True) == "replaced"
    assert not (root / FOLDER).is_symlink()
    assert [path.name for path in root.iterdir()] == ["adder"]
    assert contents(elsewhere) == before


def test_a_folder_inside_a_version_is_another_content(tmp_path: Path) -> None:
    """It is named as what differs, and replaced where that is meant."""
    publish(tmp_path, MANIFEST, FILES)
    (tmp_path / FOLDER / "extra").mkdir()
    with pytest.raises(PublishError, match="is published with another extra;"):
        publish(tmp_path, MANIFEST, FILES)
    assert publish(tmp_path, MANIFEST, FILES, replace=True) == "replaced"
    assert not (tmp_path / FOLDER / "extra").exists()


def test_a_folder_is_tried_out_without_a_trace(tmp_path: Path) -> None:
    """Whether there or to be made, with what lies in it; a file in its way is told."""
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "new" / "models"):
        try_out(folder)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(PublishError, match="models cannot be written: Not a directory"):
        try_out(tmp_path / "file" / "models")
