"""Figures. Every function draws on the axes it is given and returns them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from .analysis import Analysis
from .findings import Curve, metric_name
from .forecasting import RELIABLE, interval
from .laws import Array
from .posterior import Posterior

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"  # Okabe and Ito: safe for colour blindness
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", GREY, "#000000")
BEYOND = 8.0  # times the largest size: how far the law is drawn


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Return the axes of a new figure, in inches, that belongs to no window."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes: Axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_error(ax: Axes, curve: Curve, sizes: pd.DataFrame) -> Axes:
    """Draw error against training images on log axes, with the law and its forecast to 8x.

    Parameters
    ----------
    curve : Curve
        Of the error to draw.
    sizes : DataFrame
        One row per size: columns num_images, the error and its interval (95 %).
    """
    metric, runs = curve.metric, curve.runs
    n, mean = sizes["num_images"].to_numpy(float), sizes[metric].to_numpy(float)
    low, high = np.array(sizes[f"{metric}_interval"].tolist(), float).T
    least = 0.5 / runs["num_images"].max()  # half an image: where a log axis puts zero errors
    low, mean, high = (np.maximum(values, least) for values in (low, mean, high))
    shown = runs[metric].clip(lower=least)
    ax.plot(runs["num_train_images"], shown, "o", color=BLUE, ms=4, mfc="none", label="one run")
    bars = np.array((mean - low, high - mean))
    ax.errorbar(n, mean, bars, fmt="o", color=BLUE, ms=6, capsize=3, label="mean, 95 % interval")
    _finish_error_axes(ax, curve.analysis, f"test {metric_name(metric)}")
    return ax


def plot_points(ax: Axes, analysis: Analysis, name: str = "error") -> Axes:
    """Draw measured errors on log axes, with the law and its forecast to 8x."""
    points = analysis.points
    least = 0.5 / analysis.num_test if analysis.num_test else points.error.min()
    ax.plot(points.n, np.maximum(points.error, least), "o", color=BLUE, ms=5, label="measured")
    _finish_error_axes(ax, analysis, name)
    return ax


def plot_backtest(ax: Axes, analysis: Analysis, name: str = "error") -> Axes:
    """Draw each forecast of the largest size beside what was measured there."""
    tests = analysis.backtests
    rows = np.arange(len(tests))
    point = np.array([test.point for test in tests])
    bars = np.array([(t.point - t.lower, t.upper - t.point) for t in tests]).reshape(-1, 2).T
    ax.errorbar(
        point, rows, xerr=bars, fmt="D", color=ORANGE, capsize=4, label="forecast, 90 % interval"
    )
    if tests:
        ax.axvline(tests[0].measured, color=BLUE, label="measured")
    hidden = {1: "largest size hidden", 2: "two largest sizes hidden"}
    ax.set_yticks(rows, [hidden[test.hidden] for test in tests])
    ax.set_ylim(len(tests) - 0.4, -0.6)
    ax.xaxis.set_major_formatter(FuncFormatter(_percent))
    ax.set_xlabel(f"{name} at {analysis.points.sizes[-1]:,.0f} training images")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _finish_error_axes(ax: Axes, analysis: Analysis, name: str) -> None:
    if analysis.posterior is not None:
        _draw_law(ax, analysis.posterior, analysis.points.sizes)
    ax.set(xscale="log", yscale="log")
    _label_log_axes(ax, analysis.points.sizes)
    ax.set_xlabel("training images")
    ax.set_ylabel(name)
    ax.legend(frameon=False)
    ax.grid(which="major", alpha=0.25)


def _draw_law(ax: Axes, posterior: Posterior, sizes: Array) -> None:
    """Draw the median and the 90 % band, paler where they forecast and where they reach too far."""
    last = sizes[-1]
    ends = (sizes[0], last, RELIABLE * last, BEYOND * last)
    labels = ("law, 90 % band", "forecast", f"beyond {RELIABLE:.0f}x: unreliable")
    styles = (("-", 0.3), ("--", 0.18), (":", 0.08))
    for start, end, label, (line, alpha) in zip(ends, ends[1:], labels, styles, strict=False):
        n = np.geomspace(start, end, 40)
        ax.plot(n, np.median(posterior.error(n), axis=0), line, color=ORANGE, label=label)
        ax.fill_between(n, *interval(posterior.expected(n)), color=ORANGE, alpha=alpha, lw=0)


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


def plot_curves(ax: Axes, found: Mapping[str, Curve]) -> Axes:
    """Draw several curves of one error on log axes: means over seeds, laws and forecasts to 4x."""
    sizes: set[float] = set()
    for colour, (name, curve) in zip(itertools.cycle(COLOURS), found.items(), strict=False):
        points, posterior = curve.analysis.points, curve.analysis.posterior
        sizes |= set(points.sizes.tolist())
        ax.plot(points.sizes, points.means, "o", color=colour, ms=5, label=name)
        if posterior is None:
            ax.plot(points.sizes, points.means, color=colour, lw=0.8)
            continue
        first, last = points.sizes[[0, -1]]
        for start, end, line in ((first, last, "-"), (last, RELIABLE * last, "--")):
            n = np.geomspace(start, end, 40)
            ax.plot(n, np.median(posterior.error(n), axis=0), line, color=colour, lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="training images")
    ax.set_ylabel(f"test {metric_name(next(iter(found.values())).metric)}")
    _label_log_axes(ax, np.array(sorted(sizes)))
    ax.legend(frameon=False)
    ax.grid(which="major", alpha=0.25)
    return ax


def save_figures(
    curves: Mapping[str, Curve], sizes: pd.DataFrame, epochs: pd.DataFrame, folder: Path
) -> None:
    """Save the curve of each error and the learning curves of the largest subset."""
    for metric, curve in curves.items():
        save(plot_error(new_axes(), curve, sizes), folder / f"{metric}.png")
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
    steps = (
        (1, 2, 5)
        if high / low > 20
        else (1, 1.5, 2, 3, 5, 7)
        if high / low > 4
        else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        if high / low > 1.3
        else tuple(tenths / 10 for tenths in range(10, 100, 2))
    )
    ticks = [s * 10.0**p for p in range(-6, 1) for s in steps if low <= s * 10.0**p <= high]
    ax.set_yticks(ticks, [_percent(tick, 0) for tick in ticks])
    ax.minorticks_off()


def _percent(share: float, _: int) -> str:
    return f"{100 * share:.3g} %"
