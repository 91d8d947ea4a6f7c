"""Whether a loaded graph is what its manifest says: the same tensors, the recorded answers to the golden rows."""

from collections.abc import Mapping, Sequence

import numpy as np

from service.codec.tensors import DTYPES
from service.errors import ComputeError, GoldenError, GraphError
from service.manifest import GOLDEN_TOLERANCE, VARIABLE, Golden, ModelManifest, TensorSpec
from service.model.runtime import Arrays, Runtime, Tensor


def prove(runtime: Runtime, manifest: ModelManifest, golden: Golden | None) -> Arrays | None:
    """The golden rows, now proven; None where there are none.

    Raises `GraphError` for a graph whose inputs and outputs are not the manifest's or that fails on the golden
    rows, `GoldenError` for other answers than the recorded ones.
    """
    where = runtime.where
    by_row = manifest.batching == "rows" and manifest.max_batch == 1
    _compare(runtime.inputs, manifest.inputs, f"{where}: input", by_row=by_row)
    _compare(runtime.outputs, manifest.outputs, f"{where}: output", by_row=by_row)
    if golden is None:
        return None
    rows = _arrays(manifest.inputs, golden.inputs, where)
    if manifest.batching == "rows" and not len(rows[0]):
        raise GoldenError(f"{where}: there are no golden rows in the file that should hold some")
    recorded = _arrays(manifest.outputs, golden.outputs, where)
    try:
        if manifest.batching == "none":
            answers = runtime.run(rows)
        else:
            answers = runtime.run_rows(rows, manifest.max_batch or len(rows[0]))
    except ComputeError as error:
        raise GraphError(f"{where}: {error.message}") from error
    _agree(manifest.outputs, answers, recorded, where)
    return rows


def _compare(tensors: Sequence[Tensor], specs: Sequence[TensorSpec], what: str, *, by_row: bool) -> None:
    names = [tensor.name for tensor in tensors]
    if names != [spec.name for spec in specs]:
        raise GraphError(f"{what}s of the graph are {names}, of the manifest {[spec.name for spec in specs]}")
    for tensor, spec in zip(tensors, specs, strict=True):
        shape = [length if isinstance(length, int) else VARIABLE for length in tensor.shape]
        # A graph may leave open what the manifest fixes, not the other way round; but for a batch of one row, where
        # no run has more.
        allowed = [{VARIABLE, wanted} for wanted in spec.shape]
        if by_row:
            allowed[0].add(1)
        fits = len(shape) == len(allowed) and all(own in some for own, some in zip(shape, allowed, strict=True))
        if tensor.datatype != spec.datatype or not fits:
            said = f"{spec.datatype} {list(spec.shape)}"
            raise GraphError(f"{what} {spec.name!r} is {tensor.datatype} {shape} in the graph, {said} in the manifest")


def _arrays(specs: Sequence[TensorSpec], values: Mapping[str, object], where: str) -> Arrays:
    try:
        arrays = tuple(np.array(values[spec.name], DTYPES[spec.datatype]) for spec in specs)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GoldenError(f"{where}: the golden rows do not fit the manifest: {error}") from None
    for spec, array in zip(specs, arrays, strict=True):
        if array.ndim != len(spec.shape) or (spec.datatype == "BYTES" and not _is_text(array.ravel().tolist())):
            raise GoldenError(f"{where}: the golden rows do not fit the manifest: {spec.name!r}")
    return arrays


def _is_text(elements: Sequence[object]) -> bool:
    return all(isinstance(element, str) for element in elements)


def _agree(specs: Sequence[TensorSpec], outputs: Arrays, recorded: Arrays, where: str) -> None:
    """Raise unless |a - b| <= `GOLDEN_TOLERANCE` * max(1, |b|) for every recorded float b; all else must be equal."""
    for spec, output, expected in zip(specs, outputs, recorded, strict=True):
        if expected.shape != output.shape:
            shapes = f"{list(output.shape)} where {list(expected.shape)} is recorded"
            raise GoldenError(f"{where}: the golden rows' output {spec.name!r} has shape {shapes}")
        agrees = np.asarray(output == expected)
        if output.dtype.kind == "f":
            difference = np.abs(output.astype(np.float64) - expected.astype(np.float64))
            agrees = agrees | (difference <= GOLDEN_TOLERANCE * np.maximum(1.0, np.abs(expected)))
        if not agrees.all():
            place = tuple(int(axis[0]) for axis in np.nonzero(~agrees))
            values = f"{output[place]} where {expected[place]} is recorded"
            raise GoldenError(f"{where}: output {spec.name!r} of golden row {place[0] if place else 0} is {values}")
