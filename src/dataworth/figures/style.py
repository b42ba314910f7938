"""House style of figures: axes, colours, markers, captions, percent labels."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
STANDARD_SIZE = (6.4, 4.2)  # inches
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


def plain(name: str) -> str:
    """Escape a name so that matplotlib does not parse it as a formula."""
    return name.replace("$", r"\$")


def shifts(count: int, factor: float) -> list[float]:
    """Factors that place ``count`` curves beside each other on a log axis, ``factor`` apart."""
    return [factor ** (place - (count - 1) / 2) for place in range(count)]


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
