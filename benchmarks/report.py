"""Writes the tables of `benchmarks/README.md` and the plot anew from the figures that were kept.

Run as `python -m benchmarks.report`.
"""

from pathlib import Path

from benchmarks.operating_results import Lifecycle, Overload, Slow, Soak, Workers
from benchmarks.plot import costs
from benchmarks.results import FOLDER, Part, stored
from benchmarks.scoring_results import Scoring
from benchmarks.serving_results import Heavy, Light, Memory, Metrics, Rivals
from benchmarks.tables import condition_text, figures, goal_table
from tests.documentation import filled
from training.plots import png

README = Path(__file__).parent / "README.md"
PLOT = FOLDER / "light.png"


def written(text: str) -> str:
    """The page with its parts as the figures have them now."""
    parts: dict[str, Part] = {
        "light": stored(FOLDER, Light),
        "heavy": stored(FOLDER, Heavy),
        "metrics": stored(FOLDER, Metrics),
        "memory": stored(FOLDER, Memory),
        "overload": stored(FOLDER, Overload),
        "slow": stored(FOLDER, Slow),
        "workers": stored(FOLDER, Workers),
        "lifecycle": stored(FOLDER, Lifecycle),
        "soak": stored(FOLDER, Soak),
        "scoring": stored(FOLDER, Scoring),
        "rivals": stored(FOLDER, Rivals),
    }
    made = {name: figures(part) for name, part in parts.items()}
    taken = {name: part.conditions for name, part in parts.items()}
    made |= {"goals": goal_table(parts.values()), "conditions": condition_text(taken)}
    return filled(text, made)


def main() -> None:
    """Write them."""
    README.write_text(written(README.read_text()))
    PLOT.write_bytes(png(costs(stored(FOLDER, Light))))


if __name__ == "__main__":
    main()
