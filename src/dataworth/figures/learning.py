"""Figures of training: loss and error over epochs."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..findings import sentences
from .evaluation import size_colors
from .style import BLUE, ORANGE, caption, label_percent


def plot_learning(ax: Axes, epochs: pd.DataFrame) -> Axes:
    """Draw training loss and validation error over epochs, one pair of lines per seed.

    Parameters
    ----------
    epochs : DataFrame
        Rows of one subset size: columns num_train_images, seed, epoch, train_loss and
        validation_top_5_error (or validation_top_1_error where there are fewer than 6 classes).
    """
    k = 5 if epochs["validation_top_5_error"].notna().any() else 1
    right = ax.twinx()
    for _, run in epochs.groupby("seed"):
        ax.plot(run["epoch"], run["train_loss"], color=BLUE, lw=1.2)
        right.plot(run["epoch"], run[f"validation_top_{k}_error"], "--", color=ORANGE, lw=1.2)
    ax.set_xlabel("epoch")
    ax.set_ylabel("training loss (nats per image)", color=BLUE)
    right.set_ylabel(f"validation top-{k} error (dashed)", color=ORANGE)
    label_percent(right.yaxis)
    right.spines["top"].set_visible(False)
    (n,), seeds = epochs["num_train_images"].unique(), epochs["seed"].nunique()
    caption(ax, sentences.sample([n], [seeds]))
    return ax


def plot_learning_sizes(ax: Axes, epochs: pd.DataFrame, column: str) -> Axes:
    """Draw one column of epochs.csv over epochs, one line per run, coloured by training images.

    Parameters
    ----------
    ax : Axes
    epochs : DataFrame
        The content of epochs.csv: columns num_train_images, seed, epoch and ``column``.
    column : str
        Such as train_loss or validation_top_5_error.
    """
    colors = size_colors(sorted(epochs["num_train_images"].unique()))
    for size, color in colors.items():  # largest first
        rows = epochs[epochs["num_train_images"] == size]
        for i, (_, run) in enumerate(rows.groupby("seed")):
            label = f"{size:,} images" if i == 0 else None
            ax.plot(run["epoch"], run[column], color=color, lw=1.1, label=label)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    if column.endswith("error"):
        label_percent(ax.yaxis)
    ax.legend(frameon=False, fontsize=8)
    seeds = epochs.groupby("num_train_images")["seed"].nunique()
    caption(ax, sentences.sample(seeds.index.tolist(), seeds.tolist()))
    return ax
