"""Batch scoring: a CSV file of rows in, one of predictions out, by the same rules and runtime as the service."""

import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from service.codec.faults import describe
from service.codec.tensors import DTYPES, Array, element_type, from_doubles, labels_of
from service.errors import ModelError, ScoreError
from service.manifest import ModelManifest, TensorSpec
from service.model.loading import Loaded, load
from service.model.plan import DependentRows, plan
from service.model.store import find_models

_BLOCKS = csv.ReadOptions(block_size=1 << 22)
"""A cell, or the header, must fit into one block."""
_QUOTED = csv.ParseOptions(newlines_in_values=True)
_NOUNS = {bool: "0 or 1", int: "an integer", float: "a number"}


class Column(NamedTuple):
    """A column of the input file: its name, and the tensor whose element it is."""

    name: str
    spec: TensorSpec


class Summary(NamedTuple):
    """What was scored."""

    model: str
    version: int
    rows: int


def score(  # noqa: PLR0913  # a model, two files, and how to run
    model: str,
    source: Path,
    target: Path,
    *,
    models: Path,
    overwrite: bool = False,
    provider: str = "cpu",
    threads: int = 1,
    max_batch: int = 256,
    dependent_rows: DependentRows = "alone",
) -> Summary:
    """Score every row of the CSV file `source` and write the predictions, in order, to the CSV file `target`.

    `model` is `<name>` (its latest version) or `<name>/<version>` of those that lie at `models`. The columns are found
    by the names of the model's features; others are passed over. Each output becomes a column, or one for each
    of its labels or elements, followed by its label. `target` appears whole or not at all. Raises `ScoreError`
    for files that cannot be used and rows that are not valid, the `ModelError`s of opening the model, and
    `ComputeError` where onnxruntime fails.
    """
    loaded = _load(models, model, provider, threads)
    decided = plan(loaded, max_batch, dependent_rows)
    manifest, runtime, max_batch = decided.manifest, loaded.runtime, decided.max_batch
    if manifest.batching == "none":
        why = "".join(f": {note}" for note in (loaded.notes + decided.notes)[:1])
        raise ScoreError(f"{manifest.name} takes requests whole, not rows, so it cannot score the rows of a file{why}")
    columns = _columns(manifest)
    blocks = _read(source, columns)
    rows = 0
    with _whole_file(target, overwrite=overwrite) as part:
        writer: csv.CSVWriter | None = None
        try:
            for block in blocks:
                arrays = _arrays(block, columns, manifest, rows)
                table = pa.table(_named_outputs(manifest, runtime.run_rows(arrays, max_batch)))
                writer = writer or csv.CSVWriter(part, table.schema)
                writer.write_table(table)
                rows += block.num_rows
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise ScoreError(f"{source}: it has a header, but no rows")
    return Summary(manifest.name, manifest.version, rows)


def _load(models: Path, model: str, provider: str, threads: int) -> Loaded:
    name, _, version = model.partition("/")
    try:
        found = find_models(models)
    except ModelError as error:
        raise ScoreError(f"models is {error.message}") from None
    if name not in found:
        raise ScoreError(f"{models} holds no model {name!r}: it holds {', '.join(found)}")
    places = {str(number): place for number, place in found[name].items()}
    if version and version not in places:
        raise ScoreError(f"{models} holds {name} in the versions {', '.join(places)}, not in {version!r}")
    return load(places[version or list(places)[-1]], name, provider=provider, threads=threads)


def _columns(manifest: ModelManifest) -> list[Column]:
    """The columns that hold one row of all inputs, in the order in which their elements stand in the row."""
    for spec in (*manifest.inputs, *manifest.outputs):
        if spec.datatype == "BF16":
            raise ScoreError(f"{manifest.name}: {spec.name!r} is BF16, which no column can hold")
    columns: list[Column] = []
    for spec in manifest.inputs:
        if len(spec.row_shape) != 1 or spec.row_shape[0] < 1:
            raise ScoreError(
                f"{manifest.name}: rows of input {spec.name!r} have shape {list(spec.row_shape)}, which are no columns"
            )
        names = [feature.name for feature in spec.features or ()]
        columns += [Column(name, spec) for name in names or [f"{spec.name}_{i}" for i in range(spec.row_shape[0])]]
    _refuse_twins([column.name for column in columns], f"{manifest.name} takes")
    return columns


