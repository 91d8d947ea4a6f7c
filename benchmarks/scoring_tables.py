"""Tables of what the batch scorer costs, and of what kills leave of its work."""

from statistics import median

from benchmarks.markdown import megabytes, number, table
from benchmarks.scoring_results import SCORE, FileCell, Interruption, Scoring


def scoring_table(scoring: Scoring) -> str:
    """Rates, processor time and memory by file, then the kills."""
    head = ["file", "rows", "by", "rows/s", "of the bare loop", "rows/s without the start", "CPU, s", "memory, most"]
    costs = table(head, [row for cell in scoring.cells for row in _costs(cell)])
    head = ["files", "rows", "kills", "resumed behind a part", "in the end", "undisturbed, s", "with the kills, s"]
    return f"{costs}\n\n{table(head, map(_interrupted, scoring.interruptions))}"


def _costs(cell: FileCell) -> list[list[str]]:
    rows = []
    title = [cell.format, f"{cell.rows:,}"]
    for name, runs in cell.runs.items():
        figures = [
            number(median(cell.rows / run.seconds for run in runs)),
            f"{cell.of_bare():.0%}" if name == SCORE else "",
            number(median(run.rows_a_second for run in runs)),
            f"{median(run.cpu_seconds for run in runs):.2f}",
            megabytes(round(median(run.peak_bytes for run in runs))),
        ]
        rows.append([*title, name, *figures])
        title = ["", ""]
    return rows


def _interrupted(one: Interruption) -> list[str]:
    end = "the same bytes" if one.is_identical else "**other bytes**"
    seconds = [number(one.undisturbed_seconds), number(one.seconds)]
    return [one.what, f"{one.rows:,}", str(one.kills), str(one.resumed), end, *seconds]
