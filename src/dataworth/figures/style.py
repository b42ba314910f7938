"""House style of figures: axes, colours, markers, captions, percent labels."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
STANDARD_SIZE = (6.4, 4.2)  # inches
LEGEND_HANDLE, LEGEND_CHARACTER = 0.55, 0.068  # inches of a column of legend_above
MARKERS = "osD^v<>P"  # so that curves differ in more than colour


def new_axes(width: float = STANDARD_SIZE[0], height: float = STANDARD_SIZE[1]) -> Axes:
    """Return the axes of a new figure, sized in inches, without a window."""
    return _axes(Figure(figsize=(width, height), layout="constrained", dpi=120))


def new_pyplot_axes(width: float = STANDARD_SIZE[0], height: float = STANDARD_SIZE[1]) -> Axes:
    """Return the axes of a new figure of pyplot, which notebooks and ``pyplot.show`` display."""
    from matplotlib import pyplot

    return _axes(pyplot.figure(figsize=(width, height), layout="constrained"))


def _axes(figure: Figure) -> Axes:
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def panel_below(ax: Axes) -> Axes:
    """Divide the place of ``ax`` in its figure, and return the lower half, with the same x axis."""
    figure, place = ax.get_figure(), ax.get_subplotspec()
    assert figure is not None, "axes belong to a figure"
    assert place is not None, "they were made by subplots"
    halves = place.subgridspec(2, 1)
    ax.set_subplotspec(halves[0])
    below: Axes = figure.add_subplot(halves[1], sharex=ax)
    below.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelbottom=False)
    return below


def plain(name: str) -> str:
    """Escape a name so that matplotlib does not parse it as a formula."""
    return name.replace("$", r"\$")


def shifts(count: int, factor: float) -> list[float]:
    """Factors that place ``count`` curves beside each other on a log axis, ``factor`` apart."""
    return [factor ** (place - (count - 1) / 2) for place in range(count)]


def legend_above(ax: Axes) -> None:
    """Draw the legend above the axes, where it hides no point, in as many columns as fit."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    longest = max(len(text) for text in ax.get_legend_handles_labels()[1])
    columns = int(figure.get_figwidth() / (LEGEND_HANDLE + LEGEND_CHARACTER * longest))
    ax.legend(
        frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=max(1, columns), columnspacing=1.2,
    )  # fmt: skip


def title(ax: Axes, text: str) -> None:
    """Write a title above everything in the figure: what it is of."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    figure.suptitle(plain(text), fontsize=11)


def caption(ax: Axes, text: str) -> None:
    """Write a caption below the axes: what was measured, with sizes, seeds and test images."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    figure.supxlabel(text, fontsize=8, color=GREY)


def percent_tick(share: float, _: int | None = None) -> str:
    """Format a share as a tick label in percent, with up to three significant digits."""
    return f"{100 * share:.3g} %"


def plain_tick(value: float) -> str:
    """Format a number as a tick label, with up to three significant digits."""
    return f"{value:.3g}"


def label_percent(axis: Axis) -> None:
    """Label the ticks of an axis of shares in percent."""
    axis.set_major_formatter(FuncFormatter(percent_tick))
