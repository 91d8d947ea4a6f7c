"""Behaviour of service.model.plan."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from onnx import helper

from service.errors import GraphError
from service.model.loading import Loaded
from service.model.plan import Plan, plan
from service.model.proof import prove
from service.model.runtime import Runtime
from tests.service.conftest import SAMPLES, Sample, golden_of, graph_of, manifest_of, sample_of


def planned(name: str, limit: int = 64, **options: Any) -> Plan:  # noqa: ANN401  # a plan's own options
    """How a published sample is run."""
    sample = sample_of(name)
    runtime, manifest = Runtime(graph_of(sample), name), manifest_of(name, sample)
    golden = golden_of(name)
    options = {"dependent_rows": "alone"} | options
    return plan(Loaded(manifest, runtime, golden, prove(runtime, manifest, golden)), limit, **options)


def of_graph(sample: Sample) -> Plan:
    """How a graph without golden rows is run."""
    return plan(Loaded(manifest_of("model", sample), Runtime(graph_of(sample), "model")), 64, "alone")


def test_rows_that_keep_apart_share_a_run() -> None:
    """Those of any requests with the same shapes, and there is nothing to tell."""
    found = planned("tokens")
    assert (found.max_batch > 1, found.shared, found.notes) == (True, True, ())
    two, three = np.zeros((5, 2), np.int64), np.zeros((1, 3), np.int64)
    assert found.key((two,)) == found.key((two[:1],)) != found.key((three,))


@pytest.mark.parametrize(
    ("mode", "together", "shared", "said"),
    [
        ("alone", False, True, "so each row is computed by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)"),
        ("request", True, False, "so only rows of one request are computed together, as FORWARDPASS_DEPENDENT_ROWS"),
        ("mixed", True, True, "so rows are computed together all the same, as FORWARDPASS_DEPENDENT_ROWS says"),
    ],
)
def test_rows_that_a_batch_changes_are_run_as_the_operator_says(
    mode: str, said: str, *, together: bool, shared: bool
) -> None:
    """By themselves, where nothing is said; what is done and why is told."""
    found = planned("quantised", dependent_rows=mode)
    assert (found.max_batch > 1, found.shared) == (together, shared)
    (note,) = found.notes
    assert note.startswith("a row's answer depends on the batch, by up to 0.")
    assert said in note


def test_requests_that_may_not_share_a_run_have_nothing_in_common() -> None:
    """Not even a request with itself, sent again."""
    found = planned("quantised", dependent_rows="request")
    rows = (np.zeros((1, 4), np.float32),)
    assert len({found.key(rows) for _ in range(5)}) == 5


def test_a_graph_of_one_row_at_a_time_gets_no_more() -> None:
    """The manifest's limit holds below the server's, and the server's below the manifest's."""
    assert planned("fixed").max_batch == 1
    assert planned("line", limit=1).max_batch == 1


def test_a_request_that_is_a_run_shares_it_with_none() -> None:
    """Its cost is known."""
    found = planned("whole")
    assert (found.max_batch, found.shared, found.notes) == (1, False, ())
    assert 0 < found.curve.seconds(1) < 1


def test_a_graph_that_fails_on_zeros_is_run_all_the_same() -> None:
    """What is not known is said, and it is taken for slow."""
    found = of_graph(dataclasses.replace(SAMPLES["lookup"], constants={"table": np.zeros(0, np.float32)}))
    assert (found.max_batch, found.shared) == (1, False)
    assert found.curve.seconds(1) >= 0.001
    assert found.notes == ("it fails on zeros, so nothing is known of what it costs or whether rows keep apart",)


def test_a_graph_that_fails_on_batches_gets_none() -> None:
    """A shape that was written into the graph shows only when it runs."""
    sample = dataclasses.replace(
        SAMPLES["line"],
        nodes=[
            helper.make_node("Reshape", ["point", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["value"]),
        ],
        constants=dict(SAMPLES["line"].constants) | {"shape": np.array([1, 2], np.int64)},
    )
    found = of_graph(sample)
    assert found.max_batch == 1
    assert found.notes == ("it fails on a batch of 2 rows, so no run has more than 1",)


def test_a_graph_that_gives_no_row_for_a_row_is_refused() -> None:
    """Its answers could not be told apart."""
    sample = dataclasses.replace(
        SAMPLES["vote"], nodes=[helper.make_node("Concat", ["score", "score"], ["probability"], axis=0)]
    )
    with pytest.raises(GraphError, match=r"model: output 'probability' has shape \[2, 1\] for a batch of 1 rows"):
        of_graph(sample)
