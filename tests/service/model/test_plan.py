"""Behaviour of service.model.plan."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from onnx import helper

from service.errors import GraphError
from service.manifest import Golden
from service.model.loading import Loaded
from service.model.plan import DependentRows, Plan, plan
from service.model.proof import prove
from service.model.runtime import Runtime
from tests.service.conftest import ODD, SAMPLES, Sample, golden_of, graph_of, manifest_of, sample_of, tensor


def planned(name: str, limit: int = 64, **options: Any) -> Plan:  # noqa: ANN401  # a plan's own options
    """How a published sample is run."""
    sample = sample_of(name)
    runtime, manifest = Runtime(graph_of(sample), name), manifest_of(name, sample)
    golden = golden_of(name)
    options = {"dependent_rows": "alone"} | options
    return plan(Loaded(manifest, runtime, golden, prove(runtime, manifest, golden)), limit, **options)


def of_graph(sample: Sample, dependent_rows: DependentRows = "alone") -> Plan:
    """How a graph without golden rows is run."""
    return plan(Loaded(manifest_of("model", sample), Runtime(graph_of(sample), "model")), 64, dependent_rows)


def test_rows_that_keep_apart_share_a_run() -> None:
    """Those of any requests with the same shapes, and there is nothing to tell."""
    found = planned("tokens")
    assert (found.max_batch > 1, found.shared, found.notes) == (True, True, ())
    two, three = np.zeros((5, 2), np.int64), np.zeros((1, 3), np.int64)
    assert found.key((two,)) == found.key((two[:1],)) != found.key((three,))


def test_rows_of_one_shape_have_one_key() -> None:
    """It is the same object for every request: nothing is computed on its way."""
    found = planned("pair")
    keys = [found.key((np.zeros((rows, 2), np.float32), np.zeros((rows, 1), np.int64))) for rows in (1, 5)]
    assert keys[0] is keys[1]
    assert found.seconds(4, keys[0]) == found.curve.seconds(4)


@pytest.mark.parametrize("mode", ["alone", "request", "mixed"])
def test_longer_rows_are_predicted_to_take_longer(mode: str) -> None:
    """As many times as they have more elements than those that were tried; shorter ones take no less."""
    for name, dtype, shape, tried in (
        ("tokens", np.int64, (), 3),
        ("late", np.float32, (2,), 2),
        ("quantised_words", np.int64, (), 2),
    ):
        found = planned(name, dependent_rows=mode)
        for length, factor in ((1, 1), (tried, 1), (10 * tried, 10), (400_000 * tried, 400_000)):
            # Nothing of it is ever written to: it has its length alone.
            key = found.key((np.broadcast_to(dtype(0), (2, length, *shape)),))
            assert found.seconds(2, key) == pytest.approx(factor * found.curve.seconds(2))
            assert found.seconds(3, key) >= found.seconds(2, key)


def test_a_longer_request_is_predicted_to_take_longer_where_it_is_a_run() -> None:
    """All of it counts, its first length too."""
    found = of_graph(ODD["late"])
    (shortest, longest) = (found.key((np.zeros(shape, np.float32),)) for shape in ((1, 3, 2), (10, 6, 2)))
    assert found.seconds(1, longest) == pytest.approx(20 * found.seconds(1, shortest))
    assert found.key((np.zeros((1, 3, 2), np.float32),)) != shortest


def test_the_input_that_grows_most_counts() -> None:
    """A large one of fixed shape beside it does not hide it."""
    found = of_graph(
        Sample(
            inputs=(tensor("image", "FP32", 1000), tensor("ids", "INT64", -1)),
            outputs=(tensor("same", "FP32", 1000), tensor("own", "INT64", -1)),
            nodes=[
                helper.make_node("Identity", ["image"], ["same"]),
                helper.make_node("Identity", ["ids"], ["own"]),
            ],
            rows={},
        )
    )
    key = found.key((np.zeros((1, 1000), np.float32), np.zeros((1, 300), np.int64)))
    assert found.seconds(1, key) == pytest.approx(100 * found.curve.seconds(1))


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


@pytest.mark.parametrize("name", ["quantised", "quantised_words", "centred", "flags", "late"])
@pytest.mark.parametrize("golden", [True, False])
def test_rows_of_any_datatype_and_length_are_kept_apart(name: str, *, golden: bool) -> None:
    """Whether or not there are golden rows that differ; a graph alone gets each request as it came."""
    found = planned(name) if golden else of_graph(ODD[name])
    assert (found.max_batch, found.shared) == (1, golden)
    assert found.manifest.batching == ("rows" if golden else "none")
    (note,) = found.notes
    assert note.startswith("a row's answer depends on the batch, by up to ")
    assert ("each row is computed by itself" if golden else "each request is a run by itself") in note


@pytest.mark.parametrize(("mode", "shared"), [("request", False), ("mixed", True)])
def test_a_graph_alone_keeps_its_rows_where_the_operator_says_so(mode: DependentRows, *, shared: bool) -> None:
    """Then they are computed as those of a published model."""
    found = of_graph(ODD["centred"], mode)
    assert (found.manifest.batching, found.shared) == ("rows", shared)


UNTRIED = "it takes no two rows to try it with that differ, and a row's answer may depend on the batch, so "


@pytest.mark.parametrize(
    ("mode", "batching", "shared", "said"),
    [
        ("alone", "none", False, "each request is a run by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)"),
        (
            "request",
            "rows",
            False,
            "only rows of one request are computed together, as FORWARDPASS_DEPENDENT_ROWS says",
        ),
        ("mixed", "rows", True, "rows are computed together all the same, as FORWARDPASS_DEPENDENT_ROWS says"),
    ],
)
def test_rows_that_could_not_be_told_apart_are_taken_to_depend(
    mode: DependentRows, batching: str, said: str, *, shared: bool
) -> None:
    """A graph that takes nothing but zeros shows nothing, and that is told."""
    sample = dataclasses.replace(SAMPLES["lookup"], constants={"table": np.zeros(1, np.float32)})
    found = of_graph(sample, mode)
    assert (found.manifest.batching, found.shared, found.notes) == (batching, shared, (UNTRIED + said,))


def test_golden_rows_that_are_all_alike_are_taken_to_depend() -> None:
    """Each row of a published model is then computed by itself."""
    sample = dataclasses.replace(SAMPLES["lookup"], constants={"table": np.zeros(1, np.float32)})
    runtime, manifest = Runtime(graph_of(sample), "model"), manifest_of("model", sample)
    golden = Golden(inputs={"index": [[0], [0]]}, outputs={"entry": [[0.0], [0.0]]})
    found = plan(Loaded(manifest, runtime, golden, prove(runtime, manifest, golden)), 64, "alone")
    assert (found.manifest, found.max_batch) == (manifest, 1)
    assert found.notes == (f"{UNTRIED}each row is computed by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)",)


def test_a_request_that_must_be_whole_has_a_limit_of_its_own() -> None:
    """The largest request, not the largest batch; where a graph fails on more, what it takes."""
    found = planned("quantised", limit=4, dependent_rows="request", max_request=5000)
    assert (found.max_batch, found.max_request) == (5000, 5000)
    assert planned("quantised", limit=4, dependent_rows="request").max_request == 4
    for other in (planned("quantised", max_request=5000), planned("line", dependent_rows="request", max_request=5000)):
        assert (other.max_request, other.max_batch <= 64) == (None, True)
    # Half of its graph takes any number of rows, the other half no more than three.
    most = dataclasses.replace(
        ODD["quantised"],
        nodes=[
            *ODD["quantised"].nodes[:-1],
            helper.make_node("Mul", ["floats", "scale"], ["product"]),
            helper.make_node("Shape", ["product"], ["shape"], start=0, end=1),
            helper.make_node("ReduceSum", ["shape"], ["rows"], keepdims=0),
            helper.make_node("Gather", ["table", "rows"], ["entry"]),
            helper.make_node("Add", ["product", "entry"], ["filtered"]),
        ],
        constants=dict(ODD["quantised"].constants) | {"table": np.zeros(4, np.float32)},
    )
    found = plan(Loaded(manifest_of("model", most), Runtime(graph_of(most), "model")), 64, "request", 5000)
    assert (found.max_batch, found.max_request) == (3, 3)
    assert found.notes[0] == "it fails on a batch of 4 rows, so no run has more than 3"


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
