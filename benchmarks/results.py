"""The figures that are kept: a file for each part."""

from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.operating_results import Lifecycle, Overload, Slow, Soak, Workers
from benchmarks.scoring_results import Scoring
from benchmarks.serving_results import Heavy, Light, Memory, Metrics, Rivals

FOLDER = Path(__file__).parent / "results"

Part = Light | Heavy | Metrics | Memory | Rivals | Overload | Slow | Lifecycle | Soak | Workers | Scoring
"""Each is kept in a file of its own."""

P = TypeVar("P", Light, Heavy, Metrics, Memory, Rivals, Overload, Slow, Lifecycle, Soak, Workers, Scoring)


def store(folder: Path, part: Part) -> None:
    """Keep a part's figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{type(part).__name__.lower()}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(part, str_keys=True)))) + b"\n"
    )


def stored(folder: Path, kind: type[P]) -> P:
    """The figures of a part that were kept."""
    return msgspec.json.decode((folder / f"{kind.__name__.lower()}.json").read_bytes(), type=kind)


def _rounded(value: object) -> object:
    """The value with no more digits than were measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
