"""Figures. Every function draws on the axes it is given and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .findings import Analysis, metric_name
from .fitting import Fit
from .laws import Array

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
BEYOND = 2.0  # times the largest size, drawn dashed


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes of a new figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_error(ax: Axes, analysis: Analysis, sizes: pd.DataFrame) -> Axes:
    """Draw error against training images on log axes, with the fitted power law and its band.

    Parameters
    ----------
    analysis : Analysis
        Of the error to draw.
    sizes : DataFrame
        One row per size: columns num_images, the error and its interval (95 %).
    """
    metric, runs = analysis.metric, analysis.runs
    n, mean = sizes["num_images"].to_numpy(float), sizes[metric].to_numpy(float)
    low, high = np.array(sizes[f"{metric}_interval"].tolist(), float).T
    least = 0.5 / runs["num_images"].max()  # half an image: where a log axis puts zero errors
    low, mean, high = (np.maximum(values, least) for values in (low, mean, high))
    if (fit := analysis.fits.get("power law")) is not None:
        inside = np.geomspace(n.min(), n.max(), 100)
        beyond = np.geomspace(n.max(), n.max() * BEYOND, 50)
        ax.fill_between(inside, *fit.band(inside), color=ORANGE, alpha=0.18, lw=0)
        ax.fill_between(beyond, *fit.band(beyond), color=ORANGE, alpha=0.08, lw=0)
        ax.plot(inside, fit(inside), color=ORANGE, label=_law_label(fit))
        ax.plot(beyond, fit(beyond), color=ORANGE, ls="--")
    shown, label, bars = (
        runs[metric].clip(lower=least),
        "mean, 95 % interval",
        (mean - low, high - mean),
    )
    ax.plot(runs["num_train_images"], shown, "o", color=BLUE, ms=4, mfc="none", label="one run")
    ax.errorbar(n, mean, np.array(bars), fmt="o", color=BLUE, ms=6, capsize=3, label=label)
    ax.set(xscale="log", yscale="log", ylim=(max(ax.get_ylim()[0], mean.min() / 2), None))
    _label_log_axes(ax, n)
    ax.set_xlabel("training images")
    ax.set_ylabel(f"test {metric_name(metric)}")
    ax.legend(frameon=False)
    ax.grid(which="major", alpha=0.25)
    return ax


def plot_learning(ax: Axes, epochs: pd.DataFrame) -> Axes:
    """Draw training loss and validation error over epochs, one pair of lines per seed.

    Parameters
    ----------
    epochs : DataFrame
        Rows of one subset size: columns seed, epoch, train_loss and validation_top_5_error (or
        validation_top_1_error where there are fewer than 6 classes).
    """
    k = 5 if epochs["validation_top_5_error"].notna().any() else 1
    right = ax.twinx()
    for _, run in epochs.groupby("seed"):
        ax.plot(run["epoch"], run["train_loss"], color=BLUE, lw=1.2)
        right.plot(run["epoch"], run[f"validation_top_{k}_error"], color=ORANGE, lw=1.2)
    ax.set_xlabel("epoch")
    ax.set_ylabel("training loss (nats per image)", color=BLUE)
    right.set_ylabel(f"validation top-{k} error", color=ORANGE)
    right.yaxis.set_major_formatter(FuncFormatter(_percent))
    right.spines["top"].set_visible(False)
    return ax


def save_figures(
    analyses: Mapping[str, Analysis], sizes: pd.DataFrame, epochs: pd.DataFrame, folder: Path
) -> None:
    """Save the curve of each error and the learning curves of the largest subset."""
    for metric, analysis in analyses.items():
        save(plot_error(new_axes(), analysis, sizes), folder / f"{metric}.png")
    largest = epochs[epochs["num_train_images"] == epochs["num_train_images"].max()]
    save(plot_learning(new_axes(), largest), folder / "learning_curves.png")


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Save a table of text as a picture."""
    ax = new_axes(1.1 + 1.5 * len(table.columns), 0.5 + 0.32 * len(table))
    ax.axis("off")
    cells = [[str(index), *(str(v) for v in row)] for index, *row in table.itertuples()]
    columns = [str(table.index.name), *table.columns]
    drawn = ax.table(cells, colLabels=columns, loc="center", edges="horizontal", cellLoc="center")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.auto_set_column_width(list(range(len(columns))))
    drawn.scale(1, 1.4)
    save(ax, path)


def save(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    figure.savefig(path)


def _label_log_axes(ax: Axes, n: Array) -> None:
    """Label the sizes that were measured, and errors as percentages, few or many by the span."""
    ax.set_xticks(n, [f"{int(size):,}" for size in n])
    low, high = ax.get_ylim()
    steps = (1, 2, 5) if high / low > 5 else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    ticks = [s * 10.0**p for p in range(-6, 1) for s in steps if low <= s * 10.0**p <= high]
    ax.set_yticks(ticks, [_percent(tick, 0) for tick in ticks])
    ax.minorticks_off()


def _percent(share: float, _: int) -> str:
    return f"{100 * share:.3g} %"


def _law_label(fit: Fit) -> str:
    low, high = fit.intervals[1]
    return f"${fit.law.text}$, c = {fit.values[1]:.2f} [{low:.2f}, {high:.2f}] (90 %)"
