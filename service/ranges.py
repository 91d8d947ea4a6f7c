"""Which feature values lie outside the range that training saw."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from service.codec.tensors import DTYPES, Array
from service.manifest import Datatype, Feature, ModelManifest, TensorSpec

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
    most: Array


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

    def count(self, arrays: Sequence[Array], counter: Counter[str]) -> None:
        """Add the values of the inputs `arrays` that lie outside, by feature."""
        for bounds in self._bounds:
            array = arrays[bounds.place]
            below, above = array < bounds.least, array > bounds.most
            # Most batches have none: for them this is all.
            if not np.count_nonzero(below) and not np.count_nonzero(above):
                continue
            by_column = (below | above).reshape(-1, len(bounds.features)).sum(axis=0)
            for column in np.flatnonzero(by_column).tolist():
                counter[bounds.features[column].name] += int(by_column[column])

    def outside(self, arrays: Sequence[Array]) -> Iterator[Outside]:
        """Every value of the inputs `arrays` that lies outside, in order."""
        for bounds in self._bounds:
            array = arrays[bounds.place]
            for place in np.argwhere((array < bounds.least) | (array > bounds.most)).tolist():
                feature = bounds.features[place[-1]]
                value = array[tuple(place)].item()
                yield Outside(bounds.input, place[0], feature.name, feature.minimum, feature.maximum, value)


def _bounds(place: int, spec: TensorSpec) -> _Bounds | None:
    features = spec.features or ()
    if spec.datatype in _WITHOUT_ORDER or all(one.minimum is None and one.maximum is None for one in features):
        return None
    dtype = DTYPES[spec.datatype]
    least = [-np.inf if feature.minimum is None else feature.minimum for feature in features]
    most = [np.inf if feature.maximum is None else feature.maximum for feature in features]
    return _Bounds(place, spec.name, features, _as(dtype, np.ceil(least), least), _as(dtype, np.floor(most), most))


def _as(dtype: np.dtype[Any], whole: Array, exact: list[float]) -> Array:
    """Bounds in the datatype of the values: so a value that is rounded on its way in is compared with one that was."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(exact, dtype)
    limits = np.iinfo(dtype)
    # A bound beyond what the datatype holds, an infinite one too, is its last value.
    return np.array([int(min(max(bound, limits.min), limits.max)) for bound in whole.tolist()], dtype)
