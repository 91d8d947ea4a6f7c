"""What is installed for a server."""

import os
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.rivals.contenders import RIVALS
from benchmarks.serving_results import Footprint


def installed(name: str) -> Footprint:
    """Its versions and size, with nothing measured yet; ours, and the empty application's, are the service's."""
    environment = next((rival.environment for rival in RIVALS if rival.name == name), Path(".venv"))
    packages = distributions(path=[str(path) for path in environment.glob("lib/python3*/site-packages")])
    named = {"uvicorn"} if name == "empty" else {name, "forwardpass" if name == "ours" else name, "onnxruntime"}
    versions = {package.name: package.version for package in packages if package.name in named}
    return Footprint(versions, _disk_bytes(environment), [], [])


def _disk_bytes(folder: Path) -> int:
    return sum((Path(parent) / name).lstat().st_blocks * 512 for parent, _, names in os.walk(folder) for name in names)
