"""An onnxruntime session: the only place that knows onnxruntime."""

import json
import os
from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np

from service.codec.tensors import DTYPES, Array
from service.errors import ComputeError, GoldenError, GraphError, SettingsError
from service.manifest import GOLDEN_TOLERANCE, VARIABLE, Datatype, Golden, ModelManifest, TensorSpec

# Read by onnxruntime when it is imported: its Linux wheels report their use to their maker otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

Arrays = tuple[Array, ...]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

_DATATYPES: dict[str, Datatype] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}

_TIMED_RUNS = 5
_TRIED_BATCHES = (2, 7, 64)


class Runtime:
    """A loaded graph that computes batches, proven on the model's golden rows where it has any.

    `graph` is the bytes of an ONNX file, `where` names it in errors. `threads` is how many a run may use; they
    do not spin while they wait. Raises `GraphError` for a graph that does not load or whose inputs and outputs
    are not the manifest's, `GoldenError` for other answers than the recorded ones, and `SettingsError` for a
    provider that this installation of onnxruntime lacks.
    """

    def __init__(  # noqa: PLR0913  # a model's three parts, and how to run it
        self,
        graph: bytes,
        manifest: ModelManifest,
        golden: Golden | None,
        where: str,
        *,
        provider: str = "cpu",
        threads: int = 1,
    ) -> None:
        self._session = _open_session(graph, where, provider, threads)
        self._where = where
        self._inputs = [spec.name for spec in manifest.inputs]
        self._outputs = [spec.name for spec in manifest.outputs]
        _compare(self._session.get_inputs(), manifest.inputs, f"{where}: input")
        _compare(self._session.get_outputs(), manifest.outputs, f"{where}: output")
        if golden is None:
            self._sample = tuple(_one_row(spec) for spec in manifest.inputs)
        else:
            self._sample = _golden_arrays(manifest.inputs, golden.inputs, where)
            _agree(manifest.outputs, self._prove(self._sample), golden, where)

    def run(self, arrays: Arrays) -> Arrays:
        """The outputs for the inputs, both in the manifest's order. Raises `ComputeError` where onnxruntime fails."""
        try:
            outputs: list[Array] = self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))
        except Exception as error:
            shapes = ", ".join(str(list(array.shape)) for array in arrays)
            raise ComputeError(f"onnxruntime fails on a batch of shape {shapes}: {_first_line(error)}") from error
        return tuple(outputs)

    def run_batch(self, parts: Sequence[tuple[Arrays, int, int]]) -> list[Arrays]:
        """The outputs for each part, all computed in one run.

        A part is arrays with the first of their rows that is meant and the one after the last. Raises
        `ComputeError` where onnxruntime fails or gives another number of rows.
        """
        columns = zip(*([array[start:stop] for array in arrays] for arrays, start, stop in parts), strict=True)
        stacked = tuple(column[0] if len(parts) == 1 else np.concatenate(column) for column in columns)
        outputs = self.run(stacked)
        rows = len(stacked[0])
        for name, output in zip(self._outputs, outputs, strict=True):
            if output.ndim == 0 or len(output) != rows:
                raise ComputeError(f"output {name!r} has shape {list(output.shape)} for a batch of {rows} rows")
        results, first = [], 0
        for _, start, stop in parts:
            last = first + stop - start
            results.append(tuple(output[first:last] for output in outputs))
            first = last
        return results

    @staticmethod
    def join(parts: Sequence[Arrays]) -> Arrays:
        """The outputs of one request from those of its consecutive parts.

        Raises `ComputeError` for a graph that gave them different shapes.
        """
        try:
            return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
        except ValueError as error:
            raise ComputeError(f"the outputs of one request's batches do not fit together: {error}") from None

    def seconds_for(self, rows: int) -> float:
        """How long a batch of so many rows takes, measured now: the fastest of a few runs.

        Raises `GraphError` for a graph that cannot compute a batch of this size.
        """
        arrays = self._repeated(rows)
        fastest = float("inf")
        for _ in range(_TIMED_RUNS):
            began = perf_counter()
            self._prove(arrays)
            fastest = min(fastest, perf_counter() - began)
        return fastest

    def keeps_rows_apart(self, largest: int) -> bool:
        """Whether a row of the sample is answered the same, to the last bit, alone and in batches up to `largest`.

        onnxruntime on a CPU gives that for most graphs, not for all: a recurrent one may add up in another order,
        a dynamically quantised one lets the batch set a row's scale.
        """
        rows = len(self._sample[0])
        alone = [self._prove(tuple(array[row : row + 1] for array in self._sample)) for row in range(rows)]
        for batch in sorted({size for size in _TRIED_BATCHES if size < largest} | {largest}):
            together = self._prove(self._repeated(batch))
            for row in range(batch):
                for output, expected in zip(together, alone[row % rows], strict=True):
                    if output[row : row + 1].tobytes() != expected.tobytes():
                        return False
        return True

    def _repeated(self, rows: int) -> Arrays:
        return tuple(np.resize(array, (rows, *array.shape[1:])) for array in self._sample)

    def _prove(self, arrays: Arrays) -> Arrays:
        """Run while the model is loaded, when a failure is the graph's fault."""
        try:
            return self.run(arrays)
        except ComputeError as error:
            raise GraphError(f"{self._where}: {error.message}") from error


