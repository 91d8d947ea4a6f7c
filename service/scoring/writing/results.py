"""What became of a block, and its form as an Arrow record batch: in the journal and between machines."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import pyarrow as pa

from service.scoring.reading.blocks import Block, RowFault
from service.scoring.scorer import Scored, Scorer

_KEY = b"result"


class Place(NamedTuple):
    """Where a block stands in the input."""

    file: int
    """Index in the files."""
    start: int
    stop: int
    """The segment of the file."""
    block: int
    """Index in the segment."""
    last: bool
    """Whether it is the segment's last block."""


class Result(NamedTuple):
    """A block that has been scored."""

    place: Place
    scored: Scored
    size: int
    """How many bytes of its file it was."""


def result_of(scorer: Scorer, place: Place, block: Block) -> Result:
    """What becomes of a block. Raises `ScoreError` where it cannot be read."""
    return Result(place, scorer.score(block), block.size)


class _Beside(NamedTuple):
    """What a result is beside its record batch."""

    place: Place
    rows: int
    faults: tuple[RowFault, ...]
    rejected: int
    size: int


def write_result(writer: pa.ipc.RecordBatchStreamWriter, result: Result) -> None:
    """Write the result as one record batch, with what it is beside its rows as metadata."""
    place, scored, size = result
    beside = _Beside(place, scored.rows, scored.faults, scored.rejected, size)
    writer.write_batch(scored.batch, custom_metadata={_KEY: msgspec.json.encode(beside)})


def read_results(source: pa.Buffer | pa.NativeFile) -> Iterator[Result]:
    """The results of a stream, one after the other; raises pyarrow's and msgspec's errors where it is not sound."""
    with pa.ipc.open_stream(source) as reader:
        while True:
            try:
                batch, metadata = reader.read_next_batch_with_custom_metadata()
            except StopIteration:
                return
            place, rows, faults, rejected, size = msgspec.json.decode(metadata[_KEY], type=_Beside)
            yield Result(place, Scored(batch, rows, faults, rejected), size)


def to_bytes(results: Iterable[Result], schema: pa.Schema) -> bytes:
    """The results as one stream of bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for result in results:
            write_result(writer, result)
    content: bytes = sink.getvalue().to_pybytes()
    return content
