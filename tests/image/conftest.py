"""The images, each built once, and what the layers of the serving image weigh."""

import os
import tomllib
from collections.abc import Iterator

import pytest

from tests.image.contents import MB, Contents, read
from tests.image.engine import Engine, find_engine
from tests.server import ROOT

CONTENTS = pytest.StashKey[Contents]()


@pytest.fixture(scope="session", autouse=True)
def _readable() -> Iterator[None]:
    """What is laid down for a container is read there by another user, whatever the umask here is."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def version() -> str:
    """What the package says."""
    said: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return said


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """What builds and runs here."""
    return find_engine(tmp_path_factory.mktemp("engine"))


def built(engine: Engine, image: str, *, runtime: str = "cpu", extras: str = "") -> str:
    """The image, of what lies here now."""
    done = engine.build(image, RUNTIME=runtime, EXTRAS=extras)
    assert done.returncode == 0, done.stdout
    return image


@pytest.fixture(scope="session")
def image(engine: Engine, version: str) -> str:
    """The one that serves."""
    return built(engine, f"forwardpass:{version}")


@pytest.fixture(scope="session")
def batch_image(engine: Engine, version: str) -> str:
    """The one that scores files too."""
    return built(engine, f"forwardpass:{version}-batch", extras="batch")


@pytest.fixture(scope="session")
def contents(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Contents:
    """What is in the serving image."""
    found = pytestconfig.stash[CONTENTS] = read(engine, image, tmp_path_factory.mktemp("saved"))
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each layer weighs."""
    contents = config.stash.get(CONTENTS, None)
    if contents is None:
        return
    terminalreporter.section("layers above the base image, compressed")
    for layer in contents.layers:
        terminalreporter.write_line(f"{layer.compressed / MB:6.1f} MB  {layer.place}")
