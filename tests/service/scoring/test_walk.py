"""Behaviour of service.scoring.walk."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import ScoreError
from service.scoring.reading.blocks import BLOCK_ROWS
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File, find_files
from service.scoring.walk import Inputs
from service.scoring.writing.results import Place

TYPES = {"number": pa.null()}
Blocks = list[tuple[Place, list[int]]]


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Two files: one with segments of several blocks and of one, one of a single block."""
    for name, rows, group in (("a", 3 * BLOCK_ROWS, 2 * BLOCK_ROWS), ("b", 5, 5)):
        table = pa.table({"number": np.arange(rows)})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=group)
    return Inputs(find_files(tmp_path, None))


def walked(inputs: Inputs, after: Place | None) -> Blocks:
    """All blocks behind a place, with the first and last of their numbers."""
    found: Blocks = []
    for segment in inputs.segments(after):
        for place, block in inputs.blocks(segment, TYPES, after):
            numbers = block.strictly()["number"].to_pylist()
            found.append((place, [numbers[0], numbers[-1]]))
    return found


def test_blocks_come_in_order_with_their_places(inputs: Inputs) -> None:
    """File by file and segment by segment; the last of a segment says so."""
    assert walked(inputs, None) == [
        (Place(0, 0, 1, 0, last=False), [0, BLOCK_ROWS - 1]),
        (Place(0, 0, 1, 1, last=True), [BLOCK_ROWS, 2 * BLOCK_ROWS - 1]),
        (Place(0, 1, 2, 0, last=True), [2 * BLOCK_ROWS, 3 * BLOCK_ROWS - 1]),
        (Place(1, 0, 1, 0, last=True), [0, 4]),
    ]


@pytest.mark.parametrize("done", range(5))
def test_who_goes_on_from_a_place_gets_what_is_behind_it(done: int, inputs: Inputs) -> None:
    """The same blocks with the same places, from any of them on."""
    all_of_them = walked(inputs, None)
    after = all_of_them[done - 1][0] if done else None
    assert walked(Inputs(inputs.files), after) == all_of_them[done:]


def test_a_file_stays_open_until_another_is_asked_for(inputs: Inputs) -> None:
    """Standard input could not be opened twice."""
    first = inputs.at(0)
    assert inputs.at(0) is first
    assert inputs.at(1) is not first
    assert inputs.at(0) is not first


def test_files_that_stay_as_they_were_are_sound(inputs: Inputs) -> None:
    """Standard input cannot be asked."""
    inputs.check()
    Inputs([File("-", 0, 0, Form("csv", None))]).check()


@pytest.mark.parametrize(
    "change", [lambda path: os.utime(path, ns=(1, 1)), lambda path: os.truncate(path, 9), os.remove]
)
def test_a_changed_file_is_told(change: Callable[[str], None], inputs: Inputs) -> None:
    """What was read of it may be half of one file and half of another."""
    last = inputs.files[-1].path
    change(last)
    with pytest.raises(ScoreError, match=f"^{re.escape(last)}: it was changed or removed while it was read$"):
        inputs.check()
