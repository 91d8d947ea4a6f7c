"""An onnxruntime session: the only place that knows onnxruntime."""

import ctypes
import logging
import os
import re
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from service.codec.tensors import DTYPES, Array
from service.errors import ComputeError, GraphError, SettingsError
from service.manifest import Datatype
from service.model.graph_file import files_beside, files_of_parts
from service.model.sealed import Sealed

# Read by onnxruntime when it is imported: its Linux wheels report their use to their maker otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

Arrays = tuple[Array, ...]

Part = tuple[Arrays, int, int]
"""Arrays, the first of their rows that is meant, and the one after the last."""

logger = logging.getLogger(__name__)

VERSION: str = ort.__version__
"""Of onnxruntime."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

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
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}

_ONNX_BFLOAT16 = 16

_FATAL = 4
"""The least severity that onnxruntime logs by itself: errors come back as exceptions, told once by whoever asked."""

_DRIVER = "libcuda.so.1"

_CUDA_FAILURE = re.compile(r"\bCU[A-Z]+ failure \d+: [^;]+")
"""What CUDA or one of its libraries says, amid the signatures of the functions that it failed in."""


class Tensor(NamedTuple):
    """An input or output as the graph declares it. A length is a number, a symbol, or None where nothing is said."""

    name: str
    datatype: Datatype
    shape: tuple[int | str | None, ...]


class Runtime:
    """A loaded graph that computes.

    `graph` is an ONNX file or its bytes; only a file has beside it the weights that some graphs keep in another.
    `where` names it in errors. `threads` is how many a run may use; they do not spin while they wait. `inputs` and
    `outputs` are the tensors of a run: a weight that could be given too is none. Raises `GraphError` for a graph
    that does not load or has a tensor that no request could carry, and `SettingsError` for a provider that cannot
    be had here.
    """

    def __init__(self, graph: Sealed | bytes | Path, where: str, *, provider: str = "cpu", threads: int = 1) -> None:
        self._session = _open_session(graph, where, provider, threads)
        self.where = where
        self.inputs = tuple(_tensor(node, where) for node in self._session.get_inputs())
        self.outputs = tuple(_tensor(node, where) for node in self._session.get_outputs())
        self._input_names = [tensor.name for tensor in self.inputs]
        self._output_names = [tensor.name for tensor in self.outputs]
        datatypes = {tensor.datatype for tensor in self.inputs + self.outputs}
        self._binds = "BF16" in datatypes
        if self._binds and "BYTES" in datatypes:
            raise GraphError(f"{where}: it has strings beside BF16, which onnxruntime takes only apart")

    def run(self, arrays: Arrays, options: ort.RunOptions | None = None) -> Arrays:
        """The outputs for the inputs, both in the graph's order. Raises `ComputeError` where onnxruntime fails."""
        try:
            if self._binds:
                return self._run_bound(arrays, options)
            outputs: list[Array] = self._session.run(
                self._output_names, dict(zip(self._input_names, arrays, strict=True)), options
            )
        except Exception as error:
            shapes = ", ".join(str(list(array.shape)) for array in arrays)
            raise ComputeError(f"onnxruntime fails on a batch of shape {shapes}: {_first_line(error)}") from error
        return tuple(outputs)

    def run_batch(self, arrays: Arrays) -> Arrays:
        """The outputs for a batch; raises `ComputeError` where onnxruntime fails or gives another number of rows."""
        outputs = self.run(arrays)
        rows = len(arrays[0])
        for name, output in zip(self._output_names, outputs, strict=True):
            if output.ndim == 0 or len(output) != rows:
                raise ComputeError(f"output {name!r} has shape {list(output.shape)} for a batch of {rows} rows")
        return outputs

    def run_rows(self, arrays: Arrays, max_batch: int) -> Arrays:
        """The outputs for any number of rows, computed in batches of at most `max_batch`; raises as `run_batch`."""
        starts = range(0, len(arrays[0]), max_batch)
        return join([self.run_batch(tuple(array[at : at + max_batch] for array in arrays)) for at in starts])

    def give_back(self, arrays: Arrays) -> None:
        """Run once more, and give back what memory larger runs have needed, which onnxruntime would keep."""
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # On a machine where it keeps none it fails.
        with suppress(ComputeError):
            self.run(arrays, options)

    def _run_bound(self, arrays: Arrays, options: ort.RunOptions | None) -> Arrays:
        """Run by way of onnxruntime's own values: numpy has no BF16, so neither has the plain way."""
        binding = self._session.io_binding()
        values = [_value(tensor, array) for tensor, array in zip(self.inputs, arrays, strict=True)]
        for name, value in zip(self._input_names, values, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in self._output_names:
            # To memory that can be read here, wherever it is computed.
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, options)
        return tuple(_array(value) for value in binding.get_outputs())


def stack(parts: Sequence[Part]) -> Arrays:
    """The rows of all parts, one after the other."""
    if len(parts) == 1:
        arrays, start, stop = parts[0]
        return tuple([array[start:stop] for array in arrays])
    places = range(len(parts[0][0]))
    return tuple([np.concatenate([arrays[at][start:stop] for arrays, start, stop in parts]) for at in places])


def split(outputs: Arrays, parts: Sequence[Part]) -> list[Arrays]:
    """What belongs to each part of the outputs for all of them stacked."""
    results, first = [], 0
    for _, start, stop in parts:
        last = first + stop - start
        results.append(tuple([output[first:last] for output in outputs]))
        first = last
    return results


