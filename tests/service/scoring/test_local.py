"""Behaviour of service.scoring.local."""

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.errors import ScoreError
from service.scoring.local import run
from service.scoring.reading.blocks import BLOCK_ROWS, Block
from service.scoring.reading.sources import find_files
from service.scoring.scorer import Scored, Scorer
from service.scoring.walk import Inputs
from service.scoring.writing.results import Place, Result

BLOCKS = 8
TYPES = {"number": pa.null()}


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """A file of so many blocks."""
    table = pa.table({"number": np.arange(BLOCKS * BLOCK_ROWS)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=2 * BLOCK_ROWS)
    return Inputs(find_files(tmp_path / "in.parquet", None))


@dataclass
class Slow:
    """What scores blocks, each once it is let go, and knows how many were begun."""

    gates: Sequence[threading.Event]
    begun: list[int] = field(default_factory=list)
    fails_at: int = -1

    def score(self, block: Block) -> Scored:
        """The first number, as the one row."""
        batch = block.strictly()
        number = batch["number"][0].as_py() // BLOCK_ROWS
        self.begun.append(number)
        assert self.gates[number].wait(30)
        if number == self.fails_at:
            raise ScoreError("it fails")
        return Scored(batch.slice(0, 1), batch.num_rows, (), 0)

    def results(self, inputs: Inputs, after: Place | None = None, threads: int = 2) -> Generator[Result, None, None]:
        """What the engine gives."""
        return run(inputs, TYPES, after, cast("Scorer", self), threads)


def gates(*opened: int) -> list[threading.Event]:
    """One for each block, of which some are open."""
    events = [threading.Event() for _ in range(BLOCKS)]
    for number in opened:
        events[number].set()
    return events


def numbers(results: Iterator[Result]) -> list[Any]:
    """The blocks that results are of."""
    return [result.scored.batch["number"][0].as_py() // BLOCK_ROWS for result in results]


@pytest.mark.parametrize("threads", [1, 2, 5, 20])
def test_results_come_in_the_order_of_the_blocks(threads: int, inputs: Inputs) -> None:
    """Whatever thread is done first."""
    assert numbers(Slow(gates(*range(BLOCKS))).results(inputs, threads=threads)) == list(range(BLOCKS))


def test_a_block_that_takes_long_is_waited_for(inputs: Inputs) -> None:
    """The others behind it are done meanwhile, but only so many that memory stays bounded."""
    scorer = Slow(gates(*range(1, BLOCKS)))
    results = scorer.results(inputs)
    opener = threading.Timer(0, scorer.gates[0].set)
    # The first result cannot come before the gate opens, and what is begun before it is bounded by design.
    opener.start()
    first = next(results)
    assert first.scored.batch["number"][0].as_py() == 0
    assert max(scorer.begun) <= 3
    assert numbers(results) == list(range(1, BLOCKS))
    opener.join()


def test_what_fails_comes_in_its_turn(inputs: Inputs) -> None:
    """All blocks before it come first."""
    results = Slow(gates(*range(BLOCKS)), fails_at=3).results(inputs)
    for number in range(3):
        assert next(results).place.start == number // 2
    with pytest.raises(ScoreError, match="it fails"):
        next(results)


def test_who_needs_no_more_ends_it(inputs: Inputs) -> None:
    """What has not begun is never scored."""
    scorer = Slow(gates(*range(BLOCKS)))
    results = scorer.results(inputs, threads=1)
    next(results)
    results.close()
    assert len(scorer.begun) < BLOCKS


def test_it_goes_on_from_a_place(inputs: Inputs) -> None:
    """Only what is behind it is read and scored."""
    scorer = Slow(gates(*range(BLOCKS)))
    (place, *_) = [result.place for result in scorer.results(inputs)][4:5]
    again = Slow(gates(*range(BLOCKS)))
    assert numbers(again.results(inputs, place)) == [5, 6, 7]
    assert sorted(again.begun) == [5, 6, 7]
