"""The loop that somebody writes by hand to score a file: pyarrow reads, onnxruntime computes, pyarrow writes.

Run as `python -m benchmarks.bare VERSION INPUT OUTPUT`; the format of both files goes by the input's name. It knows its
model, checks nothing, and leaves half a file behind where it is ended.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pyarrow as pa
from pyarrow import csv, parquet
from pyarrow import json as json_lines

Numbers = npt.NDArray[np.float32]

NAMES = [f"feature_{place}" for place in range(20)]
_MANY = 1 << 62


def session(model: Path) -> ort.InferenceSession:
    """Onnxruntime with the options that the scorer gives it: one thread for each run, which does not spin."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def batches(source: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a file, as pyarrow streams them."""
    match source.suffix:
        case ".parquet":
            with parquet.ParquetFile(source) as file:
                yield from file.iter_batches(columns=NAMES)
        case ".csv":
            types = csv.ConvertOptions(include_columns=NAMES, column_types=dict.fromkeys(NAMES, pa.float64()))
            with csv.open_csv(source, convert_options=types) as reader:
                yield from reader
        case ".jsonl":
            schema = pa.schema([(name, pa.float64()) for name in NAMES])
            parsed = json_lines.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
            with json_lines.open_json(source, parse_options=parsed) as reader:
                yield from reader
        case _:
            with pa.ipc.open_file(source) as file:
                yield from (file.get_batch(place) for place in range(file.num_record_batches))


def writing(target: Path, schema: pa.Schema) -> Any:  # noqa: ANN401  # pyarrow has no types
    """What writes rows to a file: it has `write_batch` and can be closed."""
    match target.suffix:
        case ".parquet":
            return parquet.ParquetWriter(target, schema)
        case ".csv":
            return csv.CSVWriter(target, schema)
        case ".jsonl":
            return _JsonLines(target)
        case _:
            return pa.ipc.new_file(target, schema)


class _JsonLines:
    """Pyarrow writes none."""

    def __init__(self, target: Path) -> None:
        self._file = target.open("wb")
        self._encode = msgspec.json.Encoder().encode_lines

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._file.write(self._encode(batch.to_pylist()))

    def close(self) -> None:
        self._file.close()


def computing(model: Path, batch: int) -> Callable[[Numbers], Numbers]:
    """The model, so many rows a run."""
    opened = session(model)
    name = opened.get_inputs()[0].name

    def compute(rows: Numbers) -> Numbers:
        parts = [opened.run(None, {name: rows[at : at + batch]})[0] for at in range(0, len(rows), batch)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return compute


def loop(version: Path, source: Path, target: Path, batch: int) -> int:
    """Score a file, and give how many rows it has."""
    compute = computing(version / "model.onnx", batch)
    manifest = json.loads((version / "manifest.json").read_text())
    labels = pa.array(manifest["outputs"][0]["labels"])
    is_text = target.suffix in (".csv", ".jsonl")
    schema = pa.schema([("probability", pa.float64() if is_text else pa.float32()), ("label", pa.string())])
    count = 0
    with closing(writing(target, schema)) as writer:
        for block in batches(source):
            rows = np.empty((block.num_rows, len(NAMES)), np.float32)
            for place, name in enumerate(NAMES):
                rows[:, place] = block.column(name).to_numpy()
            found = compute(rows)[:, 0]
            names = labels.take(pa.array((found > 0.5).astype(np.int8)))  # noqa: PLR2004  # half
            writer.write_batch(pa.record_batch([pa.array(found).cast(schema.field(0).type), names], schema))
            count += block.num_rows
    return count


def main() -> None:
    """Do it, and print how many rows there were, and how many a second."""
    parser = argparse.ArgumentParser(description="Score a file by pyarrow and onnxruntime alone.")
    parser.add_argument("version", type=Path, help="the folder of a version of binary_classifier")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--batch", type=int, default=_MANY, help="rows of a run (default: all that were read together)")
    given = parser.parse_args()
    began = time.perf_counter()
    rows = loop(given.version, given.input, given.output, given.batch)
    print(f"{rows:,} rows scored ({rows / (time.perf_counter() - began):,.0f} rows/s)")


if __name__ == "__main__":
    main()
