"""Networks of random weights that cost as much to compute as is wanted."""

from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

INPUTS = 16
BATCH = 16
_OUTPUTS = 4
_LEAST_LAYERS = 4
_RUNS = 15
# What a number of layers takes is not quite in proportion to them, so it is tried again.
_TRIES = 3


def network(width: int, layers: int) -> bytes:
    """An ONNX file: so many layers, each as wide, between rows of `INPUTS` numbers and of `_OUTPUTS`."""
    sizes = [INPUTS, *[width] * layers, _OUTPUTS]
    drawn = np.random.default_rng(0)
    weights, nodes, given = [], [], "row"
    for place, (before, after) in enumerate(pairwise(sizes)):
        # As large as keeps the numbers from growing or shrinking on their way.
        values = drawn.standard_normal((before, after), np.float32) * np.float32(np.sqrt(2 / before))
        weights.append(numpy_helper.from_array(values, f"weights{place}"))
        last = place == layers
        nodes.append(helper.make_node("MatMul", [given, f"weights{place}"], ["score" if last else f"sum{place}"]))
        if not last:
            given = f"layer{place}"
            nodes.append(helper.make_node("Relu", [f"sum{place}"], [given]))
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", _OUTPUTS])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def costing(milliseconds: float, width: int, rows: int = BATCH) -> bytes:
    """A network of which a batch of so many rows takes about so long on one thread of this machine."""
    layers, graph = 2 * _LEAST_LAYERS, b""
    for _ in range(_TRIES):
        graph = network(width, layers)
        layers = max(_LEAST_LAYERS, round(layers * milliseconds / Bare(graph, threads=1).milliseconds(rows)))
    return graph


class Bare:
    """onnxruntime with nothing around it, in this process, with the options of our server."""

    def __init__(self, graph: bytes, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def milliseconds(self, rows: int) -> float:
        """What a batch takes: the median of some."""
        return float(np.median([self._run(rows) for _ in range(_RUNS)])) * 1e3

    def rows_a_second(self, batches: dict[int, int], seconds: float) -> float:
        """How many rows it computes when it is called in a loop with batches as these, `{rows: how many}`."""
        for rows in batches:
            self._run(rows)
        computed, took = 0, 0.0
        for rows in _mixed(batches):
            took += self._run(rows)
            computed += rows
            if took >= seconds:
                break
        return computed / took

    def _run(self, rows: int) -> float:
        """The seconds that one run takes."""
        row = np.linspace(-1, 1, INPUTS, dtype=np.float32)
        given = {"row": np.tile(row, (rows, 1))}
        began = perf_counter()
        self._session.run(None, given)
        return perf_counter() - began


def _mixed(batches: dict[int, int]) -> Iterator[int]:
    """The sizes of these batches in a random order, without end."""
    sizes = [rows for rows, count in batches.items() for _ in range(count)]
    drawn = np.random.default_rng(0)
    while True:
        yield from drawn.permutation(sizes).tolist()
