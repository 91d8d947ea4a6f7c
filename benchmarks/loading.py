"""How long the other threads of a process wait while a large version is loaded in one of them."""

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from service.manifest import GOLDEN_FILE, ONNX_FILE, Golden, ModelManifest, TensorSpec
from service.model.loading import load
from training.publish import publish

MEBIBYTES = 180
_COLUMNS = 64
_TICK_SECONDS = 0.001


def publish_table(root: Path) -> Path:
    """Publish a model whose weights are one table of so many mebibytes; its folder."""
    table = np.zeros((MEBIBYTES * 2**20 // 4 // _COLUMNS, _COLUMNS), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["entry"])],
        "graph",
        [helper.make_tensor_value_info("index", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("entry", TensorProto.FLOAT, ["rows", _COLUMNS])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    manifest = ModelManifest(
        schema=1,
        name="table",
        version=1,
        kind="regression",
        description="A large table.",
        inputs=(TensorSpec(name="index", datatype="INT64", shape=(-1,)),),
        outputs=(TensorSpec(name="entry", datatype="FP32", shape=(-1, _COLUMNS)),),
    )
    golden = Golden(inputs={"index": [0]}, outputs={"entry": [[0.0] * _COLUMNS]})
    publish(root, manifest, {ONNX_FILE: model.SerializeToString(), GOLDEN_FILE: golden.render()})
    return root / manifest.name / str(manifest.version)


def load_beside_a_clock(folder: Path) -> tuple[float, float]:
    """Load a version; the seconds that it took, and the longest that a thread that wakes each millisecond was kept."""
    loaded = threading.Event()
    longest = [0.0]

    def tick() -> None:
        before = time.perf_counter()
        while not loaded.is_set():
            time.sleep(_TICK_SECONDS)
            now = time.perf_counter()
            longest[0] = max(longest[0], now - before - _TICK_SECONDS)
            before = now

    ticking = threading.Thread(target=tick)
    ticking.start()
    began = time.perf_counter()
    held = load(folder, "table")
    seconds = time.perf_counter() - began
    loaded.set()
    ticking.join()
    # Not before: to give its memory back is no part of loading it.
    del held
    return seconds, longest[0]


def measure(times: int) -> list[tuple[float, float]]:
    """Load it so often: the seconds of each time, and the longest that another thread waited in it."""
    with tempfile.TemporaryDirectory() as root:
        folder = publish_table(Path(root))
        return [load_beside_a_clock(folder) for _ in range(times)]
