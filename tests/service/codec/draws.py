"""Tensors of every datatype and arrays for the tests of the codecs to draw, and when two of those are the same."""

from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codec.tensors import DTYPES, Array
from service.manifest import VARIABLE, Datatype, TensorSpec

DATATYPES: tuple[Datatype, ...] = get_args(Datatype)
JSON_DATATYPES: tuple[Datatype, ...] = tuple(name for name in DATATYPES if name != "BF16")
"""Those whose elements JSON can write."""
INTEGERS: tuple[Datatype, ...] = tuple(name for name in DATATYPES if "INT" in name)
FLOATS: tuple[Datatype, ...] = ("FP16", "FP32", "FP64")


def spec_of(datatype: Datatype, *, allow_non_finite: bool = False) -> TensorSpec:
    """A tensor of a datatype."""
    return TensorSpec(name="x", datatype=datatype, shape=(VARIABLE,), allow_non_finite=allow_non_finite)


def range_of(datatype: Datatype) -> tuple[int, int]:
    """The smallest and the largest integer of a datatype, from its name."""
    bits = int(datatype.removeprefix("U").removeprefix("INT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def elements(datatype: Datatype, *, finite: bool = True) -> st.SearchStrategy[Any]:
    """Elements of a datatype, without NaN and the infinities unless told otherwise."""
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return st.text(max_size=4)
    if datatype == "BF16" and finite:
        return hnp.from_dtype(dtype).filter(lambda bits: int(bits) & 0x7F80 != 0x7F80)
    if dtype.kind == "f":
        return hnp.from_dtype(dtype, allow_nan=not finite, allow_infinity=not finite)
    return hnp.from_dtype(dtype)


def arrays(datatype: Datatype, shape: Any, *, finite: bool = True) -> st.SearchStrategy[Array]:  # noqa: ANN401  # numpy's
    """Arrays of a datatype and a shape."""
    return hnp.arrays(DTYPES[datatype], shape, elements=elements(datatype, finite=finite))


def same_bits(first: Array, second: Array) -> bool:
    """Whether two arrays have the same datatype, shape and bytes; of texts, the same texts."""
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    if first.dtype.kind == "O":
        return bool(first.reshape(-1).tolist() == second.reshape(-1).tolist())
    return first.tobytes() == second.tobytes()


def is_exact(datatype: Datatype, value: Any) -> bool:  # noqa: ANN401  # JSON
    """Whether an element is a value of the datatype, said in the protocol's terms."""
    if datatype in ("BOOL", "BYTES"):
        return isinstance(value, bool if datatype == "BOOL" else str)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.array(float(value)).astype(dtype)))
    return value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
