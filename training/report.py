"""A table of all published models."""

import re
from pathlib import Path

from service.manifest import MANIFEST_FILE, ONNX_FILE, ModelManifest
from training.card import CARD_FILE
from training.task import ALLOWED


def report(root: Path) -> str:
    """Tabulate in Markdown every version below `root`: what it does, how good it is beside its baseline, its size.

    Each version's number leads to its card, by a path that starts with `root`.
    """
    lines = [
        "| model | version | what it answers | figure | held against | parity | size of the graph |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    paths = sorted(root.glob(f"*/*/{MANIFEST_FILE}"), key=lambda path: (path.parts[-3], int(path.parts[-2])))
    lines += [_line(path.parent, ModelManifest.parse(path.read_bytes(), str(path))) for path in paths]
    return "\n".join(lines) + "\n"


def _line(folder: Path, manifest: ModelManifest) -> str:
    training, parity = manifest.training, manifest.parity
    version = str(manifest.version)
    cells = [
        f"`{manifest.name}`",
        f"[{version}]({(folder / CARD_FILE).as_posix()})" if CARD_FILE in manifest.files else version,
        # The first sentence says it; what limits it stands on the card.
        re.split(r"(?<=\.) ", manifest.description)[0].replace("|", "\\|"),
        _first(training.metrics) if training else "",
        _baseline(training.baseline) if training else "",
        f"{max(parity.torchscript, parity.onnxruntime):.1e}" if parity else "",
        f"{manifest.files[ONNX_FILE].bytes:,} B",
    ]
    return f"| {' | '.join(cells)} |"


def _baseline(figures: dict[str, float]) -> str:
    """What the figure was held against: a rival's, or how much is allowed."""
    first = next(iter(figures), None)
    return f"≤ {figures[ALLOWED]:.4g} allowed" if first == ALLOWED else _first(figures)


def _first(figures: dict[str, float]) -> str:
    """The figure that is compared; a training can have none to compare with."""
    return next((f"{name} {value:.4g}" for name, value in figures.items()), "")
