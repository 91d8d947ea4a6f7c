"""Behaviour of service.model.store."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.errors import ChecksumError, ManifestError, ModelError
from service.model.sealed import Sealed
from service.model.store import StoredVersion, find_models, model_name, open_version, printable
from tests.service.conftest import SAMPLES, golden_of, graph_of, manifest_of, publish, write_version
from tests.service.model.conftest import copies_held, copies_held_before

MANIFEST, GRAPH, GOLDEN = "manifest.json", "model.onnx", "golden.json"


def edit(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change a manifest as JSON."""
    content = json.loads((folder / MANIFEST).read_bytes())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def swap_byte(path: Path) -> None:
    """Change the last byte of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def truncate(path: Path) -> None:
    """Cut the last byte off a file."""
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_folder(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


def replace_by_loop(path: Path) -> None:
    """Put a link that leads to itself in a file's place."""
    path.unlink()
    path.symlink_to(path)


def replace_by_pipe(path: Path) -> None:
    """Put a pipe in a file's place, into which nobody writes."""
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    """Let a file have more bytes than there is memory."""
    os.truncate(path, 2**40)


def move_out(path: Path) -> None:
    """Put a link to the same bytes outside of the folder in a file's place."""
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


def content_of(stored: StoredVersion) -> bytes:
    """The bytes of a version's graph."""
    assert isinstance(stored.graph, Sealed)
    return Path(stored.graph.path).read_bytes()


def refused(folder: Path) -> ModelError:
    """The error of opening a version."""
    with pytest.raises(ModelError) as caught:
        open_version(folder)
    return caught.value


def test_a_sound_version_is_opened(tmp_path: Path) -> None:
    """Its manifest, the bytes of its graph and its golden rows come as they lie on disk."""
    folder = publish(tmp_path, "line")
    stored = open_version(folder)
    assert (stored.folder, stored.manifest.name, stored.manifest.version) == (folder, "line", 1)
    assert content_of(stored) == graph_of(SAMPLES["line"])
    assert stored.golden == golden_of("line")


def test_every_committed_model_is_sound(committed: Path) -> None:
    """What the repository brings can be opened."""
    for name, versions in find_models(committed).items():
        for version, folder in versions.items():
            manifest = open_version(folder).manifest
            assert (manifest.name, manifest.version) == (name, version)


def test_a_link_is_no_version_of_its_own(tmp_path: Path) -> None:
    """A version under another number is refused, since its answers would name the wrong one."""
    folder = publish(tmp_path, "line")
    folder.with_name("7").symlink_to(folder)
    with pytest.raises(ManifestError, match="it describes line/1, but lies in line/7"):
        open_version(folder.with_name("7"))


def test_a_version_is_opened_through_links(tmp_path: Path) -> None:
    """A link to the models, to a version and within a version are fine: the bytes are in the folder."""
    folder = publish(tmp_path / "store", "line")
    (tmp_path / "models").symlink_to(tmp_path / "store")
    (folder / GRAPH).rename(folder / "data.bin")
    (folder / GRAPH).symlink_to("data.bin")
    assert content_of(open_version(tmp_path / "models" / "line" / "1")) == (folder / "data.bin").read_bytes()


def test_a_file_of_many_parts_is_opened_whole(tmp_path: Path) -> None:
    """However it is read, all of it is checked and all of it is there."""
    content = np.random.default_rng(0).bytes(9 * 1024 * 1024 + 1)
    files = {GRAPH: content, GOLDEN: golden_of("line").render()}
    folder = write_version(tmp_path, manifest_of("line", SAMPLES["line"]), files)
    assert content_of(open_version(folder)) == content
    swap_byte(folder / GRAPH)
    assert "but the manifest says" in refused(folder).message


def test_a_graph_stays_what_was_checked(tmp_path: Path) -> None:
    """Whatever becomes of the file after that."""
    folder = publish(tmp_path, "line")
    stored = open_version(folder)
    (folder / GRAPH).write_bytes(b"garbage")
    assert content_of(stored) == graph_of(SAMPLES["line"])
    (folder / GRAPH).unlink()
    assert content_of(stored) == graph_of(SAMPLES["line"])


def test_of_a_refused_version_nothing_is_held(tmp_path: Path) -> None:
    """Neither in memory nor as an open file."""
    folder = publish(tmp_path, "line")
    swap_byte(folder / GRAPH)
    before = copies_held_before()
    with pytest.raises(ChecksumError):
        open_version(folder)
    assert copies_held() == before


@pytest.mark.parametrize("file", [GRAPH, GOLDEN])
@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (Path.unlink, "there is no such file"),
        (truncate, "but the manifest says"),
        (swap_byte, "but the manifest says"),
        (move_out, "a link that leads out of the version's folder"),
        (replace_by_folder, "it is no file"),
        (replace_by_pipe, "it is no file"),
        (grow, f"it has {2**40} bytes, more than the "),
        (replace_by_loop, "it cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_damaged_file_is_named_with_its_cause(
    file: str, harm: Callable[[Path], None], cause: str, tmp_path: Path
) -> None:
    """A file that is gone, shorter, another, elsewhere or none is a checksum error about that file."""
    folder = publish(tmp_path, "line")
    harm(folder / file)
    error = refused(folder)
    assert isinstance(error, ChecksumError)
    assert error.message.startswith(f"{folder / file}: ")
    assert cause in error.message


