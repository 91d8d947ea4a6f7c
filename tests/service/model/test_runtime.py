"""Behaviour of service.model.runtime."""

import ctypes
import dataclasses
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from service.codec.tensors import DTYPES
from service.errors import ComputeError, GraphError, SettingsError
from service.model.runtime import Arrays, Runtime, Tensor, join, require_provider, split, stack
from service.model.sealed import Sealed, sealed
from service.model.store import StoredVersion, open_version
from tests.server import ROOT
from tests.service.conftest import COMMITTED, ODD, SAMPLES, graph_of, parted, reference, sample_of, tabled
from tests.service.model.conftest import copies_held, copies_held_before

WHERE = "models/line/1"
ANSWERING = [*(name for name in SAMPLES if name not in ("deep", "fixed")), *ODD]


def load(name: str) -> Runtime:
    """A sample's runtime."""
    return Runtime(graph_of(sample_of(name)), WHERE)


def opened(name: str) -> StoredVersion:
    """A committed model."""
    return open_version(COMMITTED / name / "1")


def runtime_of(stored: StoredVersion) -> Runtime:
    """The runtime of a version."""
    return Runtime(stored.graph, str(stored.folder))


def graph_file(
    inputs: list[onnx.ValueInfoProto],
    nodes: list[onnx.NodeProto],
    outputs: list[onnx.ValueInfoProto],
    *weights: onnx.TensorProto,
) -> bytes:
    """An ONNX file."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(weights))
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    )


def fresh_process(program: str, **environment: str) -> str:
    """What a program prints in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", ANSWERING)
def test_answers_are_those_of_the_reference(name: str) -> None:
    """What onnxruntime computes is what ONNX's own implementation of the operators gives."""
    sample = sample_of(name)
    arrays: Arrays = tuple(np.array(sample.rows[spec.name], DTYPES[spec.datatype]) for spec in sample.inputs)
    expected = reference(sample, sample.rows)
    for spec, output in zip(sample.outputs, load(name).run(arrays), strict=True):
        assert output.dtype == DTYPES[spec.datatype]
        if spec.datatype == "BYTES":
            assert output.tolist() == expected[spec.name].tolist()
        else:
            np.testing.assert_allclose(output, expected[spec.name], rtol=1e-6)


