"""Scores a block of rows: its columns as arrays, these through the model, the answers as columns."""

import math
from collections.abc import Sequence
from itertools import groupby, islice
from operator import attrgetter, itemgetter
from typing import Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa

from service.codec.tensors import Array
from service.errors import MAX_FAULTS, ComputeError
from service.manifest import ModelManifest
from service.model.runtime import Arrays, Runtime
from service.scoring.layout import Layout
from service.scoring.lists import Places, Ragged, group, read_lists
from service.scoring.misfits import faults_of
from service.scoring.predictions import columns_of, fields_of
from service.scoring.reading.blocks import Block, Loose, RowFault, UnfitError
from service.scoring.values import Mask, stack

OnError = Literal["fail", "skip", "quarantine"]

COMPUTABLE = "a row that the model can compute"
"""What is expected of a row on which onnxruntime fails."""
_ELEMENTS = 1 << 22
"""About so many elements of outputs are held before they become columns."""


class Scored(NamedTuple):
    """What became of a block."""

    batch: pa.RecordBatch
    """Kept columns, then predictions, of the rows that are valid."""
    rows: int
    """Of the block, with the rejected."""
    faults: tuple[RowFault, ...]
    """Of the rejected rows, in order, `MAX_FAULTS` a row at most; where one fails all, of the first rejected row."""
    rejected: int
    """How many rows."""


class _Read(NamedTuple):
    """A batch of rows as the model's inputs."""

    tensors: tuple[Array | Ragged, ...]
    misfits: dict[int, Mask]
    """For each cell of the layout that does not fit in some rows, in which."""
    unknown: Mask | None
    """Which elements of the contexts, if they are the input, are words that the vocabulary lacks."""

    def unknown_of(self, places: Places) -> pa.Array:
        """For the rows at these places, lists of the places of such words."""
        contexts = cast("Ragged", self.tensors[0])
        return contexts.at(places).spread(cast("Mask", self.unknown))