def test_other_bytes_are_told_by_size_and_hash(tmp_path: Path) -> None:
    """The sentence shows both sides and the way out."""
    folder = publish(tmp_path, "line")
    (folder / GRAPH).write_bytes(b"")
    message = refused(folder).message
    assert "it has 0 bytes with SHA-256 e3b0c44298fc…" in message
    assert "publish the version again" in message


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (Path.unlink, "there is no such file"),
        (truncate, "Invalid JSON"),
        (lambda path: path.write_bytes(b"{"), "Invalid JSON"),
        (lambda path: path.write_bytes(b"\xff"), "Invalid JSON"),
        (lambda path: path.write_bytes(b"[]"), "should be an object"),
        (move_out, "a link that leads out"),
        (replace_by_folder, "it is no file"),
        (replace_by_pipe, "it is no file"),
        (grow, f"it has {2**40} bytes, more than the "),
        (replace_by_loop, "it cannot be read: Too many levels of symbolic links"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_cause(harm: Callable[[Path], None], cause: str, tmp_path: Path) -> None:
    """A manifest that is gone, no JSON, another structure or elsewhere is a manifest error about that file."""
    folder = publish(tmp_path, "line")
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().rstrip())
    harm(path)
    error = refused(folder)
    assert isinstance(error, ManifestError)
    assert error.message.startswith(f"{path}: ")
    assert cause in error.message


@pytest.mark.parametrize(("key", "value", "claim"), [("name", "other", "other/1"), ("version", 2, "line/2")])
def test_a_manifest_of_another_folder_is_refused(key: str, value: object, claim: str, tmp_path: Path) -> None:
    """A version that was copied under another name or number is not served as that one."""
    folder = publish(tmp_path, "line")
    edit(folder, lambda content: content.update({key: value}))
    assert refused(folder).message == f"{folder / MANIFEST}: it describes {claim}, but lies in line/1"


@pytest.mark.parametrize("file", [GRAPH, GOLDEN])
def test_a_manifest_that_vouches_for_too_little_is_refused(file: str, tmp_path: Path) -> None:
    """The graph and the golden rows need a checksum."""
    sample = SAMPLES["line"]
    files = {GRAPH: graph_of(sample), GOLDEN: golden_of("line").render()}
    folder = write_version(tmp_path, manifest_of("line", sample), files)
    edit(folder, lambda content: content["files"].pop(file))  # type: ignore[attr-defined]  # JSON
    error = refused(folder)
    assert isinstance(error, ManifestError)
    assert error.message == f"{folder / MANIFEST}: files: {file} is missing"


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    """A file's name is a name, not a path."""
    folder = publish(tmp_path, "line")
    (tmp_path / "secret").write_bytes(b"")
    entry = {"sha256": "0" * 64, "bytes": 0}
    edit(folder, lambda content: content["files"].update({"../../secret": entry}))  # type: ignore[attr-defined]  # JSON
    assert isinstance(refused(folder), ManifestError)


def test_every_file_of_the_manifest_is_checked(committed: Path) -> None:
    """Also what the server does not need, such as the TorchScript file, must be what was published."""
    folder = committed / "sum_of_three" / "1"
    swap_byte(folder / "model.pt")
    assert refused(folder).message.startswith(f"{folder / 'model.pt'}: ")


def test_golden_rows_that_are_no_golden_rows_are_refused(tmp_path: Path) -> None:
    """A file with the right checksum and a wrong structure is a manifest error about that file."""
    sample = SAMPLES["line"]
    folder = write_version(tmp_path, manifest_of("line", sample), {GRAPH: graph_of(sample), GOLDEN: b"{}"})
    error = refused(folder)
    assert isinstance(error, ManifestError)
    assert error.message.startswith(f"{folder / GOLDEN}: inputs: ")


def found(path: Path) -> dict[str, dict[int, str]]:
    """Where the versions at a path lie, from there."""
    return {
        name: {version: str(place.relative_to(path)) for version, place in versions.items()}
        for name, versions in find_models(path).items()
    }


def put(root: Path, *places: str) -> Path:
    """Make a file of each place that ends in `.onnx`, and a folder of each other."""
    for place in places:
        path = root / place
        if path.suffix == ".onnx":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        else:
            path.mkdir(parents=True)
    return root


def test_versions_are_found_by_name_in_ascending_order(tmp_path: Path) -> None:
    """Ten comes after nine."""
    assert found(put(tmp_path, "b/2", "a/10", "a/9", "a/1")) == {
        "a": {1: "a/1", 9: "a/9", 10: "a/10"},
        "b": {2: "b/2"},
    }


