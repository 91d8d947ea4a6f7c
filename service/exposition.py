"""Prometheus' text format 0.0.4, written straight from plain numbers.

A page is made on the event loop, where requests wait for it. So what of a line never changes, its name and its labels,
is put together once and kept by its family.
"""

from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import accumulate
from math import inf, isfinite, isnan
from typing import Literal


class Family:
    """Counters or gauges of one name."""

    def __init__(self, name: str, kind: Literal["counter", "gauge"], meaning: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.head = _head(name, kind, meaning)
        """The lines that stand before the samples, or alone where there are none."""
        self._series = cache(partial(_series, name, labels))

    def sample(self, cells: Sequence[float], *labels: str) -> str:
        """The line of a value; `labels` are the values of the family's labels, in their order."""
        return f"{self._series(*labels)} {number(cells[0])}\n"


class HistogramFamily:
    """Histograms of one name, which have the same bounds."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name = name
        self.head = _head(name, "histogram", meaning)
        """The lines that stand before the samples, or alone where there are none."""
        self._template = cache(partial(_histogram_template, name, bounds, labels))

    def sample(self, cells: Sequence[float], *labels: str) -> str:
        """The lines of a histogram; none where nothing was observed.

        `cells` are what each bucket alone holds, the last one all above the bounds, and behind them the sum. `labels`
        are the values of the family's labels, in their order.
        """
        *counts, total = cells
        cumulative = [*accumulate(map(int, counts))]
        if not cumulative[-1]:
            return ""
        return self._template(*labels) % (*cumulative, number(total), cumulative[-1])


def number(value: float) -> str:
    """A value as the format has it; one that is finite in the fewest digits that give it back."""
    if isfinite(value):
        # Numbers of other kinds, such as numpy's, have a `repr` of their own.
        return repr(float(value))
    if isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _head(name: str, kind: str, meaning: str) -> str:
    meaning = meaning.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"


def _series(name: str, labels: Sequence[str], *values: str) -> str:
    return _named(name, zip(labels, values, strict=True))


def _histogram_template(name: str, bounds: Sequence[float], labels: Sequence[str], *values: str) -> str:
    """A histogram's lines, to be filled with a count for each bucket, the sum and the count of all."""
    pairs = [*zip(labels, values, strict=True)]
    uppers = map(number, (*bounds, inf))
    series = [_named(f"{name}_bucket", [*pairs, ("le", upper)]) for upper in uppers]
    series += [_named(f"{name}_{part}", pairs) for part in ("sum", "count")]
    # A percent sign of a label's value is not to be filled.
    return "".join(f"{one.replace('%', '%%')} %s\n" for one in series)


def _named(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A series: its name and, by their own names, its labels."""
    labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(pairs))
    return f"{name}{{{labels}}}" if labels else name


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
