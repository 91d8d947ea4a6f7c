"""The alerts: Prometheus' own tools check them, and try each on numbers that call for it and on some that do not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.config import PREFIX, Settings
from tests.k8s.kustomize import One
from tests.k8s.prometheus import find

Rules = list[dict[str, Any]]
TRIALS = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
ASKED = [
    asked
    for trial in TRIALS
    for test in yaml.safe_load(trial.read_text())["tests"]
    for asked in test["alert_rule_test"]
]
FIRED = [(asked["alertname"], alert["exp_labels"].keys()) for asked in ASKED for alert in asked.get("exp_alerts", ())]
"""The labels of each alert that is expected."""


@pytest.fixture(scope="module")
def rules(one: One) -> Rules:
    """The alerts."""
    (group,) = one("PrometheusRule", "base", "monitoring")["spec"]["groups"]
    return list(group["rules"])


def promtool(*arguments: str | Path, folder: Path) -> str:
    """What promtool says where it finds nothing wrong."""
    command = [find("promtool"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_rules(one: One, rules: Rules, tmp_path: Path) -> None:
    """All of them, as the operator hands them over."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(one("PrometheusRule", "base", "monitoring")["spec"]))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", "rules.yaml", folder=tmp_path)


def test_the_alerts_do_as_they_say(rules: Rules, tmp_path: Path) -> None:
    """On the numbers of each trial; of the texts these name the summary, which is filled in as the others are."""
    short = [rule | {"annotations": {"summary": rule["annotations"]["summary"]}} for rule in rules]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "forwardpass", "rules": short}]}))
    for trial in TRIALS:
        (tmp_path / trial.name).write_text(trial.read_text())
    promtool("test", "rules", *(trial.name for trial in TRIALS), folder=tmp_path)


def test_the_texts_of_an_alert_name_labels_that_it_has(rules: Rules) -> None:
    """Any other would be filled in with nothing."""
    for rule in rules:
        labels = {label for name, labels in FIRED if name == rule["alert"] for label in labels}
        for text in rule["annotations"].values():
            assert set(re.findall(r"\$labels\.(\w+)", text)) <= labels, rule["alert"]


def test_each_alert_is_tried_both_ways(rules: Rules) -> None:
    """One that cannot fire helps nobody, and one that cannot be silent is soon not looked at."""
    seen = {(asked["alertname"], bool(asked.get("exp_alerts"))) for asked in ASKED}
    assert seen == {(rule["alert"], fires) for rule in rules for fires in (True, False)}


def test_each_alert_says_what_to_do(rules: Rules) -> None:
    """How bad it is, for how long it has been so, what it means, and what helps."""
    for rule in rules:
        assert rule["labels"].keys() == {"severity"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"[1-9]\d*m", rule["for"])
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_the_settings_that_help_exist(rules: Rules) -> None:
    """What is advised can be done."""
    said = " ".join(rule["annotations"]["runbook"] for rule in rules)
    named = re.findall(rf"{PREFIX}([A-Z_]+)", said)
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
