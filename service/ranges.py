"""Which feature values lie outside the range that training saw."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from service.codec.tensors import DTYPES, Array
from service.errors import MAX_FAULTS, RangeError, merge
from service.manifest import Datatype, Feature, ModelManifest, TensorSpec

_FEW = 64
"""Elements that Python compares in less time than numpy takes to begin."""
_BLOCK = 1 << 14
"""Elements that are compared at a time, or those of one row."""
_WITHOUT_ORDER: set[Datatype] = {"BOOL", "BYTES", "BF16"}


class Outside(NamedTuple):
    """A value that training saw nothing like: where it stands, and the range that training saw."""

    input: str
    row: int
    feature: str
    minimum: float | None
    maximum: float | None
    value: float


class _Bounds(NamedTuple):
    """The least and the most of each column of one input, as the input's own datatype."""

    place: int
    input: str
    features: tuple[Feature, ...]
    least: Array
    """As many rows of them as are compared at a time: an array with one of its own shape takes a third of the time."""
    most: Array
    pairs: list[tuple[float, float]]
    """The same as numbers of Python's."""


class Ranges:
    """The ranges of a model's features."""

    def __init__(self, bounds: Sequence[_Bounds]) -> None:
        self._bounds = bounds

    @classmethod
    def of(cls, manifest: ModelManifest) -> "Ranges | None":
        """The ranges that the manifest tells; None where it tells of none."""
        bounds = [_bounds(place, spec) for place, spec in enumerate(manifest.inputs)]
        known = [one for one in bounds if one is not None]
        return cls(known) if known else None

    def count(self, arrays: Sequence[Array]) -> Iterator[tuple[str, int]]:
        """How many values of the inputs `arrays` lie outside, by feature; of large ones in several parts."""
        for bounds in self._bounds:
            array = arrays[bounds.place]
            if array.size <= _FEW and _are_within(array.reshape(-1).tolist(), bounds):
                continue
            rows = array.reshape(-1, len(bounds.features))
            for start in range(0, len(rows), len(bounds.least)):
                block = rows[start : start + len(bounds.least)]
                below, above = block < bounds.least[: len(block)], block > bounds.most[: len(block)]
                # Most batches have none: for them this is all.
                if not np.count_nonzero(below) and not np.count_nonzero(above):
                    continue
                by_column = (below | above).sum(axis=0)
                for column in np.flatnonzero(by_column).tolist():
                    yield bounds.features[column].name, int(by_column[column])

    def outside(self, arrays: Sequence[Array]) -> Iterator[Outside]:
        """Every value of the inputs `arrays` that lies outside, in order."""
        for bounds in self._bounds:
            array = arrays[bounds.place]
            for place in np.argwhere((array < bounds.least[0]) | (array > bounds.most[0])).tolist():
                feature = bounds.features[place[-1]]
                value = array[tuple(place)].item()
                yield Outside(bounds.input, place[0], feature.name, feature.minimum, feature.maximum, value)

    def refuse(self, requests: Iterable[Sequence[Array]], *, by_row: bool) -> None:
        """Raise `RangeError`, with every fault, where a value of what is computed together lies outside.

        `by_row` says that the request lists its rows, where faults are then told; else its inputs.
        """
        outside = (one for arrays in requests for one in self.outside(arrays))
        found = [
            RangeError.at(
                f"/instances/{one.row}" if by_row else "/inputs",
                expected=f"{one.feature} {_range(one.minimum, one.maximum)}",
                got=f"{one.value}" if by_row else f"{one.value} in row {one.row} of {one.input}",
                hint="training saw no such value",
            )
            for one in islice(outside, MAX_FAULTS)
        ]
        if found:
            raise merge(found)


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return f"at most {maximum}"
    return f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"


def _bounds(place: int, spec: TensorSpec) -> _Bounds | None:
    features = spec.features or ()
    if spec.datatype in _WITHOUT_ORDER or all(one.minimum is None and one.maximum is None for one in features):
        return None
    dtype = DTYPES[spec.datatype]
    least = [-np.inf if feature.minimum is None else feature.minimum for feature in features]
    most = [np.inf if feature.maximum is None else feature.maximum for feature in features]
    lower, upper = _as(dtype, np.ceil(least), least), _as(dtype, np.floor(most), most)
    pairs = list(zip(lower.tolist(), upper.tolist(), strict=True))
    shape = (max(1, _BLOCK // len(features)), 1)
    return _Bounds(place, spec.name, features, np.tile(lower, shape), np.tile(upper, shape), pairs)


def _are_within(values: Sequence[float], bounds: _Bounds) -> bool:
    """Whether all values of some rows are in range; False for NaN, which the slow look passes over."""
    pairs = bounds.pairs
    for start in range(0, len(values), len(pairs)):
        for value, (least, most) in zip(values[start : start + len(pairs)], pairs, strict=True):
            if not least <= value <= most:
                return False
    return True


def _as(dtype: np.dtype[Any], whole: Array, exact: list[float]) -> Array:
    """Bounds in the datatype of the values: so a value that is rounded on its way in is compared with one that was."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(exact, dtype)
    limits = np.iinfo(dtype)
    # A bound beyond what the datatype holds, an infinite one too, is its last value.
    return np.array([int(min(max(bound, limits.min), limits.max)) for bound in whole.tolist()], dtype)
