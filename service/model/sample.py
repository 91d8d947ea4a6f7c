"""Inputs that a graph can be tried with, whether or not anybody says what it takes."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from service.codec.tensors import DTYPES, Array
from service.errors import ComputeError
from service.manifest import VARIABLE, ModelManifest, TensorSpec
from service.model.runtime import Arrays, Runtime

ROWS = 8
"""The least rows of a sample."""
_LENGTHS = (3, 1)
"""What a free length of a row is tried as, the first that the graph takes: of one element many a row has nothing that
could reach another."""

# The first row is the golden one itself, which the graph is known to take.
_FACTORS = (1, 3, 0.3, -1, 1, 0.1, 2, 1)


def sample_of(runtime: Runtime, manifest: ModelManifest, proven: Arrays | None) -> Arrays | None:
    """Inputs that the graph can be tried with; None where it fails on all that come to mind.

    Of a model with rows they are several that are not alike: the proven golden rows, numbers among them in other
    magnitudes too, or random ones. An input of which the graph takes nothing of the kind stays as the golden rows
    have it, or nought.
    """
    for plain in _noughts(manifest) if proven is None else [proven]:
        if manifest.batching == "none":
            if _takes(runtime, plain):
                return plain
            continue
        varied = tuple(_varied(spec, array) for spec, array in zip(manifest.inputs, plain, strict=True))
        if _takes(runtime, _second(varied)):
            return varied
        if _takes(runtime, first_rows(plain, 1)):
            return _one_by_one(runtime, plain, varied)
    return None


def _one_by_one(runtime: Runtime, plain: Arrays, varied: Arrays) -> Arrays:
    """Rows of which each input is varied where the graph takes it so."""
    sample = tuple(np.resize(one, other.shape) for one, other in zip(plain, varied, strict=True))
    for place, array in enumerate(varied):
        other = (*sample[:place], array, *sample[place + 1 :])
        if _takes(runtime, _second(other)):
            sample = other
    return sample


def _takes(runtime: Runtime, arrays: Arrays) -> bool:
    try:
        runtime.run(arrays)
    except ComputeError:
        return False
    return True


def first_rows(arrays: Arrays, rows: int) -> Arrays:
    """The first so many rows of each array."""
    return tuple(array[:rows] for array in arrays)


def differ(rows: Arrays) -> bool:
    """Whether any row is another than the first."""
    return any(bool((array != array[:1]).any()) for array in rows)


def _second(arrays: Arrays) -> Arrays:
    """The second row of each array: the first one that may be made up."""
    return tuple(array[1:2] for array in arrays)


def _noughts(manifest: ModelManifest) -> Iterator[Arrays]:
    """Zeros, or texts without a character, for each length that a free one is tried as."""
    whole = manifest.batching == "none"
    free = any(VARIABLE in (spec.shape if whole else spec.row_shape) for spec in manifest.inputs)
    for length in _LENGTHS if free else (1,):
        yield tuple(_nought(spec, length, whole=whole) for spec in manifest.inputs)


def _nought(spec: TensorSpec, free: int, *, whole: bool) -> Array:
    shape = [free if length == VARIABLE else length for length in spec.shape]
    if not whole:
        shape[0] = 1
    return np.full(shape, "" if spec.datatype == "BYTES" else 0, DTYPES[spec.datatype])


def _varied(spec: TensorSpec, rows: Array) -> Array:
    """Rows that are not alike, made of those that there are.

    Floats come in several magnitudes; of all else the rows as they are, or where they are alike the first one and
    others of the two values that mean something nearly everywhere: 0 and 1, or no text and some.
    """
    many: Array = np.resize(rows, (max(ROWS, len(rows)), *rows.shape[1:]))
    if spec.datatype == "BF16":
        return many if rows.any() else (_drawn(many).view(np.uint32) >> 16).astype(np.uint16)
    if many.dtype.kind != "f":
        return many if differ((rows,)) else _two_valued(many)
    if not rows.any():
        return _drawn(many).astype(many.dtype)
    factors = np.resize(np.array(_FACTORS, many.dtype), len(many)).reshape(-1, *[1] * (many.ndim - 1))
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(many * factors), many * factors, many)


def _two_valued(many: Array) -> Array:
    """The first row, one that is another in every element, and random ones."""
    is_text = many.dtype.kind == "O"
    ones = np.random.default_rng(0).integers(0, 2, many.shape).astype(bool)
    ones[1] = many[0] == ("" if is_text else 0)
    others: Array = np.where(ones, "1", "").astype(object) if is_text else ones.astype(many.dtype)
    others[0] = many[0]
    return others


def _drawn(like: Array) -> npt.NDArray[np.float32]:
    """The same random numbers each time."""
    numbers: Array = np.random.default_rng(0).standard_normal(like.shape, np.float32)
    return numbers