def _refuse_twins(names: list[str], who: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ScoreError(f"{who} two columns {name!r}, which a file cannot tell apart")


def _read(source: Path, columns: list[Column]) -> Iterator[pa.RecordBatch]:
    """The blocks of the file, the columns as the text that stands there."""
    names = [column.name for column in columns]
    as_text = csv.ConvertOptions(
        include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    try:
        with csv.open_csv(source, _BLOCKS, _QUOTED) as reader:
            header = reader.schema.names
        for name in names:
            if header.count(name) != 1:
                fault = "missing" if name not in header else "there twice"
                wanted, there = ", ".join(names), ", ".join(header)
                raise ScoreError(f"{source}: the column {name!r} is {fault}: expected are {wanted}; there are {there}")
        # A block of blank lines has no rows.
        yield from (block for block in csv.open_csv(source, _BLOCKS, _QUOTED, as_text) if block.num_rows)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ScoreError(f"{source}: {error}") from None
    except OSError as error:
        raise ScoreError(f"{source}: it cannot be read: {_reason(error)}") from None


def _arrays(block: pa.RecordBatch, columns: list[Column], manifest: ModelManifest, before: int) -> tuple[Array, ...]:
    """The block's rows as the model's inputs; `before` rows of the file stand before it."""
    cells = [_elements(block[column.name], column.spec) for column in columns]
    valid = [own for own in cells if own is not None]
    if len(valid) < len(cells):
        wrong = [column for column, own in zip(columns, cells, strict=True) if own is None]
        raise _first_fault(block, wrong, before)
    return tuple(
        np.stack([own for column, own in zip(columns, valid, strict=True) if column.spec is spec], axis=1)
        for spec in manifest.inputs
    )


def _elements(texts: pa.Array, spec: TensorSpec) -> Array | None:
    """The cells of a column as elements of a tensor; None where one of them is none."""
    if spec.datatype == "BYTES":
        array: Array = texts.to_numpy(zero_copy_only=False)
        return array
    trimmed = pc.utf8_trim_whitespace(texts)
    if element_type(spec.datatype) is int:
        # Not by way of doubles, which hold no more than 53 bits.
        plain = pc.replace_substring_regex(trimmed, r"\.0*$", "")
        is_plain = pc.match_substring_regex(plain, r"^-?[0-9]+$")
        whole = _cast(pc.if_else(is_plain, plain, "0"), pa.from_numpy_dtype(DTYPES[spec.datatype]))
        doubles = _cast(pc.if_else(is_plain, "0", trimmed), pa.float64())
        others = None if doubles is None else from_doubles(spec, doubles)
        if whole is None or others is None:
            return None
        return np.where(is_plain.to_numpy(zero_copy_only=False), whole, others)
    doubles = _cast(trimmed, pa.float64())
    return None if doubles is None else from_doubles(spec, doubles)


def _cast(texts: pa.Array, datatype: pa.DataType) -> Array | None:
    try:
        array: Array = pc.cast(texts, datatype).to_numpy()
    except pa.ArrowInvalid:
        return None
    return array


def _first_fault(block: pa.RecordBatch, columns: list[Column], before: int) -> ScoreError:
    """The error of the first cell, in reading order, that is no element of its tensor; each column has one."""
    faults = [_rows_before_fault(block[column.name], column.spec) for column in columns]
    index = min(faults)
    column = columns[faults.index(index)]
    return _cell_error(before + index + 1, column, block[column.name][index].as_py())


def _rows_before_fault(texts: pa.Array, spec: TensorSpec) -> int:
    """How many cells of a column come before the first that is no element of the tensor."""
    return bisect_left(range(len(texts)), 1, key=lambda last: int(_elements(texts.slice(0, last + 1), spec) is None))


def _cell_error(row: int, column: Column, text: str) -> ScoreError:
    expected = f"{_NOUNS[element_type(column.spec.datatype)]} that {column.spec.datatype} can hold"
    return ScoreError(f"row {row}, column {column.name!r}: expected {expected}, got {describe(text)}")


def _named_outputs(manifest: ModelManifest, outputs: tuple[Array, ...]) -> dict[str, object]:
    """The columns of the output file. Floats become doubles, which HTTP's JSON shows too."""
    named: list[tuple[str, object]] = []
    for (spec, label), output in zip(manifest.output_columns, outputs, strict=True):
        flat = output.reshape(len(output), -1)
        values = flat.astype(np.float64) if flat.dtype.kind == "f" else flat
        if flat.shape[1] == 1:
            named.append((spec.name, values[:, 0]))
        else:
            suffixes = spec.labels or range(flat.shape[1])
            named += [(f"{spec.name}_{suffix}", values[:, i]) for i, suffix in enumerate(suffixes)]
        if label is not None:
            named.append((label, labels_of(spec, output)))
    _refuse_twins([name for name, _ in named], f"{manifest.name} gives")
    return dict(named)


@contextmanager
def _whole_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to write to, which becomes `target` at the end, and is removed where the end is an error."""
    part: Path | None = None
    try:
        if target.exists() and not overwrite:
            raise ScoreError(f"{target} exists already: name another file, or allow it with --overwrite")
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        yield part
        part.replace(target)
    except OSError as error:
        raise ScoreError(f"{target}: it cannot be written: {_reason(error)}") from None
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def _reason(error: OSError) -> str:
    """The system's own words: pyarrow wraps them into longer ones."""
    return os.strerror(error.errno) if error.errno else str(error)
