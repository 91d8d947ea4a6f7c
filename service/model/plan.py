"""How a model's requests become runs, decided by trying it out."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from service.errors import ComputeError, GraphError
from service.model.cost import CostCurve
from service.model.loading import Loaded
from service.model.runtime import Arrays
from service.model.trial import Trial, cost_of_whole, sample_of, try_batches

DependentRows = Literal["alone", "request", "mixed"]
"""What shares a run in a model of which a batch changes the answers: nothing, the rows of one request, or all rows."""

UNKNOWN = CostCurve([(1, 0.005)])
"""What a model is taken to cost that cannot be tried: more than the event loop should wait for."""


@dataclass(frozen=True)
class Plan:
    """How a model is run."""

    max_batch: int
    """Most rows of a run."""
    curve: CostCurve
    shared: bool
    """Whether rows of several requests share a run."""
    notes: tuple[str, ...] = ()
    """What is to be known of it, if anything is."""

    def key(self, arrays: Arrays) -> Hashable:
        """What two requests must have in common for their rows to share a run."""
        return tuple([array.shape[1:] for array in arrays]) if self.shared else object()


def plan(loaded: Loaded, limit: int, dependent_rows: DependentRows) -> Plan:
    """Try a model out and decide; no batch has more than `limit` rows.

    Raises `GraphError` for a graph that does not give a row for a row.
    """
    manifest, runtime = loaded.manifest, loaded.runtime
    limit = min(limit, manifest.max_batch or limit)
    sample = sample_of(runtime, manifest, loaded.rows)
    if sample is None:
        note = "it fails on zeros, so nothing is known of what it costs or whether rows keep apart"
        return Plan(1, UNKNOWN, shared=False, notes=(note,))
    try:
        if manifest.batching == "none":
            return Plan(1, cost_of_whole(runtime.run, sample), shared=False)
        alone = dependent_rows == "alone"
        trial = try_batches(runtime.run_batch, sample, limit, until_dependent=alone)
    except ComputeError as error:
        raise GraphError(f"{runtime.where}: {error.message}") from error
    return _for_rows(trial, dependent_rows)


def _for_rows(trial: Trial, dependent_rows: DependentRows) -> Plan:
    notes = []
    if trial.failed is not None:
        notes.append(f"it fails on a batch of {trial.failed} rows, so no run has more than {trial.largest}")
    if trial.difference is None:
        return Plan(trial.largest, trial.curve, shared=True, notes=tuple(notes))
    done = {
        "alone": "each row is computed by itself (FORWARDPASS_DEPENDENT_ROWS says otherwise)",
        "request": "only rows of one request are computed together, as FORWARDPASS_DEPENDENT_ROWS says",
        "mixed": "rows are computed together all the same, as FORWARDPASS_DEPENDENT_ROWS says",
    }[dependent_rows]
    notes.append(f"a row's answer depends on the batch{_by(trial.difference)}, so {done}")
    if dependent_rows == "alone":
        return Plan(1, trial.curve, shared=True, notes=tuple(notes))
    return Plan(trial.largest, trial.curve, shared=dependent_rows == "mixed", notes=tuple(notes))


def _by(difference: float) -> str:
    return "" if difference == float("inf") else f", by up to {difference:.2g}"
