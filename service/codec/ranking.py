"""The largest columns of each row of a table."""

import numpy as np

from service.codec.tensors import Array

_BLOCK = 1 << 18
"""Elements that are ranked together: few enough for a processor's cache."""


def largest_columns(table: Array, count: int) -> Array:
    """The places of the `count` largest columns of each row, falling: of equal ones the first first, NaN last.

    As a stable sort of whole rows would have them, without sorting what is not asked for.
    """
    rows, width = table.shape
    count = min(count, width)
    places = np.empty((rows, count), np.intp)
    block = max(_BLOCK // max(width, 1), 1)
    for start in range(0, rows, block):
        part = table[start : start + block]
        # The complement of an integer falls as it rises, and unlike its negative always fits.
        keys = -part if part.dtype.kind == "f" else ~part
        chosen = _smallest(keys, count) if 2 * count < width else np.broadcast_to(np.arange(width), keys.shape)
        order = np.argsort(np.take_along_axis(keys, chosen, axis=1), axis=1, kind="stable")[:, :count]
        places[start : start + block] = np.take_along_axis(chosen, order, axis=1)
    return places


def _smallest(keys: Array, count: int) -> Array:
    """The places of the `count` smallest columns of each row, rising: of equal ones the first, NaN at the very last."""
    # NaN is sorted behind all else.
    last = np.partition(keys, count - 1, axis=1)[:, count - 1 : count]
    chosen = keys <= last
    if keys.dtype.kind == "f":
        # Where fewer than `count` are numbers, all of those and as many NaN as it takes.
        chosen |= np.isnan(last)
    for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > count).tolist():
        below = ~np.isnan(keys[row]) if np.isnan(last[row, 0]) else keys[row] < last[row, 0]
        equal = np.flatnonzero(chosen[row] & ~below)
        chosen[row, equal[count - np.count_nonzero(below) :]] = False
    return np.nonzero(chosen)[1].reshape(len(keys), count)
