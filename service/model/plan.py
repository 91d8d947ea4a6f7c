"""How a model's requests become runs, decided by trying it out."""

from collections.abc import Hashable
from dataclasses import dataclass
from math import prod
from typing import Literal, cast

from service.errors import ComputeError, GraphError
from service.manifest import VARIABLE, ModelManifest
from service.model.cost import CostCurve
from service.model.loading import Loaded
from service.model.runtime import Arrays
from service.model.sample import first_rows, sample_of
from service.model.trial import Trial, cost_of_whole, try_batches

DependentRows = Literal["alone", "request", "mixed"]
"""What shares a run in a model of which a batch changes the answers: nothing, the rows of one request, or all rows."""

UNKNOWN = CostCurve([(1, 0.005)])
"""What a model is taken to cost that cannot be tried: more than the event loop should wait for."""

_Key = tuple[tuple[tuple[int, ...], ...], object]
"""The shapes of a request's rows, and what sets it apart from all other requests, if anything does."""

_ANY: Hashable = "any"
"""The key of all requests to a model of which all rows have one shape."""


@dataclass(frozen=True)
class Plan:
    """How a model is run."""

    manifest: ModelManifest
    """The model's, but without batches where its rows had better not be told apart."""
    max_batch: int
    """Most rows of a run."""
    curve: CostCurve
    """What runs of the rows cost that were tried."""
    shared: bool
    """Whether rows of several requests share a run."""
    tried: tuple[int, ...] | None = None
    """The elements of such a row, of each input; None where rows have one shape or nothing is known of them."""
    max_request: int | None = None
    """Most rows of a request, where they must all be in one run."""
    notes: tuple[str, ...] = ()
    """What is to be known of it, if anything is."""

    def key(self, arrays: Arrays) -> Hashable:
        """What two requests must have in common for their rows to share a run."""
        if self.tried is None:
            return _ANY if self.shared else object()
        if self.manifest.batching == "none":
            return tuple([array.shape for array in arrays]), object()
        return tuple([array.shape[1:] for array in arrays]), None if self.shared else object()

    def seconds(self, rows: int, key: Hashable) -> float:
        """What a run of so many rows with this key takes: never less than one of fewer rows.

        A row with more elements than those that were tried is taken to cost as many times as much.
        """
        seconds = self.curve.seconds(rows)
        if self.tried is None:
            return seconds
        shapes, _ = cast("_Key", key)
        factor = 1.0
        for shape, tried in zip(shapes, self.tried, strict=True):
            factor = max(factor, prod(shape) / tried)
        return seconds * factor


def plan(loaded: Loaded, limit: int, dependent_rows: DependentRows, max_request: int | None = None) -> Plan:
    """Try a model out and decide.

    No batch has more than `limit` rows, but for requests that must be computed whole: these may have `max_request`.
    Raises `GraphError` for a graph that does not give a row for a row.
    """
    manifest, runtime = loaded.manifest, loaded.runtime
    sample = sample_of(runtime, manifest, loaded.rows)
    if sample is None:
        note = "it fails on zeros, so nothing is known of what it costs or whether rows keep apart"
        return Plan(manifest, 1, UNKNOWN, shared=False, notes=(note,))
    if manifest.batching == "none":
        return Plan(manifest, 1, cost_of_whole(runtime.run, sample), shared=False, tried=_tried(manifest, sample))
    most = manifest.max_batch or max(limit, max_request or limit)
    try:
        trial = try_batches(runtime.run_batch, sample, min(limit, most), until_dependent=dependent_rows == "alone")
    except ComputeError as error:
        raise GraphError(f"{runtime.where}: {error.message}") from error
    runtime.give_back(first_rows(sample, 1))
    return _for_rows(loaded, trial, sample, dependent_rows, most)


def _for_rows(loaded: Loaded, trial: Trial, sample: Arrays, dependent_rows: DependentRows, most: int) -> Plan:
    manifest, tried = loaded.manifest, _tried(loaded.manifest, sample)
    notes: tuple[str, ...] = ()
    if trial.failed is not None:
        notes = (f"it fails on a batch of {trial.failed} rows, so no run has more than {trial.largest}",)
        most = trial.largest
    doubt = _doubt(trial)
    if not doubt:
        return Plan(manifest, trial.largest, trial.curve, shared=True, tried=tried, notes=notes)
    if dependent_rows == "alone" and loaded.golden is None:
        # Nobody but the graph says what its rows are: what it makes of a request is the answer.
        whole = manifest.model_copy(update={"batching": "none"})
        notes = (f"{doubt}, so each request is a run by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)",)
        curve = CostCurve([(1, trial.curve.seconds(1))])
        return Plan(whole, 1, curve, shared=False, tried=_tried(whole, first_rows(sample, 1)), notes=notes)
    done = {
        "alone": "each row is computed by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)",
        "request": "only rows of one request are computed together, as FORWARDPASS_DEPENDENT_ROWS says",
        "mixed": "rows are computed together all the same, as FORWARDPASS_DEPENDENT_ROWS says",
    }[dependent_rows]
    notes = (*notes, f"{doubt}, so {done}")
    if dependent_rows == "request":
        return Plan(manifest, most, trial.curve, shared=False, tried=tried, max_request=most, notes=notes)
    largest = 1 if dependent_rows == "alone" else trial.largest
    return Plan(manifest, largest, trial.curve, shared=True, tried=tried, notes=notes)


def _doubt(trial: Trial) -> str:
    """Why rows had better not be mixed; empty where they may be."""
    if trial.difference is not None:
        by = "" if trial.difference == float("inf") else f", by up to {trial.difference:.2g}"
        return f"a row's answer depends on the batch{by}"
    if trial.differing or trial.largest == 1:
        return ""
    return "it takes no two rows to try it with that differ, and a row's answer may depend on the batch"


def _tried(manifest: ModelManifest, sample: Arrays) -> tuple[int, ...] | None:
    """The elements of a row of each input, where requests choose how many they are; of a whole request all of them."""
    first = 0 if manifest.batching == "none" else 1
    if not any(VARIABLE in spec.shape[first:] for spec in manifest.inputs):
        return None
    return tuple(max(1, prod(array.shape[first:])) for array in sample)
