"""Behaviour of service.scoring.writing.results."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
from hypothesis import given

from service.scoring.reading.blocks import RowFault
from service.scoring.scorer import Scored
from service.scoring.writing.results import Place, Result, read_results, to_bytes

SCHEMA = pa.schema([("id", pa.string()), ("score", pa.float32())])

numbers = st.integers(0, 2**62)
places = st.builds(Place, numbers, numbers, numbers, numbers, st.booleans())
texts = st.text(st.characters(codec="utf-8"), max_size=5)
faults = st.builds(RowFault, numbers, texts, texts, texts)
rows = st.tuples(
    st.lists(st.none() | texts, min_size=3, max_size=3),
    st.lists(st.floats(width=32), min_size=3, max_size=3),
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    """A result of 0 to 3 rows, with any faults."""
    names, scores = draw(rows)
    batch = pa.record_batch([pa.array(names, pa.string()), pa.array(scores, pa.float32())], schema=SCHEMA)
    scored = Scored(
        batch.slice(0, draw(st.integers(0, 3))), draw(numbers), tuple(draw(st.lists(faults))), draw(numbers)
    )
    return Result(draw(places), scored, draw(numbers))


@given(st.lists(results(), max_size=4))
def test_what_is_written_is_read_back(written: list[Result]) -> None:
    """Rows to the bit, and all that is beside them."""
    read = list(read_results(pa.py_buffer(to_bytes(written, SCHEMA))))
    assert [one._replace(scored=one.scored._replace(batch=None)) for one in read] == [
        one._replace(scored=one.scored._replace(batch=None)) for one in written
    ]
    for one, other in zip(read, written, strict=True):
        assert one.scored.batch.schema == SCHEMA
        assert one.scored.batch["id"].equals(other.scored.batch["id"])
        bits, expected = (np.asarray(each.scored.batch["score"]).tobytes() for each in (one, other))
        assert bits == expected
        # As another process gets it, not only equal to it.
        assert (type(one), type(one.place), type(one.scored)) == (Result, Place, Scored)
        assert all(type(fault) is RowFault for fault in one.scored.faults)
