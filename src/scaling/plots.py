"""Figures. Every function draws on the axes it is given and returns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .findings import fit_laws, select_points
from .fitting import Fit

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
BEYOND = 2.0  # times the largest size, drawn dashed


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes of a new figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_error(
    ax: Axes,
    runs: pd.DataFrame,
    sizes: pd.DataFrame,
    metric: str,
    fit: Fit | None = None,
) -> Axes:
    """Draw error against training images on log axes, with the fitted law and its band.

    Parameters
    ----------
    runs : DataFrame
        Test scores of complete runs: columns num_train_images and ``metric``.
    sizes : DataFrame
        One row per size: columns num_images, ``metric`` and ``<metric>_interval``.
    metric : str
        Such as ``top_5_error``, a share.
    fit : Fit, optional
    """
    n, mean = sizes["num_images"].to_numpy(float), sizes[metric].to_numpy(float)
    low, high = np.array(sizes[f"{metric}_interval"].tolist(), float).T
    if fit is not None:
        inside = np.geomspace(n.min(), n.max(), 100)
        beyond = np.geomspace(n.max(), n.max() * BEYOND, 50)
        ax.fill_between(inside, *fit.band(inside), color=ORANGE, alpha=0.18, lw=0)
        ax.fill_between(beyond, *fit.band(beyond), color=ORANGE, alpha=0.08, lw=0)
        ax.plot(inside, fit(inside), color=ORANGE, label=_law_label(fit))
        ax.plot(beyond, fit(beyond), color=ORANGE, ls="--")
    ax.plot(
        runs["num_train_images"], runs[metric], "o", color=BLUE, ms=4, mfc="none", alpha=0.6,
        label="one run",
    )  # fmt: skip
    ax.errorbar(
        n, mean, [mean - low, high - mean], fmt="o", color=BLUE, capsize=3,
        label="mean, 95 % interval",
    )  # fmt: skip
    ax.set(xscale="log", yscale="log")
    _label_log_axes(ax, n)
    ax.set_xlabel("training images")
    ax.set_ylabel(f"test {metric.replace('_', '-', 1).replace('_', ' ')}")
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
    runs: pd.DataFrame, sizes: pd.DataFrame, epochs: pd.DataFrame, folder: Path
) -> None:
    """Save the error curves of both metrics and the learning curves of the largest subset."""
    folder.mkdir(parents=True, exist_ok=True)
    for metric in ("top_1_error", "top_5_error"):
        if sizes[metric].notna().all():
            points, kept = select_points(runs, metric)
            fits = fit_laws(points)[0]
            ax = plot_error(new_axes(), kept, sizes, metric, fits.get("power law"))
            save(ax, folder / f"{metric}.png")
    largest = epochs[epochs["num_train_images"] == epochs["num_train_images"].max()]
    save(plot_learning(new_axes(), largest), folder / "learning_curves.png")


def save(ax: Axes, path: Path) -> None:
    """Save the figure of ``ax``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    figure.savefig(path)


def _label_log_axes(ax: Axes, n: np.ndarray) -> None:
    """Label the sizes that were measured, and errors as percentages at 1, 2 and 5."""
    ax.set_xticks(n, [f"{int(size):,}" for size in n])
    ax.xaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    decades = [10.0**p * d for p in range(-5, 1) for d in (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)]
    ticks = [tick for tick in decades if low <= tick <= high]
    ax.set_yticks(ticks, [_percent(tick, 0) for tick in ticks])
    ax.yaxis.set_minor_formatter(NullFormatter())


def _percent(share: float, _: int) -> str:
    return f"{100 * share:.3g} %"


def _law_label(fit: Fit) -> str:
    low, high = fit.intervals[1]
    return f"{fit.law.text}, c = {fit.values[1]:.2f} [{low:.2f}, {high:.2f}] (90 %)"
