"""What was measured of the batch scorer."""

from statistics import median

import msgspec

from benchmarks.conditions import Conditions

SCORE, BARE_BATCHES, BARE_BLOCKS = "score", "bare, 2,048 rows a run", "bare, a block a run"
"""Who scores a file."""


class ScoreRun(msgspec.Struct, frozen=True):
    """One process that scored a file."""

    seconds: float
    """From its start to its end."""
    rows_a_second: int
    """By its own count, which leaves out its start."""
    cpu_seconds: float
    """User and system."""
    peak_bytes: int
    """The most memory that was resident."""


class FileCell(msgspec.Struct, frozen=True):
    """A file that each of them scored, repeat by repeat."""

    format: str
    rows: int
    runs: dict[str, list[ScoreRun]]

    def of_bare(self) -> float:
        """The scorer's rows/s by those of the faster bare loop, with the starts of both: the median of the repeats."""
        return min(
            median(bare.seconds / own.seconds for own, bare in zip(self.runs[SCORE], self.runs[name], strict=True))
            for name in (BARE_BATCHES, BARE_BLOCKS)
        )


class Interruption(msgspec.Struct, frozen=True):
    """A file that was scored by processes of which each was killed, but for the last one."""

    what: str
    rows: int
    kills: int
    resumed: int
    """How many processes went on where there was a part already."""
    is_identical: bool
    """Whether the output has the undisturbed one's bytes, and nothing else is left."""
    undisturbed_seconds: float
    seconds: float
    """Of all processes together."""


class Scoring(msgspec.Struct, frozen=True):
    """Files that are scored, fast and through kills."""

    conditions: Conditions
    cells: list[FileCell]
    interruptions: list[Interruption]
