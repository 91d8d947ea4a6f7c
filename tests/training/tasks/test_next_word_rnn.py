"""Behaviour of training.tasks.next_word_rnn."""

import io
import warnings
from functools import partial

import onnxruntime
import pytest
import torch

from training.describe import describe
from training.export import Exported, export
from training.language import Elman, NextWord
from training.task import Data, Figures, History, Trained
from training.tasks.next_word_rnn import VERSION_1, VOCABULARY
from training.verify import answer, golden, verify


@pytest.fixture(scope="module")
def data() -> Data:
    """Read the text."""
    return VERSION_1.data()


@pytest.fixture(scope="module")
def network(data: Data) -> NextWord:
    """Build the task's network; its weights are no better than drawn."""
    torch.manual_seed(0)
    built = VERSION_1.network(data).eval()
    assert isinstance(built, NextWord)
    return built


@pytest.fixture(scope="module")
def exported(network: NextWord, data: Data) -> Exported:
    """Export that network."""
    return export(network, data.held_out.inputs, VERSION_1.input, VERSION_1.output)


def test_the_layer_is_the_announced_one(network: NextWord) -> None:
    """One layer of it, the vocabulary before and after."""
    assert type(network.recurrent) is Elman
    assert network.recurrent.num_layers == 1
    assert network.embedding.num_embeddings == len(VOCABULARY) == 2000


def test_the_parts_are_rows_of_ids(data: Data) -> None:
    """Most of the text is there to learn from, and every id is a word's."""
    assert data.validation is not None
    assert data.test is not None
    for split in (data.train, data.validation, data.test):
        assert split.inputs.dtype == split.targets.dtype == torch.int64
        assert 0 <= split.inputs.min() <= split.inputs.max() < len(VOCABULARY)
    assert len(data.train.inputs) > 1000 > len(data.validation.inputs) + len(data.test.inputs)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 30), (3, 2), (7, 65), (64, 7)])
def test_exported_models_take_any_length(network: NextWord, exported: Exported, rows: int, length: int) -> None:
    """Neither the rows nor the length of the example that was exported are left in the files."""
    context = torch.randint(len(VOCABULARY), (rows, length), generator=torch.Generator().manual_seed(length))
    wanted = torch.from_numpy(answer(network, context))
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(["probability"], {"context": context.numpy()})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        script = torch.jit.load(io.BytesIO(exported.torchscript))  # type: ignore[no-untyped-call] # PyTorch's own
    assert wanted.shape == (rows, len(VOCABULARY))
    assert torch.allclose(torch.from_numpy(by_onnx), wanted, rtol=0, atol=1e-5)
    assert torch.allclose(script(context), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 30])
def test_a_row_alone_is_the_row_in_a_batch(exported: Exported, length: int) -> None:
    """ONNX Runtime answers both to the last bit the same."""
    context = torch.randint(len(VOCABULARY), (64, length), generator=torch.Generator().manual_seed(0)).numpy()
    session = onnxruntime.InferenceSession(exported.onnx, providers=["CPUExecutionProvider"])
    (together,) = session.run(["probability"], {"context": context})
    for place in range(64):
        (alone,) = session.run(["probability"], {"context": context[place : place + 1]})
        assert alone.tobytes() == together[place].tobytes()


def test_an_export_repeats_to_the_byte(network: NextWord, exported: Exported, data: Data) -> None:
    """The same network gives the same files."""
    assert export(network, data.held_out.inputs, VERSION_1.input, VERSION_1.output) == exported


def test_it_verifies_and_is_described(network: NextWord, exported: Exported, data: Data) -> None:
    """The manifest takes the task's tensors, and golden rows are contexts of ids."""
    assert VERSION_1.examples is not None
    examples = partial(VERSION_1.examples, data)
    parity = verify(network, exported, VERSION_1.input, VERSION_1.output, examples)
    trained = Trained(network, data, History((7.6,)), 0)
    manifest = describe(VERSION_1, trained, Figures({"test_perplexity": 1.5}, {"kneser_ney_bigram": 2.5}), parity)
    assert manifest.kind == "next_word"
    assert manifest.inputs[0].vocabulary == VOCABULARY
    rows = golden(network, VERSION_1.input, VERSION_1.output, data.held_out.inputs)
    assert all(isinstance(word, int) for row in rows.inputs["context"] for word in row)
