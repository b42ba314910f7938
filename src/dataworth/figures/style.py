"""House style of figures: axes, colours, markers, captions."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
MARKERS = "osD^v<>P"  # so that colour is not all that tells curves apart


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes of a new figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plain(name: str) -> str:
    """Spell a name so that matplotlib does not take it for a formula."""
    return name.replace("$", r"\$")


def caption(ax: Axes, text: str) -> None:
    """Write below the axes what was measured: sizes, seeds, test images."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    figure.supxlabel(text, fontsize=8, color=GREY)


def _percent(share: float, _: int) -> str:
    return f"{100 * share:.3g} %"
