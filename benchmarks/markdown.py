"""Tables and figures in Markdown."""

from collections.abc import Iterable

MEGABYTE = 1_000_000


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """The table, without a line break at its end."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  # that is three


def megabytes(count: int) -> str:
    """A number of bytes."""
    return f"{count / MEGABYTE:.1f} MB"
