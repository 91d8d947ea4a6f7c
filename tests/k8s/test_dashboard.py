"""What is asked of Prometheus has an answer: a real one looks at a real server to which everything happens."""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.k8s.kustomize import ROOT, One
from tests.k8s.prometheus import Prometheus, prometheus
from tests.k8s.test_monitoring import DASHBOARD, QUERIES
from tests.server import Server, running

PATIENCE = 30
"""Seconds that nothing of this takes."""
QUEUE = 8
"""Most rows that wait for one model."""
TARGET = {"namespace": "shop", "pod": "forwardpass-0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers with every version of every model, and one that cannot be loaded."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models", models, dirs_exist_ok=True)
    shutil.copytree(models / "two_four_one/1", models / "two_four_one/2")
    flags = ["--models", str(models), "--versions", "all", "--workers", "2", "--max-queue", str(QUEUE)]
    with running(*flags, "--execution", "thread") as server:
        yield server


def v1(model: str, row: object, rows: int = 1) -> tuple[str, object]:
    """A request of version 1."""
    return f"/v1/models/{model}:predict", {"instances": [row] * rows}


def happen(server: Server, over: threading.Event) -> None:
    """Send requests that end in every way that a client can bring about, again and again."""
    hurried = {"inputs": [{"name": "addends", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
    requests = [
        v1("sum_of_three", [1, 2, 3]),
        v1("sum_of_three/versions/1", [100, 2, 3], QUEUE),
        v1("digits", [[0] * 8] * 8, QUEUE),
        v1("digits", "a picture"),
        v1("nobody", [1]),
        ("/v2/models/sum_of_three/infer", hurried | {"parameters": {"timeout": 1}}),
    ]
    with server.client() as client:
        while not over.is_set():
            for path, body in requests:
                # A worker may be killed under it.
                with suppress(httpx.TransportError):
                    client.post(path, json=body)


@pytest.fixture(scope="module")
def seen(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that looks at the server while several clients are at work."""
    with ExitStack() as opened:
        seen = opened.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), server.address, TARGET))
        over = threading.Event()
        clients = [threading.Thread(target=happen, args=(server, over)) for _ in range(8)]
        for client in clients:
            client.start()

        def end() -> None:
            over.set()
            for client in clients:
                client.join()

        opened.callback(end)
        yield seen


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"


def filled(query: str) -> str:
    """A query of the dashboard where nothing is chosen: every job that is one of a Forwardpass, and all else."""
    return re.sub(r"\$(namespace|model|version)", ".*", query).replace("$job", "forwardpass")


def test_every_query_of_the_dashboard_has_an_answer(seen: Prometheus) -> None:
    """Numbers, while there are requests; a wrong name, a join that matches nothing or a wrong label would give none."""
    for who, query in QUERIES.items():
        wait_for(partial(seen.ask, filled(query)), f"{who} has an answer")


def test_what_can_be_chosen_is_there(seen: Prometheus) -> None:
    """The dashboard's variables have the values that the server and its target have."""
    found = {}
    for variable in DASHBOARD["templating"]["list"][1:]:
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked
        assert asked[2] == variable["name"]
        found[asked[2]] = set(seen.label_values(asked[2], filled(asked[1])))
    assert found.keys() == {"namespace", "job", "model", "version"}
    assert found["namespace"] == {TARGET["namespace"]}
    assert found["job"] == {"forwardpass"}
    assert found["model"] == {place.name for place in (ROOT / "models").iterdir()}
    assert found["version"] == {"1", "2"}


def test_everything_was_counted(seen: Prometheus) -> None:
    """What was to be seen did happen: else an answer would say little."""
    outcomes = {"ok", "invalid", "refused", "expired", "failed"}
    wait_for(lambda: set(seen.label_values("outcome", "forwardpass_requests_total")) >= outcomes, "all outcomes")
    assert set(seen.label_values("outcome", "forwardpass_model_loads_total")) == {"ok", "failed"}
    assert set(seen.label_values("worker", "process_open_fds")) == {"0", "1"}


def test_the_alerts_see_what_is_wrong_and_nothing_else(seen: Prometheus, one: One) -> None:
    """Their expressions, on the numbers of a real server; those of a scrape that may be late have their `for`."""
    (group,) = one("PrometheusRule", "base", "monitoring")["spec"]["groups"]
    rules = {rule["alert"].removeprefix("Forwardpass"): rule["expr"] for rule in group["rules"]}
    for name in ("ModelNotReady", "LoadFailed", "Refusing", "Drift"):
        wait_for(partial(seen.ask, rules[name]), name)
    assert [name for name in ("Failing", "Restarting") if seen.ask(rules[name])] == []


def test_keda_is_told_how_many_requests_wait(seen: Prometheus, one: One) -> None:
    """One number."""
    (trigger, _) = one("ScaledObject", "base", "keda")["spec"]["triggers"]
    wait_for(lambda: sum(seen.ask(trigger["metadata"]["query"])) > 0, "some wait")
    assert len(seen.ask(trigger["metadata"]["query"])) == 1


def test_a_worker_that_is_replaced_is_seen(server: Server, seen: Prometheus) -> None:
    """As a restart of a worker, and as a process that began anew."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    workers, processes = filled(QUERIES["Restarts A"]), filled(QUERIES["Restarts B"])
    wait_for(lambda: sum(seen.ask(workers)) > 0 and sum(seen.ask(processes)) > 0, "a restart of both kinds")
