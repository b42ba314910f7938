"""Figures of conformal prediction sets: coverage and set size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..findings.sentences import sample
from .files import save_printed
from .style import BLUE, GREY, ORANGE, caption, label_percent, new_axes, percent_tick

METHOD_STYLES = {"lac": (BLUE, "o"), "aps": (ORANGE, "s"), "raps": ("#009E73", "^")}
SPREAD = 0.5  # of the gap between two sizes, over which methods and seeds are drawn side by side


def plot_coverage(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the marginal coverage of each run, with its interval, against training images.

    Parameters
    ----------
    table : DataFrame
        Rows of conformal.csv with one alpha.
    """
    for x, rows, (color, marker), label in _by_method(table):
        low, mean, high = (rows[f"coverage{end}"] for end in ("_low", "", "_high"))
        bars = np.maximum([mean - low, high - mean], 0)  # rounding at a coverage of 1
        ax.errorbar(x, mean, bars, fmt=marker, color=color, ms=4, capsize=2, lw=1, label=label)
    target = table["target"].iloc[0]
    ax.axhline(target, color=GREY, ls="--", lw=1, label=f"target {percent_tick(target)}")
    label_percent(ax.yaxis)
    return _finish_axes(ax, table, "test coverage (95 % interval)")


def plot_set_size(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the mean size of marginal sets against training images, one marker per run."""
    for _, rows, (color, marker), label in _by_method(table):
        ax.plot(rows["num_images"], rows["mean_set_size"], marker, color=color, ms=3, alpha=0.6)
        means = rows.groupby("num_images")["mean_set_size"].mean()
        ax.plot(means.index, means, color=color, lw=1.5, label=label)
    ax.set_ylim(bottom=0)
    return _finish_axes(ax, table, "mean set size (classes)")


def _by_method(table: pd.DataFrame) -> list[tuple[pd.Series, pd.DataFrame, tuple[str, str], str]]:
    """Return sizes shifted by method and seed, rows, (colour, marker) and name of each method."""
    marginal = table[table["mode"] == "marginal"]
    seeds = np.unique(marginal["seed"])
    places = len(METHOD_STYLES) * len(seeds)
    gaps = np.diff(np.log(np.unique(marginal["num_images"])))
    step = SPREAD * min(gaps, default=0.3) / places
    parts = []
    for i, (method, style) in enumerate(METHOD_STYLES.items()):
        rows = marginal[marginal["method"] == method]
        place = i * len(seeds) + np.searchsorted(seeds, rows["seed"])
        x = rows["num_images"] * np.exp(step * (place - (places - 1) / 2))
        parts.append((x, rows, style, method.upper()))
    return parts


def _finish_axes(ax: Axes, table: pd.DataFrame, label: str) -> Axes:
    ax.set_xscale("log")
    sizes = sorted(table["num_images"].unique())
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    if len(sizes) == 1:  # else the shifts of the methods would span the axis
        ax.set_xlim(sizes[0] / 2, sizes[0] * 2)
    ax.set_xlabel("training images")
    ax.set_ylabel(label)
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    seeds = table.groupby("num_images")["seed"].nunique()
    caption(ax, f"{sample(sizes, seeds.tolist())}, alpha {table['alpha'].iloc[0]}")
    return ax


def save_conformal_figures(table: pd.DataFrame, folder: Path) -> None:
    """Save coverage and mean set size against training images, one figure per alpha."""
    for alpha, rows in table.groupby("alpha"):
        save_printed(plot_coverage(new_axes(), rows), folder / f"coverage_{alpha}.png")
        save_printed(plot_set_size(new_axes(), rows), folder / f"set_size_{alpha}.png")
