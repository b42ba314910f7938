"""Figure of what each option is worth in training images."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from ..findings.worth import OptionsWorth
from ..scaling.worth import Worth
from .style import COLOURS, GREY, MARKERS, STANDARD_SIZE, caption, new_axes, plain, shifts

DODGE = 1.04  # factor between options of the same size, so that their intervals do not overlap
TICKS = (  # of the factors, by the largest ratio of the ends of their axis
    (6, (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10)),
    (40, tuple(2.0**power for power in range(-10, 11))),
    (np.inf, tuple(step * 10.0**power for power in range(-4, 4) for step in (1, 2, 5))),
)
MAX_LABELS = 9  # of numbers of images


def plot_worth(worth: OptionsWorth, size: tuple[float, float] = STANDARD_SIZE) -> Axes | None:
    """Draw factor against training images on log axes, with 90 % intervals; None without factors.

    An arrow at an end of an interval: the baseline's curve does not tell how far it goes.

    Parameters
    ----------
    worth : OptionsWorth
    size : tuple of float
        Of the figure, in inches.
    """
    if not any(comparison.rows for comparison in worth.comparisons.values()):
        return None
    ax = new_axes(*size)
    styles = zip(itertools.cycle(COLOURS[1:]), itertools.cycle(MARKERS[1:]), strict=False)
    dodges = shifts(len(worth.comparisons), DODGE)
    options = zip(dodges, styles, worth.comparisons.items(), strict=False)
    for shift, (colour, marker), (name, comparison) in options:
        for row in comparison.rows:
            _draw(ax, row, row.n * shift, colour, marker)
        ax.plot([], [], marker, color=colour, label=plain(name))
    line = ax.axhline(1, color=GREY, lw=1.2, ls="--", zorder=0)
    ax.set(xscale="log", yscale="log", xlabel="training images of the option")
    ax.set_ylabel(f"images that {plain(worth.baseline)} needs,\nper image of the option")
    _label(ax, worth)
    _draw_legend(ax, line, len(worth.comparisons))
    ax.grid(which="major", alpha=0.25)
    caption(
        ax,
        f"{plain(worth.baseline)} needs so many times the images for the same {worth.error}; "
        "90 % intervals, arrow: or beyond",
    )
    return ax


def _draw_legend(ax: Axes, line: Line2D, num_options: int) -> None:
    """Draw the legend: the options, the hollow markers of forecasts, and ``line`` at 1x."""
    options, names = ax.get_legend_handles_labels()
    hollow = [Line2D([], [], marker=m, color=GREY, mfc="none", ls="") for m in MARKERS[1:]]
    ax.legend(
        [*options, tuple(hollow[:num_options]), line],
        [*names, "forecast", "1x: worth nothing"],
        handler_map={tuple: HandlerTuple(ndivide=None)},
        frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=3 if num_options == 1 else 2,
    )  # fmt: skip


def _draw(ax: Axes, row: Worth, x: float, colour: str, marker: str) -> None:
    """Draw the dot and interval of one row; no dot where the factor is only a bound."""
    factor, alpha = row.factor, 1.0 if row.reliable else 0.45
    ax.plot([x, x], [factor.lower, factor.upper], color=colour, lw=1.4, alpha=alpha)
    if row.least < factor.median < row.most:
        filled = colour if row.measured else "white"
        ax.plot(x, factor.median, marker, color=colour, mfc=filled, ms=6, alpha=alpha)
    for end, limit, arrow in ((factor.upper, row.most, "^"), (factor.lower, row.least, "v")):
        if end == limit:
            ax.plot(x, end, arrow, color=colour, ms=5, alpha=alpha)


def _label(ax: Axes, worth: OptionsWorth) -> None:
    """Label the numbers of images that the rows have, and factors as 0.5x, 1x, 2x."""
    rows = [row for comparison in worth.comparisons.values() for row in comparison.rows]
    sizes = sorted({row.n for row in rows})
    labelled = sizes[:: -(-len(sizes) // MAX_LABELS)]
    ax.set_xticks(labelled, [f"{n:,.0f}" for n in labelled], fontsize=8)
    low, high = ax.get_ylim()
    low, high = min(low, 0.7), max(high, 1.5)
    values = next(values for ratio, values in TICKS if high / low < ratio)
    ticks = [tick for tick in values if low <= tick <= high]
    ax.set_ylim(low, high)
    ax.set_yticks(ticks, [f"{tick:g}x" for tick in ticks])
    ax.minorticks_off()
