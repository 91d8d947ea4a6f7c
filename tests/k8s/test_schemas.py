"""Every object is one that Kubernetes takes, by its own schemas: no field that it does not know, none that it lacks."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.k8s.kustomize import ROOT, SETS, Rendered
from tests.k8s.pods import pods

CUSTOM = {"InferenceService", "PrometheusRule", "RayJob", "ScaledObject", "ServiceMonitor", "ServingRuntime"}
"""What only a cluster knows that has somebody else's custom resources."""


@pytest.fixture(scope="session")
def distinct(rendered: Rendered) -> list[dict[str, Any]]:
    """Every object that somebody may apply, and of a custom resource its pods, which are most of it; each once."""
    found = {}
    for parts in SETS:
        objects = rendered(*parts)
        for each in objects:
            if each["kind"] not in CUSTOM:
                found[json.dumps(each)] = each
        for pod in pods([each for each in objects if each["kind"] in CUSTOM]):
            made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": pod.labels}, "spec": pod.spec}
            found[json.dumps(made)] = made
    return list(found.values())


@pytest.mark.parametrize("version", ["1.29", "1.31", "1.33", "1.35", "1.37"])
def test_objects_fit_the_schemas_of_kubernetes(distinct: list[dict[str, Any]], version: str) -> None:
    """From the oldest that k8s/ is said to need to the newest."""
    for each in distinct:
        assert kubernetes_validate.validate(each, version, strict=True) == version


def judged(by: str, objects: list[dict[str, Any]]) -> Any:  # noqa: ANN401  # JSON
    """What one of the scripts beside this says of the objects, in the environment that has the types."""
    script = Path(__file__).with_name(by)
    command = [ROOT / ".venv-kserve/bin/python", script]
    done = subprocess.run(command, input=json.dumps(objects), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_objects_of_kserve_fit_its_types(rendered: Rendered) -> None:
    """Those of KServe's own SDK."""
    objects = [each for each in rendered("overlays/kserve") if "kserve.io/" in each["apiVersion"]]
    assert judged("kserve_types.py", objects) == {"checked": ["InferenceService", "ServingRuntime"], "faults": []}


def test_objects_of_operators_fit_their_types(rendered: Rendered) -> None:
    """Those that were made of the schemas of Prometheus' operator and of KEDA: all that is written is known."""
    kinds = {"PrometheusRule", "ScaledObject", "ServiceMonitor"}
    objects = [each for each in rendered("base", "keda", "monitoring") if each["kind"] in kinds]
    assert {each["kind"] for each in objects} == kinds
    known = judged("operator_types.py", objects)
    for each in objects:
        if each["kind"] == "ScaledObject":
            # KEDA knows it since 2.17, and there are types of 2.16 only.
            newer = copy.deepcopy(each)
            assert newer["spec"]["fallback"].pop("behavior") == "currentReplicasIfHigher"
            assert newer in known
        else:
            assert each in known


def test_what_kserve_does_not_know_is_seen(rendered: Rendered) -> None:
    """At any depth: a field that is misspelt, a value of another type, no list where one belongs."""
    found = {each["kind"]: copy.deepcopy(each) for each in rendered("overlays/kserve")}
    runtime, service = found["ServingRuntime"], found["InferenceService"]
    runtime["spec"]["containers"][0]["readynessProbe"] = {}
    runtime["spec"]["volumes"] = {}
    service["spec"]["predictor"]["minReplicas"] = "2"
    assert sorted(judged("kserve_types.py", [runtime, service])["faults"]) == [
        "InferenceService/spec/predictor/minReplicas: no int",
        "ServingRuntime/spec/containers/0: readynessProbe is unknown",
        "ServingRuntime/spec/volumes: no list",
    ]
