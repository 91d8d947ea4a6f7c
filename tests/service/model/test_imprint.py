"""Behaviour of service.model.imprint."""

import os
import shutil
from pathlib import Path

import pytest

from service.model.imprint import imprint, is_gone
from tests.service.conftest import publish, save, tabled


def test_the_same_version_elsewhere_has_the_same_content(tmp_path: Path) -> None:
    """Its manifest says all of it; where and when it was written does not matter."""
    one = publish(tmp_path / "one", "line")
    other = publish(tmp_path / "other", "line")
    assert imprint(one) == imprint(one)
    assert imprint(one).content == imprint(other).content
    assert imprint(one).state != imprint(other).state
    assert imprint(one).content != imprint(publish(tmp_path, "line", 2)).content


@pytest.mark.parametrize("change", ["write", "remove", "add", "mode", "touch"])
def test_any_change_of_a_file_is_another_state(change: str, tmp_path: Path) -> None:
    """What could not be served may be sound now."""
    folder = publish(tmp_path, "line")
    graph = folder / "model.onnx"
    before = imprint(folder)
    match change:
        case "write":
            graph.write_bytes(b"")
        case "remove":
            graph.unlink()
        case "add":
            (folder / "more").touch()
        case "mode":
            graph.chmod(0o600)
        case _:
            os.utime(graph, ns=(1, 1))
    after = imprint(folder)
    assert (after.content, after.state != before.state) == (before.content, True)


@pytest.mark.parametrize("odd", ["a pipe", "a device", "a terabyte"])
def test_a_manifest_that_nobody_can_read_is_not_waited_for(odd: str, tmp_path: Path) -> None:
    """Nor is memory filled with it."""
    folder = publish(tmp_path, "line")
    manifest = folder / "manifest.json"
    if odd == "a terabyte":
        os.truncate(manifest, 2**40)
    else:
        manifest.unlink()
        if odd == "a pipe":
            os.mkfifo(manifest)
        else:
            manifest.symlink_to("/dev/zero")
    before = imprint(folder)
    assert before.content == before.state
    (folder / "more").touch()
    assert imprint(folder) != before


def test_a_file_alone_is_another_one_once_it_is_written(tmp_path: Path) -> None:
    """There is no manifest to say so."""
    file = save(tmp_path, "line.onnx", "line")
    before = imprint(file)
    assert imprint(file) == before
    os.utime(file, ns=(1, 1))
    old = imprint(file)
    assert old.content != before.content
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(1, 1))
    assert imprint(file).content != old.content


def test_a_file_alone_is_another_one_with_its_weights(tmp_path: Path) -> None:
    """Where the graph keeps them in a file of their own; whatever else lies beside it is none of it."""
    file = tabled(tmp_path, 1.0)
    before = imprint(file)
    (tmp_path / "other.bin").touch()
    assert imprint(file) == before
    (tmp_path / "table.bin").write_bytes(b"")
    assert imprint(file).content != before.content


def test_what_cannot_be_looked_at_is_a_state_too(tmp_path: Path) -> None:
    """A folder without a manifest, a link that leads nowhere, nothing at all: each the same as long as it is so."""
    folder = publish(tmp_path, "line")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to("nowhere")
    dangling = imprint(folder)
    (folder / "manifest.json").unlink()
    without = imprint(folder)
    shutil.rmtree(folder)
    nothing = imprint(folder)
    assert imprint(folder) == nothing
    assert len({dangling, without, nothing}) == 3


def test_what_is_there_is_not_gone(tmp_path: Path) -> None:
    """Gone is only what certainly is: a name that cannot be looked up is none of these."""
    folder = publish(tmp_path, "line")
    assert not is_gone(folder)
    assert is_gone(folder / "nothing")
    assert is_gone(folder / "model.onnx" / "below")
    assert not is_gone(folder / ("n" * 300))
