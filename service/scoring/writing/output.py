"""The unfinished files of a target: results become rows of the output, and of the file of rejected rows."""

from collections.abc import Sequence

import pyarrow as pa

from service.errors import RowError, ScoreError
from service.scoring.reading.blocks import RowFault
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File
from service.scoring.scorer import OnError
from service.scoring.writing.results import Result
from service.scoring.writing.sinks import RejectedRows, open_sink
from service.scoring.writing.target import Target


class Output:
    """What has been written, result by result, of an output that is not whole yet."""

    def __init__(self, target: Target, form: Form, schema: pa.Schema, files: Sequence[File], on_error: OnError) -> None:
        self.rows = 0
        """Of the files, so far."""
        self.rejected = 0
        """Of them."""
        self._target = target
        self._files = files
        self._on_error = on_error
        self._file = 0
        self._before = 0
        with target.writing():
            try:
                self._sink = open_sink(target.unfinished, form, schema)
            except pa.ArrowNotImplementedError as error:
                raise ScoreError(
                    f"{target.path}: {form.format} has no type for a column that is kept: {error}"
                ) from None
            self._rejects = RejectedRows(target.unfinished_rejected)

    def write(self, result: Result) -> None:
        """Write what became of the next block. Raises `RowError` for a rejected row where one ends the scoring."""
        scored = result.scored
        if result.place.file != self._file:
            self._file, self._before = result.place.file, 0
        file = self._files[self._file]
        if scored.rejected and self._on_error == "fail":
            raise self._error(file, scored.faults[0])
        with self._target.writing():
            self._sink.write(scored.batch)
            if self._on_error == "quarantine":
                self._rejects.write(file.name, self._before, scored.faults)
        self._before += scored.rows
        self.rows += scored.rows
        self.rejected += scored.rejected

    def close(self) -> None:
        """Write what is held, so that the files are whole."""
        with self._target.writing():
            self._sink.close()
            self._rejects.close()

    def _error(self, file: File, fault: RowFault) -> RowError:
        where = f"{file.name}, " if len(self._files) > 1 else ""
        column = f", column {fault.column!r}" if fault.column else ""
        row = self._before + fault.row + 1
        return RowError(f"{where}row {row}{column}: expected {fault.expected}, got {fault.got}")
