"""A real server, started as its pod would be: the settings that k8s/ gives it, and the paths that are asked of it."""

import shutil
from pathlib import Path

from tests.k8s.kustomize import ROOT, One
from tests.server import running

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def test_the_server_takes_the_settings_and_answers_the_probes(one: One) -> None:
    """As the Deployment starts it, but for the address and where the models lie, which are the image's."""
    (container,) = one("Deployment", "base")["spec"]["template"]["spec"]["containers"]
    (source,) = container["envFrom"]
    settings = one("ConfigMap", "base")
    assert source["configMapRef"]["name"] == settings["metadata"]["name"]
    with running(environment=settings["data"]) as server, server.client() as client:
        for probe in PROBES:
            answer = client.get(container[probe]["httpGet"]["path"])
            assert answer.status_code == 200, probe
        assert not [line for line in server.log if "is no setting" in line or '"warning"' in line.lower()]
        assert server.log[0].startswith("{")


def test_the_runtime_of_kserve_serves_a_folder_that_is_mounted(one: One, tmp_path: Path) -> None:
    """Models where KServe brings them, in the folders of their names: each answers version 2 under its own."""
    (container,) = one("ServingRuntime", "overlays/kserve")["spec"]["containers"]
    settings = {each["name"]: each["value"] for each in container["env"]}
    mounted = tmp_path.joinpath(*Path(settings["FORWARDPASS_MODELS"]).parts[1:])
    shutil.copytree(ROOT / "models/sum_of_three", mounted / "sum_of_three")
    settings["FORWARDPASS_MODELS"] = str(mounted)
    with running(environment=settings) as server, server.client() as client:
        for probe in PROBES:
            assert client.get(container[probe]["httpGet"]["path"]).status_code == 200, probe
        tensor = {"name": "addends", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
        answer = client.post("/v2/models/sum_of_three/infer", json={"inputs": [tensor]})
        assert round(answer.json()["outputs"][0]["data"][0], 3) == 6
        path = one("ServingRuntime", "overlays/kserve")["spec"]["annotations"]["prometheus.kserve.io/path"]
        assert client.get(path).status_code == 200
