"""Behaviour of service.scoring.reading.blocks."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from service.errors import ScoreError
from service.scoring.reading.blocks import (
    MOST_COLUMNS,
    Decoded,
    plain,
    plain_schema,
    refuse_many_columns,
)


def test_what_is_decoded_is_read_the_same_way_twice() -> None:
    """Strictly and loosely there is every row, since no row of them can be faulty."""
    batch = pa.record_batch({"a": [1, 2], "b": ["x", None]})
    block = Decoded(batch, 7)
    assert block.size == 7
    assert block.strictly() is batch
    loose = block.loosely()
    assert (loose.batch, loose.rows.tolist(), loose.count, loose.faults) == (batch, [0, 1], 2, ())


def test_dictionaries_are_written_out() -> None:
    """So that the same column has one type, however a file encodes it; notes of other programs are no part of it."""
    values = pa.array(["x", None, "x"]).dictionary_encode()
    schema = pa.schema([pa.field("a", values.type, metadata={"k": "v"}), ("b", pa.int8())], metadata={"pandas": "{}"})
    batch = plain(pa.record_batch([values, pa.array([1, 2, 3], pa.int8())], schema=schema))
    assert batch.schema.equals(pa.schema([("a", pa.string()), ("b", pa.int8())]), check_metadata=True)
    assert batch.schema.equals(plain_schema(schema), check_metadata=True)
    assert batch.to_pydict() == {"a": ["x", None, "x"], "b": [1, 2, 3]}


@pytest.mark.parametrize(
    ("column", "datatype"),
    [
        (pa.array(["x", None, "y"], pa.string_view()), pa.string()),
        (pa.array([b"x", None, b"y"], pa.binary_view()), pa.binary()),
        (pa.array([[1.5], None, [2.5, None]], pa.list_view(pa.float32())), pa.list_(pa.float32())),
        (pa.array([[1], None, []], pa.large_list_view(pa.int8())), pa.list_(pa.int8())),
        (pc.run_end_encode(pa.array([1, 1, None])), pa.int64()),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)
def test_other_layouts_are_written_out(column: pa.Array, datatype: pa.DataType) -> None:
    """So that rows can be taken from them; the values are the same."""
    batch = plain(pa.record_batch({"a": column}))
    assert batch.schema.types == [datatype]
    batch.validate(full=True)
    assert batch["a"].to_pylist() == column.to_pylist()
    assert batch["a"].take(pa.array([2])).to_pylist() == column.to_pylist()[2:]


def test_columns_that_are_damaged_are_told() -> None:
    """Before anything is read in them: offsets that point behind the data, indices of no value, bytes of no text."""
    texts = pa.array(["ab", "c"])
    offsets = pa.py_buffer(np.array([0, 1 << 30, 2], np.int32))
    far = pa.Array.from_buffers(pa.string(), 2, [None, offsets, texts.buffers()[2]])
    lists = pa.Array.from_buffers(pa.list_(pa.int8()), 2, [None, offsets], children=[pa.array([1, 2], pa.int8())])
    lost = pa.DictionaryArray.from_arrays(pa.array([0, 9], pa.int8()), texts, safe=False)
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    for column in (far, lists, lost, broken):
        with pytest.raises(pa.ArrowInvalid, match="the column 'a' is damaged: "):
            plain(pa.RecordBatch.from_arrays([column], ["a"]))


def test_a_file_has_so_many_columns_and_no_more() -> None:
    """What it has is told."""
    refuse_many_columns(MOST_COLUMNS, "a.csv")
    with pytest.raises(ScoreError, match=r"a\.csv: expected are at most 65,536 columns, got 65,537"):
        refuse_many_columns(MOST_COLUMNS + 1, "a.csv")
