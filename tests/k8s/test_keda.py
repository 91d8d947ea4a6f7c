"""The autoscaling on what waits, in place of the base's."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.kustomize import One
from tests.k8s.prometheus import find


@pytest.fixture(scope="module")
def spec(one: One) -> dict[str, Any]:
    """What KEDA is told."""
    found: dict[str, Any] = one("ScaledObject", "base", "keda")["spec"]
    return found


def test_it_scales_within_the_bounds_of_the_base_and_takes_its_autoscaler_over(one: One, spec: dict[str, Any]) -> None:
    """The same Deployment, the same least and most, the same measure of CPU."""
    autoscaler = one("HorizontalPodAutoscaler", "base")
    base = autoscaler["spec"]
    assert spec["scaleTargetRef"]["name"] == base["scaleTargetRef"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (base["minReplicas"], base["maxReplicas"])
    assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    assert spec["advanced"] == {"horizontalPodAutoscalerConfig": {"name": autoscaler["metadata"]["name"]}}
    (metric,) = base["metrics"]
    (_, cpu) = spec["triggers"]
    assert cpu["type"] == metric["resource"]["name"]
    assert (cpu["metricType"], cpu["metadata"]["value"]) == (
        "AverageValue",
        metric["resource"]["target"]["averageValue"],
    )


def test_the_autoscaler_that_is_there_is_taken_over(one: One) -> None:
    """Where the base ran before, KEDA would else refuse to make another for the same Deployment."""
    annotations = one("ScaledObject", "base", "keda")["metadata"]["annotations"]
    assert annotations == {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}


def test_the_rate_that_is_asked_for_has_samples(one: One, spec: dict[str, Any]) -> None:
    """Four in its window, so that a scrape may be missing."""
    (endpoint,) = one("ServiceMonitor", "base", "monitoring")["spec"]["endpoints"]
    (trigger, _) = spec["triggers"]
    assert "[1m]" in trigger["metadata"]["query"]
    assert 4 * int(endpoint["interval"].removesuffix("s")) <= 60


def test_what_waits_is_shared_out_among_the_pods(spec: dict[str, Any]) -> None:
    """So many for each of them, by a number that KEDA knows by its name."""
    (trigger, _) = spec["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold", "ignoreNullValues"}
    assert float(trigger["metadata"]["threshold"]) > 1


def test_all_that_a_trigger_is_told_is_text(spec: dict[str, Any]) -> None:
    """KEDA takes nothing else."""
    assert all(isinstance(value, str) for trigger in spec["triggers"] for value in trigger["metadata"].values())


WAITING = 'forwardpass_phase_duration_seconds_sum{job="forwardpass", phase="queue", pod="%s"}'
COMPUTING = WAITING.replace("queue", "compute")
UP = 'up{job="forwardpass", pod="%s"}'


@pytest.mark.parametrize(
    ("series", "waiting"),
    [
        pytest.param(
            {WAITING % "a": "0+150x20", WAITING % "b": "0+60x20", COMPUTING % "a": "0+9x20", UP % "a": "1x20"},
            [14.0],
            id="ten on one pod and four on the other, at each moment",
        ),
        pytest.param({WAITING % "a": "600+150x10 0+150x10", UP % "a": "1x20"}, [10.0], id="a pod that began anew"),
        pytest.param({UP % "a": "1x20", UP % "b": "0x20"}, [0.0], id="nobody was ever asked"),
        pytest.param({UP % "a": "0x20"}, [], id="no pod is seen"),
        pytest.param({}, [], id="there is no pod"),
    ],
)
def test_what_is_asked_for_is_how_many_wait(
    spec: dict[str, Any], series: dict[str, str], waiting: list[float], tmp_path: Path
) -> None:
    """Of all pods together, whatever else they do; nothing, which KEDA takes for a failure, where none is seen."""
    (trigger, _) = spec["triggers"]
    expected = [{"labels": "{}", "value": value} for value in waiting]
    ask = {"expr": trigger["metadata"]["query"], "eval_time": "5m", "exp_samples": expected}
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "15s", "input_series": given, "promql_expr_test": [ask]}
    # JSON is YAML.
    (tmp_path / "trial.yaml").write_text(json.dumps({"tests": [test]}))
    command = [find("promtool"), "test", "rules", "trial.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trigger["metadata"]["ignoreNullValues"] == "false"
