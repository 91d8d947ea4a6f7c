"""The images that take minutes and gigabytes to build, each with what it is for: a part of `make verify`."""

from pathlib import Path

import httpx
import pytest

from tests.image.conftest import built
from tests.image.engine import SOON, Engine


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A folder with a file of two rows, that everyone may write into."""
    (tmp_path / "rows.csv").write_text("first_addend,second_addend,third_addend\n1,2,3\n2,3,4\n")
    tmp_path.chmod(0o777)
    return tmp_path


def test_that_of_ray_scores_on_a_cluster(engine: Engine, version: str, rows: Path) -> None:
    """One of its own, as nobody and from a root that is read-only; and takes jobs, as KubeRay has it do."""
    image = built(engine, f"forwardpass:{version}-ray", extras="ray")
    volume = ("--volume", f"{rows}:/data")
    paths = ("/data/rows.csv", "/data/sums.csv")
    done = engine.run(image, "score", "sum_of_three", *paths, "--engine", "ray", options=volume)
    assert done.returncode == 0, done.stderr
    assert (rows / "sums.csv").read_text() == '"sum"\n6.000000953674316\n8.999998092651367\n'
    done = engine.run(image, "job", "submit", "--help", options=("--entrypoint", "ray"))
    assert done.returncode == 0, done.stderr


def test_several_extras_come_together(engine: Engine, version: str, rows: Path) -> None:
    """It scores, and serves with traces that no collector takes."""
    image = built(engine, f"forwardpass:{version}-batch-otel", extras="batch otel")
    paths = ("/data/rows.csv", "/data/sums.csv")
    done = engine.run(image, "score", "sum_of_three", *paths, options=("--volume", f"{rows}:/data"))
    assert done.returncode == 0, done.stderr
    with engine.serving(image, tracing="otlp") as container:
        engine.await_health(container, healthy=True)
        assert container.server.stop() == 0


def test_that_of_cuda_needs_nothing_but_the_driver(engine: Engine, version: str) -> None:
    """Which a container without a GPU has not: it says so, and serves where the CPU may take its place."""
    image = built(engine, f"forwardpass:{version}-cuda", runtime="cuda")
    done = engine.run(image, "serve")
    assert done.returncode == 2
    assert "libcuda.so.1" in done.stderr
    assert "NVIDIA's driver" in done.stderr
    with engine.serving(image, provider="cuda,cpu") as container:
        body = {"instances": [[1, 2, 3]]}
        reply = httpx.post(f"{container.server.url}/v1/models/sum_of_three:predict", json=body, timeout=SOON)
        assert reply.json() == {"predictions": [6.000000953674316]}
        assert container.server.stop() == 0