class Scorer:
    """One model, applied to blocks of files of one layout. It may be used by several threads at once."""

    def __init__(  # noqa: PLR0913, PLR0917  # a model, how it is run, and what the rows are
        self,
        runtime: Runtime,
        manifest: ModelManifest,
        max_batch: int,
        layout: Layout,
        there: pa.Schema,
        on_error: OnError,
    ) -> None:
        self._runtime = runtime
        self._manifest = manifest
        self._max_batch = max_batch
        self._layout = layout
        self._on_error = on_error
        self._takes_words = manifest.kind == "next_word"
        self._cells = [
            [(place, cell) for place, cell in enumerate(layout.cells) if cell.spec.name == spec.name]
            for spec in manifest.inputs
        ]
        types = dict(zip(there.names, there.types, strict=True))
        kept = [pa.field(name, types[name]) for name in layout.keep]
        self.schema = pa.schema([*kept, *fields_of(manifest)])
        wide = sum(math.prod(max(length, 1) for length in spec.row_shape) for spec in manifest.outputs)
        # A whole number of runs, so that how rows share them does not depend on it.
        self._at_once = max(_ELEMENTS // wide // max_batch, 1) * max_batch

    def score(self, block: Block) -> Scored:
        """The block's rows, scored or rejected; raises `ScoreError` where the file cannot be read."""
        try:
            batch = block.strictly()
        except UnfitError:
            loose = block.loosely()
            return self._second_look(loose, self._read(loose.batch))
        read = self._read(batch)
        if read.misfits:
            # For the words in which the file says what does not fit; it may find rows that are none.
            loose = block.loosely()
            same = loose.batch.num_rows == batch.num_rows
            return self._second_look(loose, read if same else self._read(loose.batch))
        rows = np.arange(batch.num_rows)
        return self._computed(Loose(batch, rows, batch.num_rows, ()), read, rows, [])

    def _second_look(self, loose: Loose, read: _Read) -> Scored:
        """The valid rows of a block in which some may be none."""
        unfit = np.zeros(loose.batch.num_rows, np.bool_)
        for mask in read.misfits.values():
            unfit |= mask
        faults = list(loose.faults)
        if self._on_error == "fail" and (faults or unfit.any()):
            first = min([fault.row for fault in faults[:1]] + loose.rows[unfit][:1].tolist())
            unfit &= loose.rows == first
            faults = [fault for fault in faults if fault.row == first]
        for place, mask in sorted(read.misfits.items(), key=itemgetter(0)):
            cell = self._layout.cells[place]
            places = np.flatnonzero(mask & unfit)
            column = loose.batch.column(cell.column)
            faults += faults_of(cell, column, places, loose.rows[places], takes_words=self._takes_words)
        return self._computed(loose, read, np.flatnonzero(~unfit), faults)

    def _read(self, batch: pa.RecordBatch) -> _Read:
        tensors: list[Array | Ragged] = []
        misfits: dict[int, Mask] = {}
        unknown: Mask | None = None
        for spec, cells in zip(self._manifest.inputs, self._cells, strict=True):
            first, cell = cells[0]
            if cell.shape:
                lists = read_lists(cell, batch.column(cell.column), takes_words=self._takes_words)
                tensors.append(lists.values)
                unknown = lists.unknown
                if lists.misfits.any():
                    misfits[first] = lists.misfits
                continue
            array, unfit = stack(spec, [batch.column(one.column) for _, one in cells])
            tensors.append(array.reshape(len(array), *spec.row_shape))
            misfits |= {cells[place][0]: mask for place, mask in unfit.items()}
        return _Read(tuple(tensors), misfits, unknown)

    def _computed(self, loose: Loose, read: _Read, valid: Places, faults: list[RowFault]) -> Scored:
        """What becomes of a block of which the rows at the `valid` places of its batch can be computed."""
        if faults and self._on_error == "fail":
            return self._scored(self._no_rows(), faults, loose.count)
        failed: list[tuple[int, str]] = []
        pieces: list[tuple[Places, list[pa.Array]]] = []
        for places in group(read.tensors, valid):
            for start in range(0, len(places), self._at_once):
                part = places[start : start + self._at_once]
                for done, outputs in self._run(_arrays(read.tensors, part), part, failed):
                    pieces.append((done, columns_of(self._manifest, outputs)))
        faults += [RowFault(int(loose.rows[place]), "", COMPUTABLE, said) for place, said in failed]
        if not pieces or (failed and self._on_error == "fail"):
            return self._scored(self._no_rows(), faults, loose.count)
        done, columns = _in_order(pieces)
        if read.unknown is not None:
            columns.append(read.unknown_of(done))
        kept = [loose.batch.column(name) for name in self._layout.keep]
        if len(done) < loose.batch.num_rows:
            kept = [column.take(pa.array(done)) for column in kept]
        batch = pa.RecordBatch.from_arrays([*kept, *columns], schema=self.schema)
        return self._scored(batch, faults, loose.count)

    def _run(self, arrays: Arrays, places: Places, failed: list[tuple[int, str]]) -> list[tuple[Places, Arrays]]:
        """The outputs of the rows, which are those at `places`; those on which the model fails are left out and told.

        A run that fails is halved, and what fails of it again: around each such row as often as a run can be.
        """
        try:
            return [(places, self._runtime.run_rows(arrays, self._max_batch))]
        except ComputeError:
            waiting = [(at, min(at + self._max_batch, len(places))) for at in range(0, len(places), self._max_batch)]
        waiting.reverse()
        done: list[tuple[Places, Arrays]] = []
        while waiting:
            start, stop = waiting.pop()
            try:
                outputs = self._runtime.run_batch(tuple(array[start:stop] for array in arrays))
            except ComputeError as error:
                if stop - start > 1:
                    middle = (start + stop) // 2
                    waiting += [(middle, stop), (start, middle)]
                    continue
                failed.append((int(places[start]), error.message))
                if self._on_error == "fail":
                    break
            else:
                done.append((places[start:stop], outputs))
        return done

    def _scored(self, batch: pa.RecordBatch, faults: list[RowFault], count: int) -> Scored:
        faults = sorted(faults, key=attrgetter("row"))
        rejected = len({fault.row for fault in faults})
        if self._on_error == "fail":
            faults = [fault for fault in faults if fault.row == faults[0].row]
            rejected = min(rejected, 1)
        if rejected < len(faults):
            by_row = groupby(faults, key=attrgetter("row"))
            faults = [fault for _, own in by_row for fault in islice(own, MAX_FAULTS)]
        return Scored(batch, count, tuple(faults), rejected)

    def _no_rows(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([], schema=self.schema)


def _in_order(pieces: Sequence[tuple[Places, list[pa.Array]]]) -> tuple[Places, list[pa.Array]]:
    """The columns of all pieces, one after the other, in the order of the places of their rows."""
    if len(pieces) == 1:
        return pieces[0]
    done = np.concatenate([places for places, _ in pieces])
    columns = [pa.concat_arrays(parts) for parts in zip(*[own for _, own in pieces], strict=True)]
    if (np.diff(done) > 0).all():
        return done, columns
    order = np.argsort(done)
    return done[order], [column.take(pa.array(order)) for column in columns]


def _arrays(tensors: Sequence[Array | Ragged], places: Places) -> Arrays:
    """The rows at these rising places, without a copy where they are next to each other."""
    near = slice(places[0], places[-1] + 1) if places[-1] - places[0] == len(places) - 1 else places
    return tuple(tensor.rows(places) if isinstance(tensor, Ragged) else tensor[near] for tensor in tensors)
