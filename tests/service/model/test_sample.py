"""Behaviour of service.model.sample."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import helper

from service.manifest import Datatype
from service.model.runtime import Arrays, Runtime
from service.model.sample import sample_of
from tests.service.conftest import ODD, SAMPLES, Sample, graph_of, manifest_of, tensor


def samples(sample: Sample, *proven: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> Arrays | None:
    """What a model is tried with."""
    return sample_of(Runtime(graph_of(sample), "model"), manifest_of("model", sample), proven or None)


def test_one_golden_row_becomes_rows_of_several_magnitudes() -> None:
    """Equal rows would not show what they do to each other; the first is the golden one itself."""
    (rows,) = samples(ODD["quantised"], np.array([[0.1, 0.25, -0.7, 0.33]], np.float32)) or ()
    assert len({row.tobytes() for row in rows}) >= 4
    assert rows[0].tolist() == pytest.approx([0.1, 0.25, -0.7, 0.33])


def test_without_golden_rows_every_input_is_drawn() -> None:
    """The same values each time; of what is no float, nought and one, which nearly every graph takes."""
    first, again = (samples(SAMPLES["pair"]) or () for _ in range(2))
    assert [array.tolist() for array in first] == [array.tolist() for array in again]
    numbers, counts = first
    assert len({row.tobytes() for row in numbers}) == len(numbers) == len(counts)
    assert set(counts.ravel().tolist()) == {0, 1}
    (texts,) = samples(ODD["echo"]) or ()
    assert (texts[0].tolist(), texts[1].tolist(), set(texts.ravel().tolist())) == (["", ""], ["1", "1"], {"", "1"})
    (flags,) = samples(ODD["flags"]) or ()
    assert (flags[0].tolist(), flags[1].tolist()) == ([False, False], [True, True])


def test_golden_rows_that_are_no_floats_stay_where_they_differ() -> None:
    """Of equal ones only the first stays."""
    own = np.array([[7, 8], [9, 8]], np.int64)
    (rows,) = samples(SAMPLES["counter"], own) or ()
    assert rows.tolist() == own.tolist() * 4
    (rows,) = samples(SAMPLES["counter"], own[:1]) or ()
    assert (rows[0].tolist(), rows[1].tolist()) == ([7, 8], [0, 0])


def test_a_free_length_is_more_than_one_where_the_graph_takes_it() -> None:
    """Of all inputs at once."""
    (steps,) = samples(ODD["late"]) or ()
    assert steps.shape[1:] == (3, 2)
    one_only = dataclasses.replace(
        SAMPLES["tokens"],
        nodes=[
            helper.make_node("Squeeze", ["ids", "axis"], ["one"]),
            helper.make_node("Unsqueeze", ["one", "axis"], ["shifted"]),
        ],
        constants={"axis": np.array([1], np.int64)},
    )
    (ids,) = samples(one_only) or ()
    assert ids.shape[1:] == (1,)


def test_a_model_without_rows_is_tried_with_its_own_shape() -> None:
    """Zeros do."""
    (square,) = samples(ODD["whole"]) or ()
    assert square.tolist() == [[0, 0], [0, 0]]


def picky(datatype: Datatype) -> Iterator[Sample]:
    """Graphs that take each number for an index: of one entry, and of none."""
    for entries in (1, 0):
        sample = SAMPLES["lookup"]
        yield Sample(
            inputs=(tensor("index", datatype, 1),),
            outputs=sample.outputs,
            nodes=sample.nodes,
            rows={},
            constants={"table": np.zeros(entries, np.float32)},
        )


def test_a_graph_that_fails_on_all_that_comes_to_mind_has_no_sample() -> None:
    """One that takes zeros is tried with these."""
    taking, failing = picky("INT64")
    (indices,) = samples(taking) or ()
    assert not indices.any()
    assert samples(failing) is None


def test_each_input_is_varied_that_the_graph_takes_so() -> None:
    """One that it takes as nought alone does not keep the others alike."""
    sample = Sample(
        inputs=(tensor("index", "INT64", 1), tensor("count", "INT64", 1), tensor("number", "FP32", 1)),
        outputs=(tensor("entry", "FP32", 1), tensor("same", "INT64", 1), tensor("own", "FP32", 1)),
        nodes=[
            helper.make_node("Gather", ["table", "index"], ["entry"]),
            helper.make_node("Identity", ["count"], ["same"]),
            helper.make_node("Identity", ["number"], ["own"]),
        ],
        rows={},
        constants={"table": np.zeros(1, np.float32)},
    )
    indices, counts, numbers = samples(sample) or ()
    assert not indices.any()
    assert counts[:2].tolist() == [[0], [1]]
    assert len(np.unique(numbers)) == len(numbers) == len(indices)
