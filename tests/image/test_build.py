"""What a build takes, and what it refuses."""

import re
from fnmatch import fnmatch
from pathlib import Path

from tests.image.engine import DOCKERFILE, Engine

LISTING = "import pathlib; print(*(path for path in pathlib.Path('/context').rglob('*') if path.is_file()), sep='\\n')"


def test_a_build_sees_only_what_the_dockerfile_copies(engine: Engine, image: str, tmp_path: Path) -> None:
    """So that nothing else can come into an image, or make a build anew."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert "service" in sources
    listing = tmp_path / "Dockerfile"
    listing.write_text(f"FROM {image}\nCOPY . /context\n")
    name = "forwardpass-test:context"
    done = engine.build(name, listing)
    assert done.returncode == 0, done.stdout
    try:
        # As their owner: in a clone that one user made for themselves nobody else may read.
        told = engine.run(name, "-c", LISTING, options=("--entrypoint", "python3", "--user", "0:0")).stdout
    finally:
        engine.call("rmi", name)
    files = [path.removeprefix("/context/") for path in told.split()]
    unused = set(sources)
    for path in files:
        takers = {source for source in sources if fnmatch(path, source) or path.startswith(f"{source}/")}
        assert takers, path
        assert "__pycache__" not in path
        unused -= takers
    assert unused == set()
    locks = {path.removeprefix("requirements-").removesuffix(".lock") for path in files if path.endswith(".lock")}
    assert locks == {"build", "cpu", "cuda", "batch", "ray", "otel"}


def test_a_build_with_an_extra_that_there_is_not_fails(engine: Engine) -> None:
    """And says what it looked for."""
    done = engine.build("forwardpass-test:unknown", EXTRAS="batsch")
    assert done.returncode != 0
    assert "requirements-batsch.lock" in done.stdout
