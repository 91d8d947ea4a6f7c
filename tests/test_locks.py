"""The lock files that installations and images are made of: what is released, to the byte, and of one piece."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SHIPPED = ("cpu", "cuda", "batch", "ray", "otel")
"""What an image can be made of: either runtime, and any of the others with it."""


def locked(name: str) -> dict[str, Requirement]:
    """The packages that a lock installs with this Python, by name."""
    entries = re.split(r"\n(?=\S)", (ROOT / f"requirements-{name}.lock").read_text().strip())
    requirements = [Requirement(entry.partition(" \\")[0]) for entry in entries]
    return {one.name: one for one in requirements if one.marker is None or one.marker.evaluate()}


def test_every_lock_has_only_what_is_pinned_and_hashed() -> None:
    """A version and a sum for each package: what comes is what was looked at."""
    for path in ROOT.glob("requirements-*.lock"):
        for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
            pinned, *sums = entry.split(" \\\n    ")
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][^ ;]*( ; .+)?", pinned), path
            assert sums, f"{path.name}: {pinned} has no sum"
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in sums), path


@pytest.mark.parametrize("name", SHIPPED)
def test_a_lock_installs_what_its_extra_asks_for(name: str) -> None:
    """Everything that the project and the extra name is in it, in a version that they allow."""
    wanted = [Requirement(text) for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"][name]]
    found = locked(name)
    for one in wanted:
        if one.name != PROJECT["name"]:
            (pin,) = found[one.name].specifier
            assert one.specifier.contains(pin.version), one


def test_locks_can_be_installed_together() -> None:
    """No package stands in two of them with two versions; only the two builds of onnxruntime exclude each other."""
    seen: dict[str, Requirement] = {}
    for name in SHIPPED:
        for package, one in locked(name).items():
            assert str(seen.setdefault(package, one)) == str(one), name


def test_each_runtime_has_a_build_of_onnxruntime_and_no_extra_has_one() -> None:
    """The two overwrite each other's files."""
    builds = {name: [one for one in locked(name) if one.startswith("onnxruntime")] for name in SHIPPED}
    assert builds == {"cpu": ["onnxruntime"], "cuda": ["onnxruntime-gpu"], "batch": [], "ray": [], "otel": []}


def test_nothing_that_is_shipped_needs_torch() -> None:
    """Networks are served without what trained them."""
    assert not [name for name in SHIPPED if "torch" in locked(name)]


def test_the_tests_run_what_is_shipped() -> None:
    """The same versions, but of what only a GPU needs."""
    tested = locked("test")
    for name in SHIPPED:
        for package, one in locked(name).items():
            if name != "cuda" or package in locked("cpu"):
                assert str(tested[package]) == str(one)


def test_there_is_a_lock_for_every_build_that_is_told_of() -> None:
    """Each runtime and extra of an image, wherever a reader meets it."""
    told = "".join((ROOT / name).read_text() for name in ("README.md", "k8s/README.md", "Dockerfile"))
    found = {
        (argument, name)
        for argument, several, one in re.findall(r"\b(RUNTIME|EXTRAS)=(?:\"([a-z ]+)\"|([a-z]*))", told)
        for name in (several or one).split()
    }
    assert found == {("RUNTIME" if name in ("cpu", "cuda") else "EXTRAS", name) for name in SHIPPED}
