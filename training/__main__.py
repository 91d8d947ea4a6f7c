"""The command line of training: `forwardpass train`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.check import check
from training.errors import PublishError, TrainingError
from training.pipeline import Produced, produce
from training.publish import publish, try_out
from training.task import OnEpoch, Task
from training.tasks import TASKS
from training.tasks.digits import from_mnist

Finish = Callable[[Produced], str]


def main(argv: Sequence[str] | None = None) -> int:
    """Train the named tasks; the answer is the exit status, 1 where any was not published, or not found again."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.tasks if name not in TASKS]
    if unknown:
        parser.error(f"unknown task {', '.join(unknown)}; known are {', '.join(TASKS)}")
    tasks = [task for name in dict.fromkeys(arguments.tasks or TASKS) for task in TASKS[name]]
    if arguments.data is not None:
        if arguments.tasks != ["digits"] or arguments.output is None:
            parser.error("--data goes with the task digits alone, and with an --output of its own")
        tasks = [from_mnist(arguments.data)]
    output = arguments.output or Path("models")
    # A file or a pipe has no width, and the usual eighty columns would break the table's words.
    console = Console(width=None if sys.stdout.isatty() else 150)
    if arguments.list:
        console.print(_list(tasks))
        return 0
    # What cannot end well is said before anything is trained.
    if arguments.check:
        if not output.is_dir():
            parser.error(f"there is no folder {output} to compare with")
        return train_all(tasks, partial(check, output), console, failed="is not what it was")
    try:
        try_out(output)
    except PublishError as error:
        parser.error(str(error))
    return train_all(tasks, partial(_publish, output, replace=arguments.replace), console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forwardpass train",
        description="Train models, verify them and publish them into the models folder.",
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="a model's name: all its versions (default: all)")
    parser.add_argument(
        "--output",
        type=_folder,
        metavar="DIR",
        help="the models folder (default: models)",
    )
    parser.add_argument("--data", type=_folder, metavar="DIR", help="train digits on MNIST's own files in this folder")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--replace", action="store_true", help="exchange versions published with other bytes")
    what.add_argument("--check", action="store_true", help="compare with what is published; write nothing")
    parser.add_argument("--list", action="store_true", help="list the tasks; train nothing")
    return parser


def _folder(text: str) -> Path:
    """A path, but not that of the current folder for an empty text, as a script's unset variable leaves."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(text)


def _list(tasks: Sequence[Task]) -> Table:
    table = _table("task", "version", "description")
    for task in tasks:
        table.add_row(task.name, str(task.version), task.description)
    return table


def _table(*names: str) -> Table:
    """Lay out a table of these columns; a narrow terminal breaks the long words and cuts off none."""
    table = Table(box=SIMPLE, padding=0)
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name not in {"metric", "baseline", "outcome", "description"})
    return table


def _publish(root: Path, produced: Produced, *, replace: bool) -> str:
    return publish(root, produced.manifest, produced.files, replace=replace)


def train_all(tasks: Sequence[Task], finish: Finish, console: Console, *, failed: str = "was not published") -> int:
    """Train and finish each task, whatever becomes of the others; the answer is the exit status.

    `finish` does with a training what it is for, and says what came of it; `failed` is what becomes of a task
    otherwise.
    """
    table = _table("task", "version", "metric", "baseline", "parity", "size", "seconds", "outcome")
    failures: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for task in tasks:
            bar = progress.add_task(task.title, total=task.recipe.most_epochs)
            start = time.perf_counter()
            try:
                produced = produce(task, _advance(progress, bar))
                # Whoever stops early has nothing left to do.
                progress.update(bar, completed=task.recipe.most_epochs)
                outcome = finish(produced)
            except TrainingError as error:
                failures.append(f"{task.title} {failed}: {error}")
            else:
                table.add_row(*_row(produced, time.perf_counter() - start, outcome))
    if table.row_count:
        console.print(table)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _advance(progress: Progress, bar: TaskID) -> OnEpoch:
    return lambda epoch, _loss: progress.update(bar, completed=epoch)


def _row(produced: Produced, seconds: float, outcome: str) -> list[str]:
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
