"""Small published models and a running server that several tests look at."""

import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from service.http.configuration import configure
from service.http.server import Server
from service.manifest import Batching, Feature, FileEntry, Golden, Kind, ModelManifest, TensorSpec
from service.metrics import ModelStats, Version
from service.numbers import Numbers
from tests.certificates import Certificates, make_certificates

COMMITTED = Path(__file__).parents[2] / "models"

ELEMENTS = {
    "BF16": TensorProto.BFLOAT16,
    "BOOL": TensorProto.BOOL,
    "BYTES": TensorProto.STRING,
    "FP32": TensorProto.FLOAT,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
}
_DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype(np.uint16),
    "BOOL": np.dtype(np.bool_),
    "BYTES": np.dtype(np.object_),
    "FP32": np.dtype(np.float32),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
}


def counting() -> ModelStats:
    """Numbers of a version by itself, all zero."""
    return ModelStats(Numbers(), Version("line", "1"))


@dataclass(frozen=True)
class Sample:
    """A model to publish: its manifest, the nodes and constants of its graph, and its golden rows."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    nodes: Sequence[onnx.NodeProto]
    rows: Mapping[str, list[Any]]
    constants: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    kind: Kind = "regression"
    batching: Batching = "rows"
    max_batch: int | None = None
    first: str | int = "rows"
    """What the graph says of its first dimension, where the model has rows."""


def tensor(name: str, datatype: Any, *shape: int, **more: Any) -> TensorSpec:  # noqa: ANN401  # a spec's own fields
    """A tensor of so many rows as a request likes, each of this shape."""
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *shape), **more)


def _features(*names: str) -> tuple[Feature, ...]:
    return tuple(Feature(name=name, unit="cm", description=f"The {name}.", minimum=-1.0, maximum=2.5) for name in names)


_WEIGHTS = np.array([[0.5], [-1.25]], np.float32)

SAMPLES: dict[str, Sample] = {
    "line": Sample(
        inputs=(tensor("point", "FP32", 2, features=_features("width", "height")),),
        outputs=(tensor("value", "FP32", 1),),
        nodes=[helper.make_node("MatMul", ["point", "weights"], ["value"])],
        constants={"weights": _WEIGHTS},
        rows={"point": [[1.0, 2.0], [0.25, -3.5], [0.1, 0.7]]},
    ),
    "counter": Sample(
        inputs=(tensor("count", "INT64", 2, features=(Feature(name="first"), Feature(name="second"))),),
        outputs=(tensor("next", "INT64", 2),),
        nodes=[helper.make_node("Add", ["count", "one"], ["next"])],
        constants={"one": np.array([1, 10], np.int64)},
        rows={"count": [[1, 2], [9007199254740993, -5]]},
    ),
    "pair": Sample(
        inputs=(tensor("left", "FP32", 2), tensor("right", "INT64", 1)),
        outputs=(tensor("half", "FP32", 2), tensor("twice", "INT64", 1)),
        nodes=[
            helper.make_node("Mul", ["left", "point_five"], ["half"]),
            helper.make_node("Add", ["right", "right"], ["twice"]),
        ],
        constants={"point_five": np.array(0.5, np.float32)},
        rows={"left": [[1.0, 2.0], [3.0, 4.0]], "right": [[5], [6]]},
    ),
    "vote": Sample(
        inputs=(tensor("score", "FP32", 1),),
        outputs=(tensor("probability", "FP32", 1, labels=("no", "yes")),),
        nodes=[helper.make_node("Sigmoid", ["score"], ["probability"])],
        rows={"score": [[-2.0], [0.0], [3.0]]},
        kind="binary_classification",
    ),
    "species": Sample(
        inputs=(tensor("petal", "FP32", 3),),
        outputs=(tensor("probability", "FP32", 3, labels=("setosa", "versicolor", "virginica")),),
        nodes=[helper.make_node("Softmax", ["petal"], ["probability"], axis=-1)],
        rows={"petal": [[1.0, 2.0, 3.0], [5.0, 0.0, 1.0]]},
        kind="classification",
    ),
    "tokens": Sample(
        inputs=(tensor("ids", "INT64", -1),),
        outputs=(tensor("shifted", "INT64", -1),),
        nodes=[helper.make_node("Add", ["ids", "hundred"], ["shifted"])],
        constants={"hundred": np.array(100, np.int64)},
        rows={"ids": [[1, 2, 3]]},
    ),
    # Fails while it runs, on an index beyond its table.
    "lookup": Sample(
        inputs=(tensor("index", "INT64", 1),),
        outputs=(tensor("entry", "FP32", 1),),
        nodes=[helper.make_node("Gather", ["table", "index"], ["entry"])],
        constants={"table": np.array([10.0, 20.0, 30.0], np.float32)},
        rows={"index": [[0], [2]]},
    ),
    # Gives an infinity for a valid row.
    "inverse": Sample(
        inputs=(tensor("number", "FP32", 1),),
        outputs=(tensor("inverse", "FP32", 1),),
        nodes=[helper.make_node("Reciprocal", ["number"], ["inverse"])],
        rows={"number": [[2.0], [-4.0]]},
    ),
    # Two gigaflops for 256 rows: no machine has them in half a millisecond.
    "deep": Sample(
        inputs=(tensor("wide", "FP32", 512),),
        outputs=(tensor("last", "FP32", 512),),
        nodes=[
            helper.make_node(
                "ConstantOfShape",
                ["square"],
                ["weights"],
                value=numpy_helper.from_array(np.array([0.001], np.float32)),
            ),
            *(
                helper.make_node("MatMul", [f"h{i}" if i else "wide", "weights"], ["last" if i == 47 else f"h{i + 1}"])
                for i in range(48)
            ),
        ],
        constants={"square": np.array([512, 512], np.int64)},
        rows={"wide": [[0.5] * 512]},
    ),
    # Takes one row at a time, and says so.
    "fixed": Sample(
        inputs=(tensor("row", "FP32", 2),),
        outputs=(tensor("same", "FP32", 2),),
        nodes=[helper.make_node("Identity", ["row"], ["same"])],
        rows={"row": [[1.0, 2.0], [3.0, 4.0]]},
        max_batch=1,
        first=1,
    ),
}

ODD: dict[str, Sample] = {
    # Each batch is quantised by its largest value, so that its rows change each other's answers.
    "quantised": Sample(
        inputs=(tensor("signal", "FP32", 4),),
        outputs=(tensor("filtered", "FP32", 2),),
        nodes=[
            helper.make_node("DynamicQuantizeLinear", ["signal"], ["octets", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["octets", "filter", "zero"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["filtered"]),
        ],
        constants={"filter": np.array([[3, -5], [7, 11], [-13, 17], [19, 23]], np.int8)},
        rows={"signal": [[0.1, 0.25, -0.7, 0.33]]},
    ),
    # The same of words, by their vectors.
    "quantised_words": Sample(
        inputs=(tensor("ids", "INT64", -1),),
        outputs=(tensor("meaning", "FP32", 2),),
        nodes=[
            helper.make_node("Gather", ["vectors", "ids"], ["words"]),
            helper.make_node("ReduceMean", ["words", "middle"], ["mean"], keepdims=0),
            helper.make_node("DynamicQuantizeLinear", ["mean"], ["octets", "scale", "zero"]),
            helper.make_node("MatMulInteger", ["octets", "filter", "zero"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["meaning"]),
        ],
        constants={
            "vectors": np.array([[0.1, 0.25, -0.7, 0.33], [10, -20, 30, 5], [1, 2, 3, 4]], np.float32),
            "middle": np.array([1], np.int64),
            "filter": np.array([[3, -5], [7, 11], [-13, 17], [19, 23]], np.int8),
        },
        rows={"ids": [[0, 2], [1, 1]]},
    ),
    # Counts, seen from their mean over the batch.
    "centred": Sample(
        inputs=(tensor("count", "INT32", 2),),
        outputs=(tensor("distance", "FP32", 2),),
        nodes=[
            helper.make_node("Cast", ["count"], ["counts"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["counts", "first"], ["mean"]),
            helper.make_node("Sub", ["counts", "mean"], ["distance"]),
        ],
        constants={"first": np.array([0], np.int64)},
        rows={"count": [[1, 2], [3, -5]]},
    ),
    # Whether a flag is set, and whether it is in any row.
    "flags": Sample(
        inputs=(tensor("flag", "BOOL", 2),),
        outputs=(tensor("either", "FP32", 2),),
        nodes=[
            helper.make_node("Cast", ["flag"], ["flags"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["flags", "first"], ["any"]),
            helper.make_node("Add", ["flags", "any"], ["either"]),
        ],
        constants={"first": np.array([0], np.int64)},
        rows={"flag": [[True, False], [False, False]]},
    ),
    # The first step of a row is its own; each later one is seen from its mean over the batch.
    "late": Sample(
        inputs=(tensor("steps", "FP32", -1, 2),),
        outputs=(tensor("seen", "FP32", -1, 2),),
        nodes=[
            helper.make_node("Slice", ["steps", "zero", "one", "one"], ["own"]),
            helper.make_node("Slice", ["steps", "one", "end", "one"], ["later"]),
            helper.make_node("ReduceMean", ["later", "zero"], ["mean"]),
            helper.make_node("Sub", ["later", "mean"], ["distances"]),
            helper.make_node("Concat", ["own", "distances"], ["seen"], axis=1),
        ],
        constants={
            "zero": np.array([0], np.int64),
            "one": np.array([1], np.int64),
            "end": np.array([1 << 40], np.int64),
        },
        rows={"steps": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 0.5], [1.5, 2.5]]]},
    ),
    "echo": Sample(
        inputs=(tensor("text", "BYTES", 2),),
        outputs=(tensor("again", "BYTES", 2),),
        nodes=[helper.make_node("Identity", ["text"], ["again"])],
        rows={"text": [["a", "ü\x00 b"], ["", "語"]]},
    ),
    # A square and the sum of all its elements: no rows anywhere.
    "whole": Sample(
        inputs=(TensorSpec(name="square", datatype="FP32", shape=(2, 2)),),
        outputs=(TensorSpec(name="trace", datatype="FP32", shape=(2,)),),
        nodes=[helper.make_node("ReduceSum", ["square", "axis"], ["trace"], keepdims=0)],
        constants={"axis": np.array([0], np.int64)},
        rows={"square": [[1.0, 2.0], [3.0, 4.0]]},
        batching="none",
    ),
}
"""Samples that only the tests of what they are about use."""


def sample_of(name: str) -> Sample:
    """A sample of either kind."""
    return SAMPLES[name] if name in SAMPLES else ODD[name]


def graph_of(sample: Sample) -> bytes:
    """The sample's ONNX file."""
    graph = helper.make_graph(
        list(sample.nodes),
        "sample",
        [_value(sample, spec) for spec in sample.inputs],
        [_value(sample, spec) for spec in sample.outputs],
        [numpy_helper.from_array(value, name) for name, value in sample.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _value(sample: Sample, spec: TensorSpec) -> onnx.ValueInfoProto:
    shape: list[str | int] = [
        f"{spec.name}_{axis}" if length == -1 else length for axis, length in enumerate(spec.shape)
    ]
    if sample.batching == "rows":
        shape[0] = sample.first
    return helper.make_tensor_value_info(spec.name, ELEMENTS[spec.datatype], shape)


def reference(sample: Sample, rows: Mapping[str, list[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The outputs that ONNX's own slow implementation of its operators gives."""
    inputs = {spec.name: np.array(rows[spec.name], _DTYPES[spec.datatype]) for spec in sample.inputs}
    names = [spec.name for spec in sample.outputs]
    return dict(zip(names, ReferenceEvaluator(onnx.load_from_string(graph_of(sample))).run(names, inputs), strict=True))


def manifest_of(name: str, sample: Sample, version: int = 1, **more: Any) -> ModelManifest:  # noqa: ANN401  # its fields
    """The sample's manifest."""
    return ModelManifest(
        schema=1,
        name=name,
        version=version,
        kind=sample.kind,
        batching=sample.batching,
        max_batch=sample.max_batch,
        description=f"The model {name}.",
        inputs=sample.inputs,
        outputs=sample.outputs,
        **more,
    )


@cache
def golden_of(name: str) -> Golden:
    """The sample's golden rows, answered by the reference."""
    sample = sample_of(name)
    # Row by row, where the graph takes no more.
    size = 1 if sample.max_batch == 1 else len(next(iter(sample.rows.values())))
    count = len(next(iter(sample.rows.values())))
    parts = [
        reference(sample, {name: rows[start : start + size] for name, rows in sample.rows.items()})
        for start in range(0, count, size)
    ]
    outputs = {name: np.concatenate([part[name] for part in parts]).tolist() for name in parts[0]}
    return Golden(inputs=dict(sample.rows), outputs=outputs)


def write_version(root: Path, manifest: ModelManifest, files: Mapping[str, bytes]) -> Path:
    """Write a version as training publishes it: the manifest vouches for each file."""
    folder = root / manifest.name / str(manifest.version)
    folder.mkdir(parents=True)
    entries = {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest.model_copy(update={"files": entries}).render())
    return folder


def publish(root: Path, name: str, version: int = 1) -> Path:
    """Write a sample as a version that can be served; its folder."""
    sample = sample_of(name)
    files = {"model.onnx": graph_of(sample), "golden.json": golden_of(name).render()}
    return write_version(root, manifest_of(name, sample, version), files)


def save(folder: Path, file: str, name: str) -> Path:
    """Write a sample's graph as a file without a manifest."""
    path = folder / file
    path.write_bytes(graph_of(sample_of(name)))
    return path


def tabled(folder: Path, value: float) -> Path:
    """Write the graph `table.onnx`, which gives this value for each index up to 4096, and it beside in `table.bin`."""
    index = helper.make_tensor_value_info("index", TensorProto.INT64, ["rows"])
    entry = helper.make_tensor_value_info("entry", TensorProto.FLOAT, ["rows", 64])
    table = numpy_helper.from_array(np.full((4096, 64), value, np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["entry"])], "table", [index], [entry], [table]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "table.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="table.bin")
    return path


def parted(folder: Path, part: str) -> Path:
    """Write the graph `parted.onnx`, which adds one to four numbers: the ones lie in `table.bin`.

    They are a constant of the graph, or of a branch or a function that it has.
    """
    point, value, inner = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 4]) for name in "xyi")
    ones = TensorProto(name="ones", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    ones.external_data.add(key="location", value="table.bin")
    (folder / "table.bin").write_bytes(np.ones(4, np.float32).tobytes())
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    steps = [helper.make_node("Constant", [], ["ones"], value=ones), helper.make_node("Add", ["x", "ones"], ["i"])]
    functions = []
    if part == "constant":
        nodes = [*steps, helper.make_node("Identity", ["i"], ["y"])]
    elif part == "function":
        functions = [helper.make_function("own", "Step", ["x"], ["i"], steps, opsets[:1])]
        nodes = [helper.make_node("Step", ["x"], ["y"], domain="own")]
    else:
        branch = helper.make_graph(steps[1:], "branch", [], [inner], [ones])
        always = numpy_helper.from_array(np.ones((), np.bool_), "always")
        nodes = [
            helper.make_node("Constant", [], ["always"], value=always),
            helper.make_node("If", ["always"], ["y"], then_branch=branch, else_branch=branch),
        ]
    graph = helper.make_graph(nodes, "parted", [point], [value])
    path = folder / "parted.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions).SerializeToString()
    )
    return path


def endless(path: Path) -> None:
    """Write a graph that computes for years."""
    point, value, before, after = (helper.make_tensor_value_info(one, TensorProto.FLOAT, ["rows", 4]) for one in "xyvw")
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    go, on = (helper.make_tensor_value_info(one, TensorProto.BOOL, []) for one in ("go", "on"))
    steps = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])]
    body = helper.make_graph(steps, "body", [turn, go, before], [on, after])
    turns = [
        numpy_helper.from_array(np.array(2**62), "turns"),
        numpy_helper.from_array(np.ones((), np.bool_), "always"),
    ]
    loop = helper.make_node("Loop", ["turns", "always", "x"], ["y"], body=body)
    graph = helper.make_graph([loop], "endless", [point], [value], turns)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def damage(folder: Path) -> None:
    """Change one byte of a version's graph."""
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


@contextlib.contextmanager
def serving(app: FastAPI, trust: ssl.SSLContext | None = None) -> Iterator[httpx.Client]:
    """A client of a real server on a free port of this machine; the server's thread has ended after it.

    `trust` is what a client needs of one that speaks TLS.
    """
    # It listens before the thread starts, so that the first request waits in the system's queue and nobody polls.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(configure(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"{'http' if trust is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=30, verify=trust or True) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """No setting of the caller's own environment reaches a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FORWARDPASS_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority, a server on this machine and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every sample that answers, to be read only."""
    root = tmp_path_factory.mktemp("samples")
    for name in SAMPLES:
        if name not in ("deep", "fixed"):
            publish(root, name)
    return root


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """A copy of the committed models, to be damaged."""
    return Path(shutil.copytree(COMMITTED, tmp_path / "committed"))
