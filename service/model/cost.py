"""What batches of each size cost, as measured, and how large they are worth being."""

from bisect import bisect_left
from collections.abc import Iterable

ENOUGH = 0.95
"""A batch is large enough when its rows per second are this part of the best: rows beyond it only wait for others.
So small ones, of a network whose run takes less than all that is done around it, are not large enough."""
AROUND_A_RUN = 3e-5
"""Seconds that a batch costs beside its run: it is taken, stacked, counted and split."""
LONGEST_UNMEASURED = 0.1
"""Seconds that a batch larger than any measured one may be predicted to take."""


class CostCurve:
    """The seconds that a batch takes, from measurements `(rows, seconds)` of at least one size.

    A disturbance only ever adds to a measurement. So of several of one size the least counts, and no batch costs
    more than a larger one did.
    """

    def __init__(self, points: Iterable[tuple[int, float]]) -> None:
        least: dict[int, float] = {}
        for rows, seconds in points:
            least[rows] = min(seconds, least.get(rows, seconds))
        self._rows = sorted(least)
        self._seconds = [least[rows] for rows in self._rows]
        for index in reversed(range(len(self._seconds) - 1)):
            self._seconds[index] = min(self._seconds[index], self._seconds[index + 1])
        self._known: dict[int, float] = {}
        """What was asked already: the same few sizes, before every batch."""

    def seconds(self, rows: int) -> float:
        """What a batch of so many rows takes: never less than a smaller one.

        Between two measured sizes it lies on the line that joins them. Below the smallest it is that one's, and
        beyond the largest each row costs what it costs there.
        """
        known = self._known.get(rows)
        if known is None:
            known = self._known[rows] = self._predict(rows)
        return known

    def _predict(self, rows: int) -> float:
        if rows >= self._rows[-1]:
            return self._seconds[-1] * rows / self._rows[-1]
        after = bisect_left(self._rows, rows)
        if after == 0:
            return self._seconds[0]
        left, right = self._rows[after - 1], self._rows[after]
        share = (rows - left) / (right - left)
        return self._seconds[after - 1] * (1 - share) + self._seconds[after] * share

    def largest(self, limit: int) -> int:
        """The largest batch that is worth waiting for, `limit` at most.

        It is the smallest measured size whose rows per second are `ENOUGH` of the best. Where that is the largest
        measured one, so that larger ones may do better still, it is doubled up to what `LONGEST_UNMEASURED` allows.
        """
        sizes = [rows for rows in self._rows if rows < limit]
        if not sizes or limit <= self._rows[-1]:
            sizes.append(limit)
        rates = {rows: rows / (AROUND_A_RUN + self.seconds(rows)) for rows in sizes}
        enough = ENOUGH * max(rates.values())
        chosen = next(rows for rows in sizes if rates[rows] >= enough)
        if chosen == sizes[-1]:
            while chosen < limit and self.seconds(min(2 * chosen, limit)) <= LONGEST_UNMEASURED:
                chosen = min(2 * chosen, limit)
        return chosen