@pytest.mark.parametrize("name", ["sum_of_three", "binary_classifier"])
def test_committed_models_answer_as_the_reference(name: str) -> None:
    """The graphs that training exported say the same to both implementations."""
    stored = opened(name)
    (spec,), (output,) = stored.manifest.inputs, stored.manifest.outputs
    rows = np.random.default_rng(1).normal(size=(50, *spec.row_shape)).astype(np.float32)
    (answer,) = runtime_of(stored).run((rows,))
    (expected,) = ReferenceEvaluator(onnx.load(stored.folder / "model.onnx")).run([output.name], {spec.name: rows})
    np.testing.assert_allclose(answer, np.asarray(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sum_of_three", "binary_classifier"])
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(name: str, lengths: list[int], seed: int) -> None:
    """However requests are mixed, each gets the very answer that it would get alone, row for row."""
    stored = opened(name)
    runtime = runtime_of(stored)
    width = stored.manifest.inputs[0].row_shape
    generator = np.random.default_rng(seed)
    payloads = [(generator.normal(scale=3, size=(length, *width)).astype(np.float32),) for length in lengths]
    parts = [(payload, 0, len(payload[0])) for payload in payloads]
    results = split(runtime.run_batch(stack(parts)), parts)
    for (rows,), (answer,) in zip(payloads, results, strict=True):
        assert answer.tobytes() == runtime.run((rows,))[0].tobytes()
        alone = [runtime.run((rows[index : index + 1],))[0] for index in range(len(rows))]
        assert answer.tobytes() == np.concatenate(alone).tobytes()


@given(data=st.data(), rows=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_divided_request_is_joined_to_the_answer_of_the_whole(data: st.DataObject, rows: int) -> None:
    """The parts of a request, run in batches of their own and joined, give all outputs of all rows in order."""
    runtime = load("pair")
    payload = (np.arange(2 * rows, dtype=np.float32).reshape(rows, 2), np.arange(rows).reshape(rows, 1))
    cuts = sorted(data.draw(st.sets(st.integers(1, rows))) | {0, rows})
    parts = [(payload, start, stop) for start, stop in itertools.pairwise(cuts)]
    joined = join([runtime.run_batch(stack([part])) for part in parts])
    for one, other in zip(joined, runtime.run(payload), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("max_batch", [1, 3, 7, 8])
def test_rows_in_batches_are_answered_as_one(max_batch: int) -> None:
    """All of them, in order, however many fit into a batch."""
    payload = (np.arange(14, dtype=np.float32).reshape(7, 2), np.arange(7).reshape(7, 1))
    for one, other in zip(load("pair").run_rows(payload, max_batch), load("pair").run(payload), strict=True):
        assert one.tobytes() == other.tobytes()


def test_several_inputs_are_stacked_each_for_itself() -> None:
    """Rows of two requests stay together across inputs and outputs."""
    payloads = [(np.full((2, 2), float(number), np.float32), np.full((2, 1), number, np.int64)) for number in (1, 2, 3)]
    parts = [(payload, 1, 2) for payload in payloads]
    results = split(load("pair").run_batch(stack(parts)), parts)
    assert [(half.tolist(), twice.tolist()) for half, twice in results] == [
        ([[number / 2] * 2], [[2 * number]]) for number in (1, 2, 3)
    ]


def test_an_output_with_other_rows_is_refused() -> None:
    """A graph that doubles the batch cannot be cut into answers."""
    sample = dataclasses.replace(
        SAMPLES["vote"], nodes=[helper.make_node("Concat", ["score", "score"], ["probability"], axis=0)]
    )
    runtime = Runtime(graph_of(sample), WHERE)
    with pytest.raises(ComputeError, match=r"output 'probability' has shape \[4, 1\] for a batch of 2 rows"):
        runtime.run_batch((np.zeros((2, 1), np.float32),))


def test_parts_of_other_shapes_do_not_fit_together() -> None:
    """A graph whose answers have a length that depends on the rows is told as such."""
    with pytest.raises(ComputeError, match="the outputs of one request's batches do not fit together"):
        join([(np.zeros((2, 3)),), (np.zeros((2, 4)),)])


def test_a_graph_that_fails_while_it_runs_is_told() -> None:
    """An exception of onnxruntime's own does not leave the runtime."""
    with pytest.raises(ComputeError, match=r"onnxruntime fails on a batch of shape \[1, 1\]: .*indices"):
        load("lookup").run((np.array([[7]], np.int64),))


@pytest.mark.parametrize("content", [b"", b"garbage", graph_of(SAMPLES["line"])[:-9]])
def test_a_graph_that_is_none_is_refused(content: bytes) -> None:
    """What onnxruntime cannot load is an error in one line that names the place."""
    with pytest.raises(GraphError) as caught:
        Runtime(content, WHERE)
    assert caught.value.message.startswith(f"{WHERE}: onnxruntime cannot load the graph: ")
    assert len(caught.value.message.splitlines()) == 1


def test_a_missing_provider_is_a_settings_error() -> None:
    """Whoever asks for a GPU with the CPU's wheel is told which extra to install."""
    for attempt in (lambda: Runtime(b"", WHERE, provider="cuda"), lambda: require_provider("cuda")):
        with pytest.raises(SettingsError, match=r"no CUDAExecutionProvider: install forwardpass\[cuda\]"):
            attempt()
    require_provider("cpu")


WITH_CUDA = """
import onnxruntime

# As the wheel for GPUs says and does where the packages of CUDA are not installed.
def preload_dlls():
    asked.append(1)
    print("Failed to load libcublas.so.13: no such file", "Please follow", sep=chr(10))

asked = []
onnxruntime.preload_dlls = preload_dlls
onnxruntime.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]

from service.errors import SettingsError
from service.model.runtime import Runtime, require_provider

require_provider("cpu")
Runtime({graph}, "line")
assert not asked
require_provider("cuda,cpu")
Runtime({graph}, "line", provider="cuda,cpu")
for attempt in (lambda: require_provider("cuda"), lambda: Runtime(b"", "line", provider="cuda")):
    try:
        attempt()
    except SettingsError as error:
        print(error.message)
assert asked == {asked}
"""


def has_driver() -> bool:
    """Whether NVIDIA's driver is on this machine."""
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return False


@pytest.mark.parametrize(
    ("driver", "asked", "sentence"),
    [
        (True, [1], "Failed to load libcublas.so.13: no such file"),
        pytest.param(
            False,
            [],
            "libcuda.so.1: cannot open shared object file: No such file or directory; it is part of NVIDIA's driver, "
            "which the machine must have",
            marks=pytest.mark.skipif(has_driver(), reason="the driver is here"),
        ),
    ],
    ids=["no libraries", "no driver"],
)
def test_cuda_that_cannot_start_says_what_it_lacks(
    driver: bool,  # noqa: FBT001  # a parameter of the test
    asked: list[int],
    sentence: str,
    tmp_path: Path,
) -> None:
    """Its libraries are loaded once, only for those who ask for it and have a driver; nothing but the error is said."""
    program = WITH_CUDA.format(asked=asked, graph=graph_of(SAMPLES["line"]))
    if driver:
        # Any library will do: it is loaded, and nothing of it is called.
        (tmp_path / "libcuda.so.1").symlink_to(next((Path(onnxruntime.__file__).parent / "capi").glob("*_shared.so")))
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = f"provider is 'cuda', but CUDA cannot start here: {sentence}"
    assert result.stdout.splitlines() == [expected, expected]
    assert result.stderr == f"line: computed by cpu: {expected}\n"


def test_a_provider_may_have_another_in_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Where it is allowed to, and not unseen: the CPU computes what CUDA cannot."""
    require_provider("cuda,cpu")
    runtime = Runtime(graph_of(SAMPLES["line"]), WHERE, provider="cuda,cpu")
    (expected,) = load("line").run((np.ones((1, 2), np.float32),))
    np.testing.assert_array_equal(runtime.run((np.ones((1, 2), np.float32),))[0], expected)
    assert f"{WHERE}: computed by cpu: provider is 'cuda'" in caplog.text
    with pytest.raises(GraphError, match="cannot load the graph"):
        Runtime(b"garbage", WHERE, provider="cuda,cpu")


def test_the_tensors_are_those_that_the_graph_declares() -> None:
    """A length is a number, a symbol or unknown; a scalar has none."""
    inputs = [
        helper.make_tensor_value_info("first", TensorProto.FLOAT, ["rows", None, 3]),
        helper.make_tensor_value_info("second", TensorProto.STRING, []),
    ]
    outputs = [helper.make_tensor_value_info("again", TensorProto.STRING, [])]
    runtime = Runtime(graph_file(inputs, [helper.make_node("Identity", ["second"], ["again"])], outputs), WHERE)
    assert runtime.inputs == (Tensor("first", "FP32", ("rows", None, 3)), Tensor("second", "BYTES", ()))
    assert runtime.outputs == (Tensor("again", "BYTES", ()),)


def test_weights_that_could_be_given_are_no_inputs() -> None:
    """Old files list their weights among the inputs; nobody has to send them."""
    point = helper.make_tensor_value_info("point", TensorProto.FLOAT, ["rows", 2])
    weight = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [2, 1])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])
    node = helper.make_node("MatMul", ["point", "weight"], ["value"])
    ones = numpy_helper.from_array(np.ones((2, 1), np.float32), "weight")
    runtime = Runtime(graph_file([point, weight], [node], [value], ones), WHERE)
    assert [tensor.name for tensor in runtime.inputs] == ["point"]
    assert runtime.run((np.array([[1, 2]], np.float32),))[0].tolist() == [[3.0]]


def test_what_no_request_can_carry_is_refused_by_name() -> None:
    """A sequence is no tensor."""
    one = helper.make_tensor_value_info("one", TensorProto.FLOAT, ["rows"])
    several = helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, None)
    content = graph_file([one], [helper.make_node("SequenceConstruct", ["one", "one"], ["several"])], [several])
    with pytest.raises(
        GraphError, match=rf"{WHERE}: 'several' is a seq\(tensor\(float\)\), which no request can carry"
    ):
        Runtime(content, WHERE)


def halves(values: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """Numbers that BF16 holds exactly, as their bits."""
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def doubler(*more: onnx.NodeProto) -> bytes:
    """A graph that doubles BF16 numbers, and counts their rows in an output of its own."""
    values = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["rows", 2]) for name in ("given", "twice")]
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [2])
    nodes = [
        helper.make_node("Cast", ["given"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["twice"], to=TensorProto.BFLOAT16),
        helper.make_node("Shape", ["given"], ["shape"]),
        *more,
    ]
    return graph_file(values[:1], nodes, [values[1], shape])


@pytest.mark.parametrize("rows", [[], [[1.0, -2.5]], [[0.5, 3.0], [1e30, -0.0], [float("inf"), 7.0]]])
def test_bf16_is_computed_by_its_bits(rows: list[list[float]]) -> None:
    """What numpy cannot hold goes in and comes out as 16 bits, beside what it can."""
    given = halves(rows).reshape(-1, 2)
    twice, shape = Runtime(doubler(), WHERE).run((given,))
    assert twice.dtype == np.uint16
    assert twice.tolist() == halves(np.array(rows, np.float32) * 2).reshape(-1, 2).tolist()
    assert shape.tolist() == [len(rows), 2]


def test_bf16_of_rows_apart_in_memory_is_computed() -> None:
    """Where the rows lie does not matter."""
    given = halves([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])[:, ::2]
    assert Runtime(doubler(), WHERE).run((given,))[0].tolist() == halves([[2.0, 6.0], [10.0, 14.0]]).tolist()


def test_an_answer_outlives_the_next_run() -> None:
    """It is a copy of what onnxruntime computed."""
    runtime = Runtime(doubler(), WHERE)
    first = runtime.run((halves([[1.0, 2.0]]),))[0]
    for _ in range(50):
        runtime.run((halves([[3.0, 4.0]]),))
    assert first.tolist() == halves([[2.0, 4.0]]).tolist()


def test_a_failure_on_bf16_is_told() -> None:
    """In the same words as any other."""
    with pytest.raises(ComputeError, match=r"onnxruntime fails on a batch of shape \[1, 3\]"):
        Runtime(doubler(), WHERE).run((halves([[1.0, 2.0, 3.0]]),))


def test_texts_beside_bf16_are_refused() -> None:
    """No way into onnxruntime carries both."""
    values = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["rows"]) for name in ("given", "same")]
    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, ["rows"]) for name in ("text", "again")]
    nodes = [
        helper.make_node("Cast", ["given"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["wide"], ["same"], to=TensorProto.BFLOAT16),
        helper.make_node("Identity", ["text"], ["again"]),
    ]
    content = graph_file([values[0], texts[0]], nodes, [values[1], texts[1]])
    with pytest.raises(GraphError, match=f"{WHERE}: it has strings beside BF16"):
        Runtime(content, WHERE)


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """An ONNX file whose weights lie in another file beside it."""
    point = helper.make_tensor_value_info("point", TensorProto.FLOAT, ["rows", 512])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])
    ones = numpy_helper.from_array(np.ones((512, 1), np.float32), "weight")
    content = graph_file([point], [helper.make_node("MatMul", ["point", "weight"], ["value"])], [value], ones)
    path = tmp_path / "divided.onnx"
    onnx.save(onnx.load_from_string(content), path, save_as_external_data=True, location="divided.onnx.data")
    return path


def test_a_file_finds_the_weights_beside_it(divided: Path) -> None:
    """From wherever the server is started."""
    assert Runtime(divided, str(divided)).run((np.ones((1, 512), np.float32),))[0].tolist() == [[512.0]]


def test_weights_are_those_of_the_start(tmp_path: Path) -> None:
    """Whatever becomes of their file: it is written anew and cut short in the end, at which who maps it is killed."""
    path = tabled(tmp_path, 1.0)
    runtime = Runtime(path, str(path))
    data = tmp_path / "table.bin"
    data.write_bytes(bytes(data.stat().st_size))
    os.truncate(data, 0)
    indices = np.arange(4096, dtype=np.int64)
    assert np.unique(runtime.run((indices,))[0]).tolist() == [1.0]


def test_a_constant_of_the_start_stays_too(tmp_path: Path) -> None:
    """It is a weight like any other."""
    path = parted(tmp_path, "constant")
    runtime = Runtime(path, str(path))
    os.truncate(tmp_path / "table.bin", 0)
    assert runtime.run((np.ones((1, 4), np.float32),))[0].tolist() == [[2.0] * 4]


@pytest.mark.parametrize("part", ["branch", "function"])
def test_weights_that_would_not_stay_are_refused(part: str, tmp_path: Path) -> None:
    """Of these onnxruntime maps the file, and who cut it short would end the server."""
    path = parted(tmp_path, part)
    with pytest.raises(
        GraphError, match=rf"{path}: weights of a branch, a loop or a function of it lie in 'table\.bin'"
    ):
        Runtime(path, str(path))


@pytest.mark.parametrize("make", [bytes, lambda content: sealed([content])])
def test_bytes_find_no_weights_anywhere(
    make: Callable[[bytes], Sealed | bytes], divided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose checksum was right does not bring in what nothing vouches for."""
    monkeypatch.chdir(divided.parent)
    with pytest.raises(GraphError, match=r"onnxruntime cannot load the graph: .*divided\.onnx\.data"):
        Runtime(make(divided.read_bytes()), str(divided))


@pytest.mark.parametrize("part", ["constant", "branch", "function"])
def test_a_sealed_graph_finds_no_weights_among_the_open_files(part: str, tmp_path: Path) -> None:
    """Beside its path lie those of the process's other files, which have numbers for names."""
    content = parted(tmp_path, part).read_bytes()
    with (tmp_path / "table.bin").open("rb") as weights:
        # As long as the name that it takes the place of.
        name = f".{weights.fileno():/>8}".encode()
        with pytest.raises(GraphError, match=f"^{WHERE}: onnxruntime cannot load the graph: "):
            Runtime(sealed([content.replace(b"table.bin", name)]), WHERE)


def test_a_sealed_graph_may_go_once_it_is_loaded() -> None:
    """Nothing of it is needed to compute, and an error shows no path that nobody knows."""
    before = copies_held_before()
    runtime = Runtime(sealed([graph_of(SAMPLES["line"])]), WHERE)
    assert copies_held() == before
    assert runtime.run((np.array([[1, 2]], np.float32),))[0].tolist() == [[-2.0]]
    with pytest.raises(GraphError, match=f"^{WHERE}: .*Load model from {WHERE} failed"):
        Runtime(sealed([b"garbage"]), WHERE)


def test_weights_that_are_missing_are_named(divided: Path) -> None:
    """The sentence says which file is not there."""
    divided.with_name("divided.onnx.data").unlink()
    with pytest.raises(GraphError, match=rf"{divided}: onnxruntime cannot load .*divided\.onnx\.data"):
        Runtime(divided, str(divided))


def test_telemetry_is_off_before_onnxruntime_is_loaded() -> None:
    """A process that imports the runtime reports to nobody, unless its operator says otherwise."""
    program = "import os, service.model.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert fresh_process(program) == "1"
    assert fresh_process(program, ORT_DISABLE_TELEMETRY="0") == "0"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_session_has_no_more_threads_than_asked_for(threads: int) -> None:
    """The caller's thread counts as one, also after a batch that is worth dividing."""
    program = f"""
import os
import numpy as np
from service.model.runtime import Runtime
from tests.service.conftest import SAMPLES, graph_of
graph = graph_of(SAMPLES["deep"])
before = len(os.listdir("/proc/self/task"))
runtime = Runtime(graph, "deep", threads={threads})
runtime.run((np.ones((64, 512), np.float32),))
print(len(os.listdir("/proc/self/task")) - before)
"""
    assert int(fresh_process(program)) <= threads - 1
