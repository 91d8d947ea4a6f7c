"""Inputs on which models are compared, drawn after typical rows."""

from collections.abc import Iterator
from itertools import product

import torch
from torch import Generator, Tensor

from service.manifest import VARIABLE, TensorSpec


def drawn(source: TensorSpec, rows: Tensor, size: int, generator: Generator) -> Iterator[Tensor]:
    """Draw inputs of `size` rows, of the shape and datatype that `rows` have.

    A dimension of a row that `source` leaves open is given each of three lengths, in all combinations: one, that of
    `rows`, the next longer odd one. Ids of a vocabulary can be any of it; all else is drawn as `uniform` does, from
    the columns of `rows`, which for a longer dimension begin anew.
    """
    free = [axis for axis, length in enumerate(source.shape) if length == VARIABLE and axis > 0]
    for lengths in product(*(_lengths(rows.shape[axis]) for axis in free)):
        stretched = rows
        for axis, length in zip(free, lengths, strict=True):
            stretched = stretched.index_select(axis, torch.arange(length) % rows.shape[axis])
        if source.vocabulary is not None:
            yield torch.randint(len(source.vocabulary), (size, *stretched.shape[1:]), generator=generator)
        else:
            yield uniform(stretched, size, generator)


def _lengths(seen: int) -> list[int]:
    return sorted({1, seen, seen + 1 + seen % 2})


def uniform(rows: Tensor, size: int, generator: Generator) -> Tensor:
    """Draw `size` rows: floats from the range that each column of `rows` spans, all else from the values in it."""
    shape = (size, *rows.shape[1:])
    if not rows.is_floating_point():
        return rows.gather(0, torch.randint(len(rows), shape, generator=generator))
    # Of half floats the span of a range can be infinite.
    wide = rows if rows.dtype in {torch.float32, torch.float64} else rows.float()
    lowest, highest = wide.amin(dim=0), wide.amax(dim=0)
    share = torch.rand(shape, generator=generator, dtype=wide.dtype)
    return (lowest + (highest - lowest) * share).to(rows.dtype)