def join(parts: Sequence[Arrays]) -> Arrays:
    """The outputs of one request from those of its consecutive parts.

    Raises `ComputeError` for a graph that gave them different shapes.
    """
    try:
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    except ValueError as error:
        raise ComputeError(f"the outputs of one request's batches do not fit together: {error}") from None


def provider_names() -> list[str]:
    """The providers that this installation of onnxruntime has, by the names that settings have for them."""
    available = ort.get_available_providers()
    return [name for name, own in _PROVIDERS.items() if own in available]


def require_provider(provider: str) -> None:
    """Raise `SettingsError` where the provider cannot be had here, or neither of `cuda,cpu`.

    The installation of onnxruntime may lack it, or CUDA the libraries or the driver that it needs.
    """
    obstacles = [obstacle(name) for name in provider.split(",")]
    if all(obstacles):
        raise SettingsError(f"provider is {provider!r}, but {obstacles[0]}")


def obstacle(provider: str) -> str:
    """What keeps a provider from being had here; empty where nothing is known to."""
    if provider not in provider_names():
        return (
            f"the installed onnxruntime has no {_PROVIDERS[provider]}: install forwardpass[{provider}] in place of "
            "the other wheel"
        )
    return _load_cuda() if provider == "cuda" else ""


@cache
def _load_cuda() -> str:
    """Load the libraries of CUDA, once for the process, and tell what is missing; empty where all are there.

    They come as packages of Python, where the system looks for none; onnxruntime finds those that are loaded. No GPU is
    touched, which a process that is to be forked must not do.
    """
    # By itself it would write down for each model that it cannot load its own part for CUDA.
    ort.set_default_logger_severity(_FATAL)
    try:
        # First, for the others are of no use without it and take hundreds of megabytes.
        ctypes.CDLL(_DRIVER)
    except OSError as error:
        return f"CUDA cannot start here: {error}; it is part of NVIDIA's driver, which the machine must have"
    with redirect_stdout(StringIO()) as printed:
        ort.preload_dlls()
    missing = printed.getvalue().splitlines()
    return f"CUDA cannot start here: {missing[0]}" if missing else ""


def _open_session(graph: Sealed | bytes | Path, where: str, provider: str, threads: int) -> ort.InferenceSession:
    """A session of the provider; of `cuda,cpu` the first that can be, which the log says where it is the second."""
    first, _, second = provider.partition(",")
    if not second:
        return _start_session(graph, where, first, threads)
    try:
        return _start_session(graph, where, first, threads)
    except (SettingsError, GraphError) as error:
        logger.warning("%s: computed by %s: %s", where, second, error.message)
        return _start_session(graph, where, second, threads)


def _start_session(graph: Sealed | bytes | Path, where: str, provider: str, threads: int) -> ort.InferenceSession:
    require_provider(provider)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Warnings are for the graph's maker.
    options.log_severity_level = _FATAL
    given = graph.path if isinstance(graph, Sealed) else graph
    if not isinstance(graph, Path):
        # No checksum vouches for what else lies on disk, least of all in the folder that the server was started in.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    elif inner := files_of_parts(graph):
        # Of these onnxruntime maps the files, whatever it is given in their place.
        raise GraphError(
            f"{where}: weights of a branch, a loop or a function of it lie in {inner[0]!r}: whoever wrote that file "
            "anew would change the answers, or end the server; save them in the graph itself"
        )
    try:
        weights = _read_weights(graph, options) if isinstance(graph, Path) else {}
        # Without the fallback, by which it would load what fails once more for the CPU, and print that; and a run that
        # fails on a GPU would open the graph once more, when another file may lie where this one did.
        session = ort.InferenceSession(given, options, providers=[_PROVIDERS[provider]], enable_fallback=0)
        # Not before: onnxruntime copies them while it makes the session, and holds none of them itself.
        del weights
    except Exception as error:
        cause = _first_line(error)
        if isinstance(graph, Sealed):
            cause = cause.replace(graph.path, where)
        raise GraphError(f"{where}: onnxruntime cannot load the graph: {cause}") from error
    # A provider that is installed but does not start here is left out by onnxruntime, which goes on without it.
    if _PROVIDERS[provider] not in session.get_providers():
        raise GraphError(f"{where}: provider is {provider!r}, but onnxruntime cannot start it on this machine")
    return session


def _read_weights(graph: Path, options: ort.SessionOptions) -> dict[str, bytes]:
    """The weights that a graph keeps in other files, which a session with these options takes from here.

    onnxruntime would map the files: written anew, they would change the answers, and cut short end the process.
    """
    weights = {name: path.read_bytes() for name, path in files_beside(graph).items() if path.is_file()}
    sizes = [len(content) for content in weights.values()]
    options.add_external_initializers_from_files_in_memory(list(weights), list(weights.values()), sizes)
    return weights


def _tensor(node: ort.NodeArg, where: str) -> Tensor:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise GraphError(f"{where}: {node.name!r} is a {node.type}, which no request can carry")
    return Tensor(node.name, datatype, tuple(node.shape))


def _value(tensor: Tensor, array: Array) -> ort.OrtValue:
    # It may point to the array, which the caller holds until the run is over.
    array = np.ascontiguousarray(array)
    if tensor.datatype == "BF16":
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _ONNX_BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def _array(value: ort.OrtValue) -> Array:
    if value.element_type() != _ONNX_BFLOAT16:
        array: Array = value.numpy()
        return array
    copy = np.empty(value.shape(), DTYPES["BF16"])
    # The value itself owns what is read here, and lives until this has ended.
    ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
    return copy


def _first_line(error: Exception) -> str:
    if failure := _CUDA_FAILURE.search(str(error)):
        return failure[0].strip()
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
