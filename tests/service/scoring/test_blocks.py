"""Behaviour of service.scoring.blocks."""

import pickle

import pyarrow as pa

from service.errors import ScoreError
from service.scoring.blocks import Columns, Loose, RowFault, plain, plain_schema, unreadable
from service.scoring.formats import Form
from service.scoring.sources import File

FILE = File("a.csv", 1, 1, Form("csv", None))


def test_columns_are_read_the_same_way_twice() -> None:
    """Strictly and loosely there is every row, since no row of them can be faulty."""
    batch = pa.record_batch({"a": [1, 2], "b": ["x", None]})
    block = Columns(batch, 7)
    assert block.size == 7
    assert block.strictly() is batch
    loose = block.loosely()
    assert (loose.batch, loose.rows.tolist(), loose.count, loose.faults) == (batch, [0, 1], 2, ())


def test_what_was_found_can_be_sent() -> None:
    """To another process."""
    fault = RowFault(3, "a", "a number", "'x'")
    loose = Loose(pa.record_batch({"a": [1]}), Columns(pa.record_batch({"a": [1]}), 1).loosely().rows, 1, (fault,))
    again = pickle.loads(pickle.dumps(loose))  # noqa: S301  # its own bytes
    assert (again.batch, again.faults) == (loose.batch, loose.faults)


def test_dictionaries_are_written_out() -> None:
    """So that the same column has one type, however a file encodes it; notes of other programs are no part of it."""
    values = pa.array(["x", None, "x"]).dictionary_encode()
    schema = pa.schema([pa.field("a", values.type, metadata={"k": "v"}), ("b", pa.int8())], metadata={"pandas": "{}"})
    batch = plain(pa.record_batch([values, pa.array([1, 2, 3], pa.int8())], schema=schema))
    assert batch.schema.equals(pa.schema([("a", pa.string()), ("b", pa.int8())]), check_metadata=True)
    assert batch.schema.equals(plain_schema(schema), check_metadata=True)
    assert batch.to_pydict() == {"a": ["x", None, "x"], "b": [1, 2, 3]}


def test_an_error_is_told_in_one_line() -> None:
    """The system's reason, or what a library says, cut where it goes on too long."""
    assert unreadable(FILE, OSError(5, "Input/output error")).message == "a.csv: it cannot be read: Input/output error"
    error = unreadable(FILE, pa.ArrowInvalid("one\n  two" + "x" * 1000))
    assert isinstance(error, ScoreError)
    assert error.message.startswith("a.csv: it cannot be read: one twoxxx")
    assert len(error.message) < 300
