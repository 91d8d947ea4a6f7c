"""Arrow's types of columns by what their cells are: texts, lists, or elements of a tensor."""

import pyarrow as pa

from service.codec.tensors import element_type
from service.manifest import TensorSpec


def holds_texts(datatype: pa.DataType) -> bool:
    """Whether a column of this type is one of strings, however Arrow lays them out."""
    return bool(pa.types.is_string(datatype) or pa.types.is_large_string(datatype) or pa.types.is_string_view(datatype))


def is_list(datatype: pa.DataType) -> bool:
    """Whether a column of this type has lists, however Arrow lays them out."""
    return bool(
        pa.types.is_list(datatype)
        or pa.types.is_large_list(datatype)
        or pa.types.is_fixed_size_list(datatype)
        or pa.types.is_list_view(datatype)
        or pa.types.is_large_list_view(datatype)
    )


def widest_type(spec: TensorSpec) -> pa.DataType:
    """The type that holds every number, truth value or text that can be an element of the tensor, to the last bit."""
    integers = pa.uint64() if spec.datatype == "UINT64" else pa.int64()
    return {bool: pa.bool_(), int: integers, float: pa.float64(), str: pa.string()}[element_type(spec.datatype)]


def nested(datatype: pa.DataType, depth: int) -> pa.DataType:
    """The type of lists of such cells, in so many layers."""
    for _ in range(depth):
        datatype = pa.list_(datatype)
    return datatype
