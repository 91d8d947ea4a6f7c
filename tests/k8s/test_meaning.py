"""What the fields of k8s/ mean together: who is asked what, who may speak with whom, and what fits into what."""

import re
from typing import Any

import pytest

from tests.k8s.kustomize import COMPONENTS, SETS, One, Rendered
from tests.k8s.pods import pods

NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
SERVER = {NAME: "forwardpass", COMPONENT: "server"}
UNITS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
SERVING = [("Deployment", "base"), ("Deployment", "overlays/cuda"), ("ServingRuntime", "overlays/kserve")]


def amount(text: str) -> float:
    """A quantity of Kubernetes."""
    found = re.fullmatch(r"(\d+)(\D*)", text)
    assert found
    return int(found[1]) * UNITS[found[2]]


def server(one: One, kind: str, base: str) -> dict[str, Any]:
    """The container that serves."""
    spec = one(kind, base)["spec"]
    (container,) = (spec if kind == "ServingRuntime" else spec["template"]["spec"])["containers"]
    return dict(container)


@pytest.mark.parametrize(("kind", "base"), SERVING)
def test_each_probe_asks_what_it_is_for(one: One, kind: str, base: str) -> None:
    """A server that is not ready, for want of a model or because it ends, gets no requests, and is not restarted."""
    container = server(one, kind, base)
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {
        "startup": "/v2/health/live",
        "liveness": "/v2/health/live",
        "readiness": "/v2/health/ready",
    }
    probes = {name: container[f"{name}Probe"] for name in paths}
    patience = {name: probe["periodSeconds"] * probe["failureThreshold"] for name, probe in probes.items()}
    assert patience["readiness"] < patience["liveness"] <= patience["startup"]
    assert patience["liveness"] >= 60
    # A second, which it is where nothing is said, is not enough under load.
    assert probes["readiness"]["timeoutSeconds"] == probes["liveness"]["timeoutSeconds"] == 5


def test_a_rollout_takes_no_pod_away_before_another_is_ready(one: One) -> None:
    """One more pod at a time, each judged by those of its own revision; and a node can be emptied meanwhile."""
    spec = one("Deployment", "base")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert one("PodDisruptionBudget", "base")["spec"]["maxUnavailable"] == 1
    for constraint in spec["template"]["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]


def test_there_is_another_pod_before_an_event_loop_is_full(one: One) -> None:
    """It has one CPU at most; and one pod can be lost."""
    spec = one("HorizontalPodAutoscaler", "base")["spec"]
    (metric,) = spec["metrics"]
    assert amount(metric["resource"]["target"]["averageValue"]) < 1
    assert 1 < spec["minReplicas"] < spec["maxReplicas"]


@pytest.mark.parametrize("parts", SETS, ids=" + ".join)
def test_threads_that_follow_a_limit_have_one(rendered: Rendered, parts: tuple[str, ...]) -> None:
    """Without it they would be as many as the node has CPUs."""
    objects = rendered(*parts)
    settings = {name: value for each in objects if each["kind"] == "ConfigMap" for name, value in each["data"].items()}
    for pod in pods(objects):
        given = pod.settings | (settings if "envFrom" in pod.container else {})
        assert given.get("FORWARDPASS_THREADS") != "auto" or "cpu" in pod.container["resources"]["limits"], pod.owner


def test_what_may_wait_fits_into_the_memory(one: One) -> None:
    """Of two models at a time, beside the models; and as many bodies at a time as were measured."""
    settings = one("ConfigMap", "base")["data"]
    for kind, base in SERVING:
        room = amount(server(one, kind, base)["resources"]["limits"]["memory"])
        assert 4 * int(settings["FORWARDPASS_MAX_QUEUE_BYTES"]) <= room
        assert 128 * int(settings["FORWARDPASS_MAX_BODY"]) <= room / 2
    assert amount(server(one, "Deployment", "overlays/cuda")["resources"]["limits"]["memory"]) >= 4 * UNITS["Gi"]


def test_nobody_speaks_with_whom_they_need_not(rendered: Rendered) -> None:
    """The server is asked and asks nobody, the scorer neither, Ray's pods each other, names, and their operator."""
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in rendered("base", *COMPONENTS)
        if each["kind"] == "NetworkPolicy"
    }
    assert all(sorted(spec["policyTypes"]) == ["Egress", "Ingress"] for spec in policies.values())
    (asked,) = policies["forwardpass"]["ingress"]
    assert asked["from"] == [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"forwardpass-client": "true"}}},
    ]
    assert not policies["forwardpass"]["egress"]
    assert not policies["forwardpass-score"]["ingress"]
    assert not policies["forwardpass-score"]["egress"]
    ray = policies["forwardpass-score-ray"]
    own = [{"podSelector": ray["podSelector"]}]
    operator = {"matchLabels": {COMPONENT: "kuberay-operator"}}
    assert ray["ingress"] == [
        {"from": own},
        {"ports": [{"port": 8265}], "from": [{"namespaceSelector": {}, "podSelector": operator}]},
    ]
    assert ray["egress"] == [
        {"to": own},
        {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]},
    ]


def test_who_writes_to_a_volume_may(rendered: Rendered) -> None:
    """It belongs to the group of the pod."""
    for pod in pods(rendered("base", *COMPONENTS)):
        if any("persistentVolumeClaim" in volume for volume in pod.spec["volumes"]):
            assert pod.spec["securityContext"]["fsGroup"] == pod.spec["securityContext"]["runAsGroup"]


def test_the_service_of_kserve_is_of_its_runtime(one: One) -> None:
    """Which has the container's name and the formats and protocols that KServe looks for; it needs no Knative."""
    service = one("InferenceService", "overlays/kserve")
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Standard"}
    predictor = service["spec"]["predictor"]["model"]
    runtime = one("ServingRuntime", "overlays/kserve")
    assert predictor["runtime"] == runtime["metadata"]["name"]
    assert predictor["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = [(each["name"], each["version"]) for each in runtime["spec"]["supportedModelFormats"]]
    assert (predictor["modelFormat"]["name"], predictor["modelFormat"]["version"]) in formats
    (container,) = runtime["spec"]["containers"]
    assert container["name"] == "kserve-container"
    (port,) = container["ports"]
    assert runtime["spec"]["annotations"]["prometheus.kserve.io/port"] == str(port["containerPort"])
