"""Figure of the error over training images and training steps."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Polygon

from ..findings.sentences import percent
from ..findings.training import TrainingFindings
from ..scaling.laws import Array
from .style import caption, new_axes

FORECAST = "#a34700"  # darker than the orange of curves: small text on the map
RESOLUTION = 24  # of the map, on each axis
MARGIN = 3.0  # of the map beyond the measured cells
PASSES_MARGIN = 2.0  # beyond the measured passes, where the map ends
NUM_LEVELS = 9
PALEST = 3.0  # the scale of colours begins at the lowest error over this: the map is never white


def plot_training(findings: TrainingFindings) -> Axes | None:
    """Draw a map of the law's error, the measured cells and the forecasts; None without a law.

    Both axes are logarithmic. The map ends where passes over the images are far from measured ones.
    """
    posterior, grid = findings.analysis.posterior, findings.analysis.grid
    if posterior is None:
        return None
    ax = new_axes(6.8, 5.2)
    low, high = grid.cells.min(axis=0) / 1.5, grid.cells.max(axis=0) * MARGIN
    n, steps = (np.geomspace(a, b, RESOLUTION) for a, b in zip(low, high, strict=True))
    pairs = np.stack(np.meshgrid(n, steps), axis=-1).reshape(-1, 2)
    error = np.median(posterior.law_error(pairs), axis=0).reshape(RESOLUTION, RESOLUTION)
    measured = grid.cells[:, 1] / grid.cells[:, 0]
    ends = np.array((measured.min() / PASSES_MARGIN, measured.max() * PASSES_MARGIN))
    _draw_map(ax, n, steps, error, ends)
    ax.plot(*grid.cells.T, "o", color="black", ms=5, label="measured")
    choices = np.array([[choice.n, choice.steps] for choice in findings.analysis.choices])
    ax.plot(*choices.T, "o", color=FORECAST, mfc="white", ms=6, label="forecast")
    labels = [(cell, mean, "black") for cell, mean in zip(grid.cells, grid.means, strict=True)]
    labels += [((c.n, c.steps), c.error, FORECAST) for c in findings.analysis.choices]
    for cell, share, colour in labels:
        ax.annotate(
            percent(share), cell, (0, 6), textcoords="offset points", fontsize=8, ha="center",
            color=colour,
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="training images", ylabel="optimiser steps")
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    for axis, values in zip((ax.xaxis, ax.yaxis), np.vstack((grid.cells, choices)).T, strict=True):
        ticks = _spread(np.unique(values))
        axis.set_ticks(ticks, [f"{tick:,.0f}" for tick in ticks], fontsize=8)
    ax.minorticks_off()
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    caption(ax, f"{findings.error}; the paler the map, the lower the law's error")
    return ax


def _draw_map(ax: Axes, n: Array, steps: Array, error: Array, ends: Array) -> None:
    """Draw the error of the law where the steps per image lie between ``ends``."""
    ratio = steps[:, None] / n
    near = error[(ratio >= ends[0]) & (ratio <= ends[1])]
    levels = np.geomspace(near.min(), near.max(), NUM_LEVELS)
    corners = [(x, x * end) for end, x in zip(ends.repeat(2), n[[0, -1, -1, 0]], strict=True)]
    region = Polygon(corners, transform=ax.transData)
    norm = LogNorm(levels[0] / PALEST, levels[-1])
    for drawn in (
        ax.contourf(n, steps, error, levels, cmap="Blues", norm=norm, alpha=0.55, extend="both"),
        ax.contour(n, steps, error, levels=levels[1:-1], colors="white", linewidths=1.2),
    ):
        drawn.set_clip_path(region)


def _spread(values: Array) -> Array:
    """Leave out ticks that are closer than a factor of 1.5 to the one before."""
    kept = values[:1]
    for value in values[1:]:
        if value / kept[-1] >= 1.5:
            kept = np.append(kept, value)
    return kept
