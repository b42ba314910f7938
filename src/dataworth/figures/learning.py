"""Figures of training: loss and error over epochs."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ..findings import sentences
from ..findings.curves import metric_name
from ..findings.tables import gains_table
from .evaluation import size_colors
from .style import BLUE, GREY, ORANGE, caption, label_percent, legend_above, panel_below


def top_k_of(epochs: pd.DataFrame) -> int:
    """Return 5, or 1 where the validation top-5 error of the largest size is unknown or ends at 0.

    Parameters
    ----------
    epochs : DataFrame
        Rows of epochs.csv.
    """
    largest = epochs[epochs["num_train_images"] == epochs["num_train_images"].max()]
    last = largest.groupby("seed")["validation_top_5_error"].last()
    return 5 if last.max() > 0 else 1


def plot_learning(ax: Axes, epochs: pd.DataFrame) -> Axes:
    """Draw training loss and, in a panel below, validation error over epochs, a line per seed.

    Parameters
    ----------
    ax : Axes
        Its place in the figure is divided between both panels.
    epochs : DataFrame
        Rows of one subset size: columns num_train_images, seed, epoch, train_loss and
        validation_top_5_error (or validation_top_1_error, see :func:`top_k_of`).
    """
    k = top_k_of(epochs)
    below = panel_below(ax)
    for _, run in epochs.groupby("seed"):
        ax.plot(run["epoch"], run["train_loss"], color=BLUE, lw=1.2)
        below.plot(run["epoch"], run[f"validation_top_{k}_error"], color=ORANGE, lw=1.2)
    ax.set_ylabel("training loss\n(nats per image)")
    below.set_ylabel(f"validation\ntop-{k} error")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlabel("epoch")
    label_percent(below.yaxis)
    (n,), seeds = epochs["num_train_images"].unique(), epochs["seed"].nunique()
    lines = "" if seeds == 1 else ", a line for each"
    caption(ax, f"{sentences.sample([n], [seeds])}{lines}")
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
    legend_above(ax)
    seeds = epochs.groupby("num_train_images")["seed"].nunique()
    caption(ax, sentences.sample(seeds.index.tolist(), seeds.tolist()))
    return ax


def plot_gains(ax: Axes, sizes: pd.DataFrame, metric: str) -> Axes:
    """Draw the error removed per doubling of the training set, with 95 % intervals.

    Parameters
    ----------
    ax : Axes
    sizes : DataFrame
        Means over complete runs, a row per size, smallest first.
    metric : str
        Such as top_5_error.
    """
    gain = metric.replace("error", "gain_per_doubling")
    table = gains_table(sizes)
    names = [f"{n:,}" for n in table["num_images"]]
    steps = table.iloc[1:]
    bars = (steps[gain] - steps[f"{gain}_low"], steps[f"{gain}_high"] - steps[gain])
    labels = [f"{small} to\n{large}" for small, large in pairwise(names)]
    ax.errorbar(labels, steps[gain], bars, fmt="o", color=BLUE, ms=6, capsize=3)
    ax.axhline(0, color=GREY, lw=0.8)
    ax.set_xlabel("training images")
    ax.set_ylabel(f"{metric_name(metric)} removed per doubling (points)")
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}")
    ax.tick_params(axis="x", labelsize=8)
    caption(ax, sentences.sample(table["num_images"].tolist(), table["num_runs"].tolist()))
    return ax


def plot_convergence(ax: Axes, table: pd.DataFrame, metric: str) -> Axes:
    """Draw errors of the best epoch and, in a panel below, the steps to half of the gain.

    Parameters
    ----------
    ax : Axes
        Its place in the figure is divided between both panels.
    table : DataFrame
        From ``findings.convergence.convergence_table``.
    metric : str
        Such as top_5_error.
    """
    below, n = panel_below(ax), table["num_images"]
    ax.plot(n, table["validation_error"], "o-", color=BLUE, label="validation, best epoch")
    ax.plot(n, table["train_error"], "s--", color=BLUE, mfc="none", label="training, same epoch")
    below.plot(n, table["half_gain_steps"], "D-", color=ORANGE)
    ax.set(xscale="log", ylabel=metric_name(metric))
    below.set_xlabel("training images")
    below.set_xticks(n, [f"{size:,}" for size in n], fontsize=8)
    below.set_xticks([], minor=True)
    below.set_yscale("log")
    below.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    below.yaxis.set_major_formatter(lambda steps, _: f"{steps:,.0f}")
    below.yaxis.set_minor_locator(NullLocator())
    below.set_ylabel("optimiser steps\nto half of the gain")
    label_percent(ax.yaxis)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    caption(ax, sentences.sample(n.tolist(), table["num_runs"].astype(int).tolist()))
    return ax
