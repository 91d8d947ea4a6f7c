"""The CronJob's own command, run for real: what it makes, and what its Job makes of how it ends."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.__main__ import _parser
from service.exits import REJECTED, USAGE
from tests.k8s.kustomize import ROOT, One


@pytest.fixture(scope="session")
def job(one: One) -> dict[str, Any]:
    """What each run is made of."""
    return dict(one("CronJob", "base", "batch")["spec"]["jobTemplate"]["spec"])


def score(job: dict[str, Any], volume: Path, name: str) -> int:
    """Run the container's command as a Job of this name would; the exit status."""
    (container,) = job["template"]["spec"]["containers"]
    (rows,) = [mount for mount in container["volumeMounts"] if mount["name"] == "rows"]
    arguments = [text.replace("$(JOB)", name).replace(rows["mountPath"], str(volume)) for text in container["args"]]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FORWARDPASS_")}
    given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(command, cwd=ROOT, env=clean | given, check=False).returncode


def test_each_run_has_an_output_of_its_own(job: dict[str, Any], tmp_path: Path) -> None:
    """Two Jobs over the same files replace nothing of each other."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/rows.csv").write_text("first_addend,second_addend,third_addend\n1,2,3\n")
    assert score(job, tmp_path, "monday") == 0
    first = (tmp_path / "monday.parquet").read_bytes()
    assert score(job, tmp_path, "tuesday") == 0
    assert (tmp_path / "tuesday.parquet").read_bytes() == first


def test_rejected_rows_fail_the_job_at_once_and_leave_the_output(job: dict[str, Any], tmp_path: Path) -> None:
    """No other try would change them, and one would be refused for the output that is there."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/rows.csv").write_text("first_addend,second_addend,third_addend\n1,2,3\n1,two,3\n")
    assert score(job, tmp_path, "monday") == REJECTED
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in", "monday.parquet", "monday.parquet.rejected.csv"]
    assert score(job, tmp_path, "monday") not in (0, REJECTED)

    (fail,) = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert fail["onExitCodes"] == {
        "containerName": job["template"]["spec"]["containers"][0]["name"],
        "operator": "In",
        "values": [USAGE, REJECTED],
    }
    (ignore,) = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "Ignore"]
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_every_try_of_a_run_has_the_same_output_and_no_two_runs_meet(one: One, job: dict[str, Any]) -> None:
    """It goes on where the one before it ended: by the name of the Job, a label of each of its pods."""
    (container,) = job["template"]["spec"]["containers"]
    options = _parser().parse_args(container["args"])
    assert options.resume
    assert "$(JOB)" in options.output
    (name,) = [each["valueFrom"] for each in container["env"] if each["name"] == "JOB"]
    assert name == {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-name']"}}
    assert one("CronJob", "base", "batch")["spec"]["concurrencyPolicy"] == "Forbid"
