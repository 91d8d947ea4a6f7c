"""How far a run has come: a bar on a terminal, a line of the log every few seconds elsewhere."""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

logger = logging.getLogger(__name__)

LOG_SECONDS = 5.0
"""Between two lines of the log; a shorter run has none."""
_PER_SECOND = 5
"""How often the bar is drawn."""


class Tally:
    """What is done, and at which pace. It is told the time, in seconds; `total` bytes are all, 0 where nobody knows."""

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.rows = 0
        self.rejected = 0
        self._bytes = 0
        self._begun = now
        self._bytes_before = 0
        self._rows_before = 0

    def advance(self, size: int, rows: int, rejected: int) -> None:
        """Count a block of this many bytes and rows."""
        self._bytes += size
        self.rows += rows
        self.rejected += rejected

    def begin(self, now: float) -> None:
        """Measure the pace from here on: what came before was done by an earlier run."""
        self._begun, self._bytes_before, self._rows_before = now, self._bytes, self.rows

    @property
    def share(self) -> float | None:
        """How much of the input is done, from 0 to 1; None where nobody knows how large it is."""
        return min(self._bytes / self.total, 1.0) if self.total else None

    def rate(self, now: float) -> float:
        """Rows per second."""
        return (self.rows - self._rows_before) / max(now - self._begun, 1e-9)

    def left(self, now: float) -> float | None:
        """Seconds until the end at this pace; None where nobody can know."""
        done = self._bytes - self._bytes_before
        return (now - self._begun) * max(self.total - self._bytes, 0) / done if self.total and done else None

    def sentence(self, now: float) -> str:
        """All of it, for a log."""
        share, left = self.share, self.left(now)
        parts = [
            f"{self.rows:,} rows scored",
            f"{self.rejected:,} of them rejected" if self.rejected else "",
            "" if share is None else f"{share:.0%} of the input".replace("%", " %"),
            f"{self.rate(now):,.0f} rows/s",
            "" if left is None else f"{duration(left)} left",
        ]
        return ", ".join(part for part in parts if part)


class Display(Protocol):
    """What shows how far a run has come, from entering to leaving."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, size: int, rows: int, rejected: int) -> None:
        """A block of this many bytes of its file, and of this many rows, is done."""

    def begin(self) -> None:
        """All before was done by an earlier run, and says nothing of the pace."""


def display(total: int, stream: TextIO | None, clock: Callable[[], float] = time.monotonic) -> Display:
    """A display for a run over `total` bytes, 0 where nobody knows how many: a bar where `stream` is a terminal."""
    tally = Tally(total, clock())
    return _Bar(tally, stream, clock) if stream is not None and stream.isatty() else _Log(tally, clock)


class _Log:
    """Lines of the log."""

    def __init__(self, tally: Tally, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock
        self._due = clock() + LOG_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def advance(self, size: int, rows: int, rejected: int) -> None:
        self._tally.advance(size, rows, rejected)
        now = self._clock()
        if now >= self._due:
            self._due = now + LOG_SECONDS
            logger.info("%s", self._tally.sentence(now))

    def begin(self) -> None:
        self._tally.begin(self._clock())


class _Bar:
    """A bar, which is gone in the end."""

    def __init__(self, tally: Tally, stream: TextIO, clock: Callable[[], float]) -> None:
        self._tally = tally
        self._clock = clock
        self._drawn = clock()
        columns = (BarColumn(), TaskProgressColumn()) if tally.total else ()
        self._progress = Progress(
            *columns,
            TextColumn("{task.description}"),
            console=Console(file=stream),
            # Drawn between two blocks, without a thread of its own.
            auto_refresh=False,
            transient=True,
        )
        self._task = self._progress.add_task("", total=tally.total or None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, size: int, rows: int, rejected: int) -> None:
        self._tally.advance(size, rows, rejected)
        now = self._clock()
        if now - self._drawn >= 1 / _PER_SECOND:
            self._drawn = now
            share = self._tally.share
            self._progress.update(
                self._task,
                completed=None if share is None else share * self._tally.total,
                description=_words(self._tally, now),
                refresh=True,
            )

    def begin(self) -> None:
        self._tally.begin(self._clock())


def _words(tally: Tally, now: float) -> str:
    """What stands behind the bar."""
    left = tally.left(now)
    rejected = f" ({tally.rejected:,} rejected)" if tally.rejected else ""
    ending = "" if left is None else f", {duration(left)} left"
    return f"{tally.rows:,} rows{rejected}, {tally.rate(now):,.0f} rows/s{ending}"


def duration(seconds: float) -> str:
    """A time in words of one or two units: `12 s`, `3 min 5 s`, `2 h 7 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004  # a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004  # an hour
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
