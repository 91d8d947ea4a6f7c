"""Tables of what was measured, in Markdown."""

from collections.abc import Iterable, Mapping

from benchmarks.conditions import Conditions
from benchmarks.goals import goals
from benchmarks.markdown import number, table
from benchmarks.operating_results import Lifecycle, Overload, Slow, Soak, Workers
from benchmarks.operating_tables import lifecycle_table, overload_table, slow_table, soak_table, workers_table
from benchmarks.results import Part
from benchmarks.scoring_results import Scoring
from benchmarks.scoring_tables import scoring_table
from benchmarks.serving_results import Heavy, Light, Memory, Metrics, Rivals
from benchmarks.serving_tables import heavy_table, light_table, memory_table, metrics_table, rivals_table


def tables(part: Part) -> str:
    """All that there is to show of a part: its figures, then its goals."""
    return f"{figures(part)}\n\n{goal_table([part])}"


def figures(part: Part) -> str:  # noqa: C901  # a line for each kind
    """The figures of a part, each the median of its repeats."""
    match part:
        case Light():
            text = light_table(part)
        case Heavy():
            text = heavy_table(part)
        case Metrics():
            text = metrics_table(part)
        case Memory():
            text = memory_table(part)
        case Rivals():
            text = rivals_table(part)
        case Lifecycle():
            text = lifecycle_table(part)
        case Soak():
            text = soak_table(part)
        case Workers():
            text = workers_table(part)
        case Overload():
            text = overload_table(part)
        case Slow():
            text = slow_table(part)
        case Scoring():
            text = scoring_table(part)
    return text


def goal_table(parts: Iterable[Part]) -> str:
    """What was to be reached, and whether it was."""
    rows = []
    for goal in (goal for part in parts for goal in goals(part)):
        sign = "≥" if goal.at_least else "≤"
        verdict = "met" if goal.met else "**missed**"
        rows.append([goal.what, f"{sign} {goal.bound:,g} {goal.unit}", number(goal.reached), verdict])
    return table(["what", "goal", "reached", ""], rows)


def condition_text(conditions: Mapping[str, Conditions]) -> str:
    """Where, with what and how long each part was measured, by the parts' names."""
    places: dict[str, dict[str, list[str]]] = {}
    for name, one in conditions.items():
        versions = ", ".join(f"{library} {version}" for library, version in one.versions.items())
        place = f"On {one.cores} cores of an {one.processor}, with Python {one.python}, {versions}:"
        said = f"medians of {one.repeats}, {one.seconds} s each; {one.date}"
        places.setdefault(place, {}).setdefault(said, []).append(f"`{name}`")
    lines = []
    for place, parts in places.items():
        lines += [place, "", *(f"- {', '.join(names)}: {said}" for said, names in parts.items()), ""]
    return "\n".join(lines).strip()
