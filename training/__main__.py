"""The command line of training: `forwardpass train`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.errors import TrainingError
from training.loop import OnEpoch
from training.pipeline import Produced, produce
from training.publish import Outcome, publish
from training.task import Task
from training.tasks import TASKS


def main(argv: Sequence[str] | None = None) -> int:
    """Train the named tasks; the answer is the exit status, 1 where any of them was not published."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.tasks if name not in TASKS]
    if unknown:
        parser.error(f"unknown task {', '.join(unknown)}; known are {', '.join(TASKS)}")
    tasks = [task for name in dict.fromkeys(arguments.tasks or TASKS) for task in TASKS[name]]
    # A file or a pipe has no width, and the usual eighty columns would break the table's words.
    console = Console(width=None if sys.stdout.isatty() else 150)
    if arguments.list:
        console.print(_list(tasks))
        return 0
    return train_all(tasks, arguments.output, replace=arguments.replace, console=console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forwardpass train",
        description="Train models, verify them and publish them into the models folder.",
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="a model's name: all its versions (default: all)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("models"),
        metavar="DIR",
        help="the models folder (default: models)",
    )
    parser.add_argument("--replace", action="store_true", help="exchange versions published with other bytes")
    parser.add_argument("--list", action="store_true", help="list the tasks; train nothing")
    return parser


def _list(tasks: Sequence[Task]) -> Table:
    table = _table("task", "version", "description")
    for task in tasks:
        table.add_row(task.name, str(task.version), task.description)
    return table


def _table(*names: str) -> Table:
    """Lay out a table of these columns; a narrow terminal breaks the long words and cuts off none."""
    table = Table(box=SIMPLE, padding=0)
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name not in {"metric", "baseline", "description"})
    return table


def train_all(tasks: Sequence[Task], output: Path, *, replace: bool, console: Console) -> int:
    """Train, then publish each task, whatever becomes of the others; the answer is the exit status."""
    table = _table("task", "version", "metric", "baseline", "parity", "size", "seconds", "outcome")
    failures: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for task in tasks:
            bar = progress.add_task(task.title, total=task.recipe.epochs)
            start = time.perf_counter()
            try:
                produced = produce(task, _advance(progress, bar))
                outcome = publish(output, produced.manifest, produced.files, replace=replace)
            except TrainingError as error:
                failures.append(f"{task.title} was not published: {error}")
            else:
                table.add_row(*_row(produced, time.perf_counter() - start, outcome))
    if table.row_count:
        console.print(table)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _advance(progress: Progress, bar: TaskID) -> OnEpoch:
    return lambda epoch, _loss: progress.update(bar, completed=epoch)


def _row(produced: Produced, seconds: float, outcome: Outcome) -> list[str]:
    return [
        produced.manifest.name,
        str(produced.manifest.version),
        _first(produced.figures.metrics),
        _first(produced.figures.baseline),
        f"{max(produced.parity.torchscript, produced.parity.onnxruntime):.1e}",
        f"{sum(map(len, produced.files.values())):,} B",
        f"{seconds:.1f}",
        outcome,
    ]


def _first(figures: dict[str, float]) -> str:
    name, value = next(iter(figures.items()))
    return f"{name} {value:.4f}"


if __name__ == "__main__":
    sys.exit(main())