@pytest.mark.parametrize(
    "place", ["a/01", "a/0", "a/-1", "a/1.0", "a/latest", "a/.2", "a/٣", "a/²", "a", ".a/1", "stats/1"]
)
def test_what_is_no_version_is_passed_over(place: str, tmp_path: Path) -> None:
    """Other numbers, words, hidden folders and reserved names are no versions."""
    assert found(put(tmp_path, "model/1", place)) == {"model": {1: "model/1"}}


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    """What is neither a folder nor an ONNX file is neither a model nor a version, whatever it is called."""
    put(tmp_path, "model/1", "a", ".hidden.onnx", "folder.onnx/x.onnx")
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / "a" / "1").write_bytes(b"")
    (tmp_path / "a" / "2").symlink_to(tmp_path / "gone")
    assert found(tmp_path) == {"model": {1: "model/1"}}


def test_onnx_files_are_models_beside_published_ones(tmp_path: Path) -> None:
    """Each is version 1 of the model that its name tells."""
    assert found(put(tmp_path, "b/2", "my net.onnx", "a.v2.onnx")) == {
        "a.v2": {1: "a.v2.onnx"},
        "b": {2: "b/2"},
        "my_net": {1: "my net.onnx"},
    }


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (("b/2", "b.onnx"), "b.onnx is not served: {root}/b/2 is a model called b already"),
        (("b c.onnx", "b_c.onnx"), "b_c.onnx is not served: {root}/b c.onnx is a model called b_c already"),
        (("b.onnx", "stats.onnx"), "stats.onnx is not served: no model can be called 'stats': give it another name"),
        (("b.onnx", "模型.onnx"), "模型.onnx is not served: no model can be called '模型': give it another name"),
    ],
)
def test_a_file_that_cannot_be_told_from_another_is_left_out(
    places: tuple[str, ...], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which and why; the others are found."""
    assert len(found(put(tmp_path, *places))) == 1
    assert caplog.messages == [f"{tmp_path}/{said.format(root=tmp_path)}"]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("plain", "plain"),
        ("ResNet-50 (v2.1)", "ResNet-50_v2.1_"),
        ("ünïcode", "unicode"),
        (".hidden", "_hidden"),
        ("-x", "_x"),
        ("x" * 300, "x" * 128),
        ("stats", None),
        ("模型", None),
        ("", None),
    ],
)
def test_a_file_s_name_is_made_a_model_s(stem: str, name: str | None) -> None:
    """What no address can hold becomes an underscore."""
    assert model_name(stem) == name


def test_one_file_is_one_model(tmp_path: Path) -> None:
    """Whatever its ending; it is told where no model can be called so."""
    put(tmp_path, "net.onnx", "stats.onnx")
    assert find_models(tmp_path / "net.onnx") == {"net": {1: tmp_path / "net.onnx"}}
    with pytest.raises(ModelError, match=r"stats\.onnx: no model can be called 'stats': give the file another name"):
        find_models(tmp_path / "stats.onnx")


def test_one_model_and_one_version_are_found_by_their_folder(tmp_path: Path) -> None:
    """Without their neighbours."""
    folder = publish(tmp_path, "line", 9)
    publish(tmp_path, "line", 10)
    publish(tmp_path, "vote")
    assert find_models(folder.parent) == {"line": {9: folder, 10: folder.with_name("10")}}
    assert find_models(folder) == {"line": {9: folder}}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gone", "there is no such file or folder"),
        ("empty", "expected an ONNX file, or a folder of them or of versions, <name>/<version>/"),
        ("x" * 300, "there is no such file or folder"),
    ],
)
def test_where_there_is_nothing_an_error_says_what_is_expected(place: str, said: str, tmp_path: Path) -> None:
    """An empty folder and a missing one hold no models."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError) as caught:
        find_models(tmp_path / place)
    assert caught.value.message == f"{tmp_path / place}: {said}"


@pytest.mark.parametrize("kind", ["model", "version", "file"])
def test_what_cannot_be_looked_into_is_left_out_alone(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which and why; its neighbours are found."""
    put(tmp_path, "a/1", "b.onnx")
    place = {"model": "c", "version": "a/2", "file": "c.onnx"}[kind]
    # Followed, it is an error for everybody, as a closed folder is for most.
    (tmp_path / place).symlink_to("x" * 300)
    assert found(tmp_path) == {"a": {1: "a/1"}, "b": {1: "b.onnx"}}
    assert caplog.messages == [f"{tmp_path / place} is not served: it cannot be looked into: File name too long"]


def test_a_folder_that_is_no_text_can_be_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each byte that is no UTF-8 is written out."""
    folder = tmp_path / os.fsdecode(b"\xff")
    put(folder, "b.onnx", "stats.onnx")
    assert list(found(folder)) == ["b"]
    assert caplog.messages == [
        f"{tmp_path}/\\xff/stats.onnx is not served: no model can be called 'stats': give it another name"
    ]
    assert printable(tmp_path / "ü") == f"{tmp_path}/ü"