def describe(graph: bytes, name: str, where: str) -> ModelManifest:
    """A manifest with all that an ONNX file says of itself: the names, datatypes and shapes of its tensors.

    Raises `GraphError` for a graph that does not load or has a tensor that no request could carry, `ManifestError`
    where no manifest can say what it has.
    """
    session = _open_session(graph, where, "cpu", 1)
    content = {
        "schema": 1,
        "name": name,
        "version": 1,
        "kind": "tensors",
        "inputs": [_spec(node, where) for node in session.get_inputs()],
        "outputs": [_spec(node, where) for node in session.get_outputs()],
    }
    return ModelManifest.parse(json.dumps(content).encode(), where)


def require_provider(provider: str) -> None:
    """Raise `SettingsError` where this installation of onnxruntime lacks the provider."""
    if PROVIDERS[provider] not in ort.get_available_providers():
        raise SettingsError(
            f"provider is {provider!r}, but the installed onnxruntime has no {PROVIDERS[provider]}: "
            f"install forwardpass[{provider}] in place of the other wheel"
        )


def _open_session(graph: bytes, where: str, provider: str, threads: int) -> ort.InferenceSession:
    require_provider(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors come back as exceptions, told once by whoever asked; warnings are for the graph's maker.
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(graph, options, providers=[PROVIDERS[provider]])
    except Exception as error:
        raise GraphError(f"{where}: onnxruntime cannot load the graph: {_first_line(error)}") from error
    # A provider that is installed but does not start here is left out by onnxruntime, which goes on without it.
    if PROVIDERS[provider] not in session.get_providers():
        raise GraphError(f"{where}: provider is {provider!r}, but onnxruntime cannot start it on this machine")
    return session


def _compare(nodes: Sequence[ort.NodeArg], specs: Sequence[TensorSpec], what: str) -> None:
    names = [node.name for node in nodes]
    if names != [spec.name for spec in specs]:
        raise GraphError(f"{what}s of the graph are {names}, of the manifest {[spec.name for spec in specs]}")
    for node, spec in zip(nodes, specs, strict=True):
        actual = (_DATATYPES.get(node.type, node.type), _shape(node))
        # A graph may leave open what the manifest fixes, not the other way round.
        fits = len(actual[1]) == len(spec.shape) and all(
            own in (VARIABLE, wanted) for own, wanted in zip(actual[1], spec.shape, strict=True)
        )
        if actual[0] != spec.datatype or not fits:
            said = f"{spec.datatype} {list(spec.shape)}"
            raise GraphError(
                f"{what} {spec.name!r} is {actual[0]} {list(actual[1])} in the graph, {said} in the manifest"
            )


def _spec(node: ort.NodeArg, where: str) -> dict[str, object]:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise GraphError(f"{where}: {node.name!r} is a {node.type}, which no request can carry")
    if not node.shape:
        raise GraphError(f"{where}: {node.name!r} is a scalar, of which no rows can be made")
    return {"name": node.name, "datatype": datatype, "shape": _shape(node)}


def _shape(node: ort.NodeArg) -> tuple[int, ...]:
    return tuple(length if isinstance(length, int) else VARIABLE for length in node.shape)


def _one_row(spec: TensorSpec) -> Array:
    return np.zeros([1 if length == VARIABLE else length for length in spec.shape], DTYPES[spec.datatype])


def _golden_arrays(specs: Sequence[TensorSpec], values: Mapping[str, Sequence[object]], where: str) -> Arrays:
    try:
        return tuple(np.array(values[spec.name], DTYPES[spec.datatype]) for spec in specs)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GoldenError(f"{where}: the golden rows do not fit the manifest: {error}") from None


def _agree(specs: Sequence[TensorSpec], outputs: Arrays, golden: Golden, where: str) -> None:
    """Raise unless |a - b| <= `GOLDEN_TOLERANCE` * max(1, |b|) for every recorded b; integers must be equal."""
    recorded = _golden_arrays(specs, golden.outputs, where)
    for spec, output, expected in zip(specs, outputs, recorded, strict=True):
        if expected.shape != output.shape:
            shapes = f"{list(output.shape)} where {list(expected.shape)} is recorded"
            raise GoldenError(f"{where}: the golden rows' output {spec.name!r} has shape {shapes}")
        agrees = output == expected
        if output.dtype.kind == "f":
            difference = np.abs(output.astype(np.float64) - expected.astype(np.float64))
            agrees |= difference <= GOLDEN_TOLERANCE * np.maximum(1.0, np.abs(expected))
        if not agrees.all():
            place = tuple(int(axis[0]) for axis in np.nonzero(~agrees))
            values = f"{output[place]} where {expected[place]} is recorded"
            raise GoldenError(f"{where}: output {spec.name!r} of golden row {place[0]} is {values}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
