"""Figure of the error over training images and training steps."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..findings.training import TrainingFindings
from ..scaling.laws import Array
from .style import COLOURS, GREY, caption, new_axes, percent_tick

RESOLUTION = 24  # of the map, on each axis
MARGIN = 3.0  # of the map beyond the measured cells
PASSES_MARGIN = 2.0  # beyond the measured passes, where the map ends
NUM_LEVELS = 9


def plot_training(findings: TrainingFindings) -> Axes | None:
    """Draw a map of the law's error, the measured cells and the forecasts; None without a law.

    Both axes are logarithmic. The map ends where passes over the images are far from measured ones.
    """
    posterior, grid = findings.analysis.posterior, findings.analysis.grid
    if posterior is None:
        return None
    ax = new_axes(6.8, 5.2)
    low, high = grid.cells.min(axis=0) / 1.3, grid.cells.max(axis=0) * MARGIN
    n, steps = (np.geomspace(a, b, RESOLUTION) for a, b in zip(low, high, strict=True))
    pairs = np.stack(np.meshgrid(n, steps), axis=-1).reshape(-1, 2)
    error = np.median(posterior.law_error(pairs), axis=0).reshape(RESOLUTION, RESOLUTION)
    ratio, measured = pairs[:, 1] / pairs[:, 0], grid.cells[:, 1] / grid.cells[:, 0]
    near = (ratio > measured.min() / PASSES_MARGIN) & (ratio < measured.max() * PASSES_MARGIN)
    _draw_map(ax, n, steps, np.where(near.reshape(error.shape), error, np.nan))
    ax.plot(*grid.cells.T, "o", color="black", ms=5, label="measured")
    choices = np.array([[choice.n, choice.steps] for choice in findings.analysis.choices])
    ax.plot(*choices.T, "o", color=COLOURS[1], mfc="white", ms=6, label="forecast")
    labels = [(cell, mean, "black") for cell, mean in zip(grid.cells, grid.means, strict=True)]
    labels += [((c.n, c.steps), c.error, COLOURS[1]) for c in findings.analysis.choices]
    for cell, share, colour in labels:
        ax.annotate(
            percent_tick(share), cell, (0, 5), textcoords="offset points", fontsize=7,
            ha="center", color=colour,
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="training images", ylabel="optimiser steps")
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    for axis, values in ((ax.xaxis, grid.cells[:, 0]), (ax.yaxis, grid.cells[:, 1])):
        ticks = _spread(np.unique(values))
        axis.set_ticks(ticks, [f"{tick:,.0f}" for tick in ticks], fontsize=8)
    ax.minorticks_off()
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    caption(ax, f"{findings.error}; lines: equal error, from the law")
    return ax


def _draw_map(ax: Axes, n: Array, steps: Array, error: Array) -> None:
    finite = error[np.isfinite(error)]
    levels = np.geomspace(finite.min(), finite.max(), NUM_LEVELS)
    ax.contourf(n, steps, error, levels=levels, cmap="Blues_r", alpha=0.45)
    lines = ax.contour(n, steps, error, levels=levels[1:-1], colors=GREY, linewidths=0.8)
    ax.clabel(lines, fmt=percent_tick, fontsize=7)


def _spread(values: Array) -> Array:
    """Leave out ticks that are closer than a factor of 1.5 to the one before."""
    kept = values[:1]
    for value in values[1:]:
        if value / kept[-1] >= 1.5:
            kept = np.append(kept, value)
    return kept
