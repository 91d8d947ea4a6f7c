"""What a prediction costs over HTTP, as a plot."""

from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.serving_results import Cell, Light
from training.plots import BLUE, GREEN, GREY, ORANGE, styled

_COLOURS = {"empty": GREY, "lane": BLUE, "route": GREEN, "usual": ORANGE}
_SIZE = (9.6, 5.2)
_SHOWN_AT = 64
_MICROSECONDS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@styled()
def costs(light: Light) -> Figure:
    """Draw the processor's time of a request by what is asked, beside latency by the number of connections."""
    figure = Figure(figsize=_SIZE)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _by_request(left, [cell for cell in light.cells if cell.connections == _SHOWN_AT])
    first = light.cells[0].workload
    _by_connections(right, [cell for cell in light.cells if cell.workload == first])
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(_COLOURS))
    return figure


def _by_request(axes: Axes, cells: list[Cell]) -> None:
    for name, colour in _COLOURS.items():
        shown = [(place, cell) for place, cell in enumerate(cells) if name in cell.runs]
        middle = [median(run.cpu for run in cell.runs[name]) for _, cell in shown]
        axes.scatter(middle, [place for place, _ in shown], s=42, color=colour, label=name, zorder=3)
    axes.set(title=f"CPU of a request, {_SHOWN_AT} connections", xlabel="µs (logarithmic)", xscale="log")
    low, high = axes.get_xlim()
    axes.set_xticks([one for one in _MICROSECONDS if low <= one <= high])
    axes.minorticks_off()
    axes.set_yticks(range(len(cells)), [cell.workload for cell in cells])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:g}")


def _by_connections(axes: Axes, cells: list[Cell]) -> None:
    connections = [cell.connections for cell in cells]
    for name, colour in _COLOURS.items():
        for percentile, style in (("p50", "-"), ("p99", ":")):
            latencies = [median(getattr(run, percentile) for run in cell.runs[name]) / 1e3 for cell in cells]
            axes.plot(connections, latencies, style, marker="o", markersize=4, color=colour)
    axes.set(title=f"Latency of {cells[0].workload}", xlabel="connections", ylabel="ms; solid p50, dotted p99")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(connections, map(str, connections))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
