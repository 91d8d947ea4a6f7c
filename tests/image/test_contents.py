"""What the serving image holds, and what it does not."""

import json
import re
from pathlib import PurePosixPath

import pytest

from tests.image.contents import MB, Contents
from tests.image.pip_settings import settings

COMPILER = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|clang|clang\+\+|as|ld|rustc|go)(-[\d.]+)?")
LIBRARIES = PurePosixPath("opt/forwardpass/lib/python3.11/site-packages")


@pytest.fixture(scope="module")
def ours(contents: Contents) -> frozenset[str]:
    """The paths of all layers above the base image."""
    return frozenset().union(*(layer.paths for layer in contents.layers))


def test_it_weighs_at_most_a_hundred_megabytes(contents: Contents) -> None:
    """Above its base image, without its models."""
    assert [layer.place for layer in contents.layers] == ["/opt/forwardpass", "/opt", "/models"]
    libraries, package, _models = contents.layers
    assert libraries.compressed + package.compressed <= 100 * MB


def test_there_is_nothing_in_it_but_the_package_its_libraries_and_models(ours: frozenset[str]) -> None:
    """No settings of whoever built it, no cache, no tests of ours, no installer."""
    assert {path for path in ours if not path.startswith(("opt/forwardpass/", "models/"))} <= {
        *("opt", "opt/forwardpass", "models"),
        *("opt/", "opt/forwardpass/", "models/"),
    }
    packages = {PurePosixPath(path).relative_to(LIBRARIES).parts[0] for path in ours if f"{LIBRARIES}/" in path}
    assert {"service", "onnxruntime", "uvicorn"} <= packages
    assert not packages & {"torch", "pip", "setuptools", "tests", "hatchling", "pyarrow", "pytest"}


def test_there_is_no_compiler_and_no_cache_in_it(contents: Contents) -> None:
    """Nor in the base image."""
    programs = {path for path in contents.paths if PurePosixPath(path).parent.name in ("bin", "sbin")}
    assert any(path.endswith("bin/python3") for path in programs)
    assert not {path for path in programs if COMPILER.fullmatch(PurePosixPath(path).name)}
    assert not {path for path in contents.paths if path.startswith("root/.cache/")}


def test_it_tells_nothing_of_where_it_was_built(contents: Contents) -> None:
    """Neither pip's settings, nor a word of them that names a host or a path."""
    assert "etc/pip.conf" not in contents.paths
    said = json.dumps(contents.config)
    words = {word for section in settings().values() for value in section.values() for word in value.split()}
    assert not {word for word in words if "/" in word and word in said}


def test_it_says_what_it_is_and_how_it_is_run(contents: Contents, version: str) -> None:
    """Signals reach the server, whose user is a number, and whose settings are those of a container."""
    config = contents.config["config"]
    assert config["Entrypoint"] == ["forwardpass"]
    assert config["Cmd"] == ["serve"]
    assert config["User"] == "65532:65532"
    assert config["Healthcheck"]["Test"] == ["CMD", "forwardpass", "health"]
    assert set(config["ExposedPorts"]) == {"8080/tcp"}
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == version
    assert {f"org.opencontainers.image.{name}" for name in ("title", "description", "licenses")} <= set(labels)
    environment = dict(each.split("=", 1) for each in config["Env"])
    assert environment.pop("PATH").startswith("/opt/forwardpass/bin:")
    assert environment["HOME"] == "/tmp"  # noqa: S108  # in the container
    assert {name: value for name, value in environment.items() if name.startswith(("ORT_", "FORWARDPASS_"))} == {
        "ORT_DISABLE_TELEMETRY": "1",
        "FORWARDPASS_HOST": "0.0.0.0",  # noqa: S104  # a container's own
        "FORWARDPASS_MODELS": "/models",
        "FORWARDPASS_PROVIDER": "cpu",
    }
