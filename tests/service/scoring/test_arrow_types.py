"""Behaviour of service.scoring.arrow_types."""

import pyarrow as pa
import pytest

from service.manifest import Datatype
from service.scoring.arrow_types import holds_texts, is_list, nested, widest_type
from tests.service.conftest import tensor


def test_texts_are_texts_however_they_are_laid_out() -> None:
    """Bytes, numbers and what stands for texts are none."""
    assert all(map(holds_texts, [pa.string(), pa.large_string(), pa.string_view()]))
    others = [pa.binary(), pa.int8(), pa.null(), pa.list_(pa.string()), pa.dictionary(pa.int8(), pa.string())]
    assert not any(map(holds_texts, others))


def test_lists_are_lists_however_they_are_laid_out() -> None:
    """Other nested cells are none."""
    item = pa.int8()
    lists = [pa.list_(item), pa.large_list(item), pa.list_(item, 2), pa.list_view(item), pa.large_list_view(item)]
    assert all(map(is_list, lists))
    assert not any(map(is_list, [item, pa.struct([("a", lists[0])]), pa.map_(item, item), pa.string()]))


@pytest.mark.parametrize(
    ("datatype", "column_type"),
    [
        ("FP16", pa.float64()),
        ("INT8", pa.int64()),
        ("UINT32", pa.int64()),
        ("UINT64", pa.uint64()),
        ("BOOL", pa.bool_()),
        ("BYTES", pa.string()),
    ],
)
def test_elements_are_read_without_loss(datatype: Datatype, column_type: pa.DataType) -> None:
    """Before they are cast to the tensor's datatype, which is looked at closely."""
    assert widest_type(tensor("x", datatype, 1)) == column_type


def test_lists_are_nested_as_deeply_as_asked() -> None:
    """Not at all, too."""
    assert nested(pa.int8(), 0) == pa.int8()
    assert nested(pa.int8(), 2) == pa.list_(pa.list_(pa.int8()))
