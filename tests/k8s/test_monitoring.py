"""The dashboard, the alerts and the autoscaling ask for what the code has, of the pods that there are."""

import json
import re
from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from service.metrics import SECONDS
from tests.k8s.kustomize import FOLDER, One, Rendered
from tests.k8s.promql import CLOSED, TARGET, changes, groupings, page, selectors

PAGE = page()
DASHBOARD = json.loads((FOLDER / "components/monitoring/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
    for panel in PANELS
    for target in panel["targets"]
}


@pytest.fixture(scope="module")
def expressions(one: One) -> dict[str, str]:
    """Everything that is asked of Prometheus, by who asks."""
    (group,) = one("PrometheusRule", "base", "monitoring")["spec"]["groups"]
    (trigger, _) = one("ScaledObject", "base", "keda")["spec"]["triggers"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    return {**QUERIES, **rules, "keda": trigger["metadata"]["query"]}


def test_every_name_and_value_that_is_asked_for_is_one_of_the_code(expressions: dict[str, str]) -> None:
    """A metric or label that was renamed would leave a panel empty and an alert silent for ever."""
    for who, expression in expressions.items():
        for name, values in selectors(expression):
            assert name in PAGE, (who, name)
            assert values.keys() <= PAGE[name].keys() | TARGET, (who, name)
            for label in values.keys() & CLOSED:
                assert set(values[label]) <= PAGE[name][label], (who, name, label)
        for labels, inside in groupings(expression):
            for name, _ in inside:
                assert labels <= PAGE[name].keys() | TARGET, (who, name, labels)


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    """One that nobody sees may as well not be counted."""
    shown = {selector.name for query in QUERIES.values() for selector in selectors(query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in PAGE if name.startswith("forwardpass_")}
    assert ours <= families


def test_counters_are_only_looked_at_as_rates(expressions: dict[str, str]) -> None:
    """A pod that begins anew begins at zero: what adds up the counters themselves falls then."""
    # What these pods have loaded since they began, as the table says; and a series that was not there before.
    excepted = {"Versions C", "Versions D", "ForwardpassLoadFailed"}
    for who, expression in expressions.items():
        plain = Counter(selector.name for selector in selectors(expression))
        plain.subtract(selector.name for selector in changes(expression))
        counters = [name for name in plain.elements() if re.search(r"_(total|bucket|sum|count)$", name)]
        assert bool(counters) == (who in excepted), (who, counters)


def test_processes_of_others_are_left_out(expressions: dict[str, str]) -> None:
    """Whatever Prometheus looks at has such figures: only a job tells whose they are, and all jobs are all of ours."""
    for who, expression in expressions.items():
        for name, values in selectors(expression):
            assert name.startswith("forwardpass_") or "job" in values, (who, name)
    (job,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "job"]
    assert "forwardpass_ready" in job["query"]["query"]
    assert "allValue" not in job


def test_quantiles_are_of_all_pods_together(expressions: dict[str, str]) -> None:
    """The buckets are added up, not the quantiles of pods."""
    for who, expression in expressions.items():
        for place in re.finditer(r"histogram_quantile\(", expression):
            assert re.match(r"[\d.]+, sum by \((\w+, )?le\)", expression[place.end() :]), who


def test_panels_can_be_read() -> None:
    """Each says what it shows, in which unit, of which source, and none lies over another."""
    everything = DASHBOARD["panels"]
    assert [panel["id"] for panel in everything] == list(range(1, len(everything) + 1))
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
    cells = [{(x, y) for x in _span(panel, "x", "w") for y in _span(panel, "y", "h")} for panel in everything]
    assert all(first.isdisjoint(second) for first, second in combinations(cells, 2))
    width, height = 24, max(y for cell in cells for _, y in cell) + 1
    assert sum(map(len, cells)) == width * height


def test_legends_name_labels_that_a_query_leaves() -> None:
    """Any other would be empty, and the lines could not be told apart."""
    for panel in PANELS:
        for target in panel["targets"]:
            left = {
                label for labels, _ in groupings(QUERIES[f"{panel['title']} {target['refId']}"]) for label in labels
            }
            named = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            assert named <= left, panel["title"]
            if panel["type"] == "timeseries":
                assert named == left - {"le"}, panel["title"]


def _span(panel: dict[str, Any], start: str, length: str) -> range:
    place = panel["gridPos"]
    return range(place[start], place[start] + place[length])


def test_grafana_finds_the_dashboard(rendered: Rendered) -> None:
    """By the label that its sidecar looks for, under one name whatever stands in it."""
    maps = {each["metadata"]["name"]: each for each in rendered("base", "monitoring") if each["kind"] == "ConfigMap"}
    found = maps["forwardpass-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_prometheus_finds_the_pods(one: One) -> None:
    """The monitor selects the Service and a port of it, and gives the targets the job that is asked for."""
    spec = one("ServiceMonitor", "base", "monitoring")["spec"]
    service = one("Service", "base")
    labels = service["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert labels[spec["jobLabel"]] == "forwardpass"
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] == "/metrics"


def test_the_alert_of_slowness_has_a_bound_of_the_histogram(one: One) -> None:
    """What is between two bounds cannot be counted."""
    (group,) = one("PrometheusRule", "base", "monitoring")["spec"]["groups"]
    (slow,) = [rule["expr"] for rule in group["rules"] if rule["alert"] == "ForwardpassSlow"]
    (bound,) = re.findall(r'le="([^"]+)"', slow)
    assert float(bound) in SECONDS
