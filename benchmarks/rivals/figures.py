"""What was measured of all contenders: how it is kept, and its table."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.goals import MEGABYTE, ratio
from benchmarks.results import Cell, Conditions, Run
from benchmarks.rivals.contenders import RIVALS


class Footprint(msgspec.Struct, frozen=True):
    """What a server takes beside processor time."""

    versions: dict[str, str]
    """Of the server and of onnxruntime."""
    environment: int
    """Bytes on the disk of all that is installed for it."""
    starts: list[float]
    """Seconds from each start of its process to its first answer."""
    resident: list[int]
    """Bytes of memory of all its processes after each load."""


class Rivals(msgspec.Struct, frozen=True):
    """One row asked of each server, at each number of connections."""

    conditions: Conditions
    cells: list[Cell]
    footprints: dict[str, Footprint]


def installed(name: str) -> Footprint:
    """What is installed for a server, with nothing measured yet; ours and the empty application run in this one."""
    environment = next((rival.environment for rival in RIVALS if rival.name == name), Path(sys.prefix))
    packages = distributions(path=[str(path) for path in environment.glob("lib/python3*/site-packages")])
    named = {"uvicorn"} if name == "empty" else {name, "forwardpass" if name == "ours" else name, "onnxruntime"}
    versions = {package.name: package.version for package in packages if package.name in named}
    return Footprint(versions, _disk_bytes(environment), [], [])


def _disk_bytes(folder: Path) -> int:
    return sum((Path(parent) / name).lstat().st_blocks * 512 for parent, _, names in os.walk(folder) for name in names)


def store(folder: Path, figures: Rivals) -> None:
    """Keep the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rivals.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


def table(figures: Rivals) -> str:
    """Medians, with the medians of the ratios to ours, in Markdown."""
    head = ["server", "connections", "requests/s", "CPU a request, µs", "p50, µs", "p99, µs"]
    more = ["first answer after, s", "memory, MB", "environment, MB"]
    rows = [row for name in figures.footprints for row in _rows(figures, name)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[*head, *more], ["---"] * len([*head, *more]), *rows])


_COLUMNS: Sequence[Callable[[Run], float]] = (
    lambda run: run.requests_a_second,
    lambda run: run.cpu,
    lambda run: run.p50,
    lambda run: run.p99,
)


def _rows(figures: Rivals, name: str) -> Iterator[list[str]]:
    footprint = figures.footprints[name]
    taken = [
        f"{median(footprint.starts):.1f}",
        f"{median(footprint.resident) / MEGABYTE:,.0f}",
        f"{footprint.environment / MEGABYTE:,.0f}",
    ]
    title = " ".join([name, footprint.versions.get(name, "")]).strip()
    for index, cell in enumerate(figures.cells):
        shown = [_compared(cell, name, figure) for figure in _COLUMNS]
        yield ["" if index else title, str(cell.connections), *shown, *([""] * len(taken) if index else taken)]


def _compared(cell: Cell, name: str, figure: Callable[[Run], float]) -> str:
    value = median(map(figure, cell.runs[name]))
    return f"{value:,.0f} ({ratio(cell, name, 'ours', figure):.2f})"
