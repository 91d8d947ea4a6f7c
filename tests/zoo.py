"""A folder of small published models, one for whatever a request can get wrong or a client can ask."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from onnx import TensorProto, helper

from service.manifest import Datatype, Golden, TensorSpec
from tests.service.conftest import Sample, graph_of, manifest_of, publish, tensor, write_version

DATATYPES: tuple[Datatype, ...] = get_args(Datatype)

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
"""ONNX's own name for each datatype."""

PUBLISHED = ("line", "counter", "pair", "vote", "species", "tokens")
"""The samples of the service's tests that are in the folder."""

VOCABULARY = ("<unknown>", "the", "value", "of", "a", "list")

NEXT_WORD = Sample(
    inputs=(TensorSpec(name="context", datatype="INT64", shape=(-1, -1), vocabulary=VOCABULARY),),
    outputs=(tensor("probability", "FP32", len(VOCABULARY)),),
    # The word after a context depends on its last word alone.
    nodes=[
        helper.make_node("Gather", ["context", "last"], ["word"], axis=1),
        helper.make_node("Gather", ["table", "word"], ["probability"], axis=0),
    ],
    constants={
        "last": np.array(-1, np.int64),
        "table": np.eye(len(VOCABULARY), k=1, dtype=np.float32) + np.float32(0.125),
    },
    rows={"context": [[1, 2, 3]]},
    kind="next_word",
)


def echo_name(datatype: Datatype) -> str:
    """The model whose output `same` is its input `given`, rows of two elements of this datatype."""
    return f"echo_{datatype.lower()}"


def echo_graph(datatype: Datatype) -> bytes:
    """The ONNX file of an echo."""
    element = ELEMENTS[datatype]
    if datatype == "BF16":
        # What works on such numbers in practice: onnxruntime's own operators take single floats.
        nodes = [
            helper.make_node("Cast", ["given"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["wide"], ["same"], to=element),
        ]
    else:
        nodes = [helper.make_node("Identity", ["given"], ["same"])]
    graph = helper.make_graph(
        nodes,
        "echo",
        [helper.make_tensor_value_info("given", element, ["rows", 2])],
        [helper.make_tensor_value_info("same", element, ["rows", 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def publish_zoo(root: Path, datatypes: Sequence[Datatype] = DATATYPES) -> None:
    """Write the samples, an echo of each of these datatypes and a model of words as versions that can be served."""
    for name in PUBLISHED:
        publish(root, name)
    for datatype in datatypes:
        zero = {"BOOL": False, "BYTES": ""}.get(datatype, 0)
        sample = Sample((tensor("given", datatype, 2),), (tensor("same", datatype, 2),), (), {"given": [[zero, zero]]})
        golden = Golden(inputs={"given": [[zero, zero]]}, outputs={"same": [[zero, zero]]})
        files = {"model.onnx": echo_graph(datatype), "golden.json": golden.render()}
        write_version(root, manifest_of(echo_name(datatype), sample), files)
    after_of = [0.125] * 4 + [1.125, 0.125]
    golden = Golden(inputs=dict(NEXT_WORD.rows), outputs={"probability": [after_of]})
    files = {"model.onnx": graph_of(NEXT_WORD), "golden.json": golden.render()}
    write_version(root, manifest_of("words", NEXT_WORD), files)
