"""The serving image, run as hardened as a cluster would run it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.manifest import GOLDEN_TOLERANCE, ModelManifest
from tests.fleet import Fleet
from tests.image.engine import SOON, Container, Engine
from tests.server import ROOT

GOLDEN = sorted((ROOT / "models").glob("*/*/golden.json"))
NOBODY = "65532"


@pytest.fixture(scope="module")
def container(engine: Engine, image: str) -> Iterator[Container]:
    """Two processes that serve all versions."""
    with engine.serving(image, workers="2", versions="all") as container:
        yield container


def post(container: Container, path: str, body: object) -> dict[str, Any]:
    """The answer."""
    reply = httpx.post(f"{container.server.url}{path}", json=body, timeout=SOON)
    assert reply.status_code == httpx.codes.OK, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_it_becomes_healthy(engine: Engine, container: Container) -> None:
    """As the image's own check finds, which needs no other program."""
    engine.await_health(container, healthy=True)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: "/".join(path.parts[-3:-1]))
def test_every_model_answers_its_golden_rows(path: Path, container: Container) -> None:
    """As the tensors that are recorded, and as rows too."""
    manifest = ModelManifest.parse(path.with_name("manifest.json").read_bytes(), str(path))
    (given,), (expected,) = manifest.inputs, manifest.outputs
    golden = json.loads(path.read_text())
    rows, recorded = golden["inputs"][given.name], np.array(golden["outputs"][expected.name])
    tensor = {"name": given.name, "datatype": given.datatype, "shape": np.shape(rows), "data": rows}
    (answer,) = post(container, f"/v2/models/{manifest.name}/versions/{manifest.version}/infer", {"inputs": [tensor]})[
        "outputs"
    ]
    output = np.reshape(answer["data"], answer["shape"])
    assert output.shape == recorded.shape
    assert (np.abs(output - recorded) <= GOLDEN_TOLERANCE * np.maximum(1, np.abs(recorded))).all()

    if given.vocabulary is not None:
        rows = [{"context": [given.vocabulary[number] for number in row]} for row in rows]
    body = {"instances": rows}
    predictions = post(container, f"/v1/models/{manifest.name}/versions/{manifest.version}:predict", body)
    assert len(predictions["predictions"]) == len(rows)


def test_its_metrics_count_what_it_answers(container: Container) -> None:
    """Of all its processes, on one page."""

    def counted() -> float:
        page = httpx.get(f"{container.server.url}/metrics", timeout=SOON).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(
            sample.value
            for sample in samples
            if sample.name == "forwardpass_requests_total" and sample.labels["model"] == "sum_of_three"
        )

    before = counted()
    for _ in range(10):
        post(container, "/v1/models/sum_of_three:predict", {"instances": [[1, 2, 3]]})
    assert counted() == before + 10


def test_none_of_its_processes_is_root_or_can_become_it(engine: Engine, container: Container) -> None:
    """Seen from outside: the supervisor and both that serve have no capability, and none to gain."""
    told = [dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line) for text in statuses()]
    first = str(engine.inspect(container.name)["State"]["Pid"])
    mine = [one for one in told if first in (one["Pid"], one["PPid"])]
    assert len(mine) == 3
    for one in mine:
        assert one["Uid"].split() == one["Gid"].split() == [NOBODY] * 4
        assert {int(one[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert one["NoNewPrivs"] == "1"


def statuses() -> Iterator[str]:
    """What the system tells of each process that there is."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue


def test_it_writes_nothing_into_its_file_system(engine: Engine, container: Container) -> None:
    """Which it could not: it is read-only but for /tmp."""
    assert engine.inspect(container.name)["HostConfig"]["ReadonlyRootfs"]
    # The engine itself lays files there, for the names of hosts.
    assert set(engine.call("diff", container.name).splitlines()) - {"C /etc", ""} == set()


def test_it_ends_under_load_without_a_failed_request(engine: Engine, image: str, container: Container) -> None:
    """With status 0, while another one goes on; clients try again only what no byte of an answer had come to."""
    with engine.serving(image, drain_delay="1") as ending:
        fleet = Fleet([ending.server.endpoint, container.server.endpoint])
        clients = [Thread(target=fleet.client, args=(index,)) for index in range(6)]

        def await_answers(more: int) -> None:
            wanted = fleet.answered + more
            while fleet.answered < wanted:
                assert not fleet.failures
                assert all(client.is_alive() for client in clients)
                fleet.stopped.wait(0.01)

        try:
            for client in clients:
                client.start()
            await_answers(300)
            assert ending.server.stop() == 0
            await_answers(300)
        finally:
            fleet.stopped.set()
            for client in clients:
                client.join()
    assert fleet.failures == []


def test_it_is_not_healthy_while_it_drains(engine: Engine, image: str) -> None:
    """Though it serves; a second signal hurries it, and it has ended in order."""
    with engine.serving(image, drain_delay="600") as container:
        engine.await_health(container, healthy=True)
        container.server.process.terminate()
        engine.await_health(container, healthy=False)
        post(container, "/v1/models/sum_of_three:predict", {"instances": [[1, 2, 3]]})
        assert container.server.stop() == 0


@pytest.mark.parametrize(("limit", "threads"), [(("--cpus", "0.5"), 1), ((), len(os.sched_getaffinity(0)))])
def test_as_many_threads_compute_as_it_has_whole_cpus(
    engine: Engine, image: str, limit: tuple[str, ...], threads: int
) -> None:
    """By its limit, where it has one; all that the machine has, where it has none."""
    with engine.serving(image, *limit, threads="auto") as container:
        assert container.server.stop() == 0
    said = f"cpu, {threads} thread{'s' if threads > 1 else ''} a run; {threads} CPUs to use"
    assert said in "".join(container.server.log)


def test_a_mount_replaces_its_models(engine: Engine, image: str, tmp_path: Path) -> None:
    """It serves those, and no others."""
    shutil.copytree(ROOT / "models" / "digits", tmp_path / "digits")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    with engine.serving(image, "--volume", f"{tmp_path}:/models:ro") as container:
        reply = httpx.post(f"{container.server.url}/v2/repository/index", json={}, timeout=SOON)
        assert [one["name"] for one in reply.json()] == ["digits"]
