"""Figures of error against training images, with laws, forecasts and backtests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ..findings import sentences
from ..findings.curves import METRICS, Curve, metric_name
from ..findings.study import Outcome, sample
from ..scaling.analysis import Analysis
from ..scaling.forecasting import RELIABLE, interval
from ..scaling.laws import Array
from ..scaling.posterior import Posterior
from .files import save_printed
from .learning import plot_learning
from .style import BLUE, COLOURS, MARKERS, ORANGE, _percent, caption, new_axes

SHIFT = 1.015  # between curves of the same sizes, so that their bars do not hide each other
ROOM = 0.108  # of the axis, that a number of images takes
DEEPEST = 20.0  # times below the least error: where the axis ends, however low the band goes
BEYOND = 8.0  # times the largest size: how far the law is drawn


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
    n, low, mean, high = _means(curve, sizes)
    shown = runs[metric].clip(lower=0.5 / runs["num_images"].max())
    ax.plot(runs["num_train_images"], shown, "o", color=BLUE, ms=4, mfc="none", label="one run")
    bars = np.array((mean - low, high - mean))
    ax.errorbar(n, mean, bars, fmt="o", color=BLUE, ms=6, capsize=3, label="mean, 95 % interval")
    _finish_error_axes(ax, curve.analysis, f"test {metric_name(metric)}", mean.min())
    caption(ax, sample(runs))
    return ax


def plot_points(ax: Axes, analysis: Analysis, name: str = "error") -> Axes:
    """Draw measured errors on log axes, with the law and its forecast to 8x."""
    points = analysis.points
    least = 0.5 / points.last_num_test if points.last_num_test else points.error.min()
    ax.plot(points.n, np.maximum(points.error, least), "o", color=BLUE, ms=5, label="measured")
    _finish_error_axes(ax, analysis, name, max(points.means.min(), least))
    caption(ax, sentences.measured(points))
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
    caption(ax, sentences.measured(analysis.points))
    return ax


def _finish_error_axes(ax: Axes, analysis: Analysis, name: str, least: float) -> None:
    if analysis.posterior is not None:
        _draw_law(ax, analysis.posterior, analysis.points.sizes)
    ax.set(xscale="log", yscale="log")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], least / DEEPEST))
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


def plot_curves(ax: Axes, found: Mapping[str, Curve], sizes: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw several curves of one error on log axes: means over seeds, laws and forecasts to 4x.

    Parameters
    ----------
    sizes : mapping
        Of each curve, as for :func:`plot_error`: where the means have their intervals.
    """
    metric, all_sizes = next(iter(found.values())).metric, set[float]()
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    shifts = SHIFT ** (np.arange(len(found)) - (len(found) - 1) / 2)
    for shift, (colour, marker), (name, curve) in zip(shifts, styles, found.items(), strict=False):
        n, low, mean, high = _means(curve, sizes[name])
        all_sizes |= set(n.tolist())
        bars = np.array((mean - low, high - mean))
        ax.errorbar(n * shift, mean, bars, fmt=marker, color=colour, ms=5, capsize=2, label=name)
        if (posterior := curve.analysis.posterior) is None:
            ax.plot(n * shift, mean, color=colour, lw=0.8)
            continue
        for start, end, line in ((n[0], n[-1], "-"), (n[-1], RELIABLE * n[-1], "--")):
            x = np.geomspace(start, end, 40)
            ax.plot(x, np.median(posterior.error(x), axis=0), line, color=colour, lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="training images")
    ax.set_ylabel(f"test {metric_name(metric)} (95 % interval)")
    _label_log_axes(ax, np.array(sorted(all_sizes)))
    ax.legend(frameon=False)
    ax.grid(which="major", alpha=0.25)
    caption(ax, sample(pd.concat([curve.runs for curve in found.values()])))
    return ax


def _means(curve: Curve, sizes: pd.DataFrame) -> tuple[Array, Array, Array, Array]:
    """Return sizes, and the mean error there between its limits, as a log axis can show them."""
    n, mean = sizes["num_images"].to_numpy(float), sizes[curve.metric].to_numpy(float)
    low, high = np.array(sizes[f"{curve.metric}_interval"].tolist(), float).T
    least = 0.5 / curve.runs["num_images"].max()  # half an image: where zero errors are put
    low, mean, high = (np.maximum(values, least) for values in (low, mean, high))
    return n, low, mean, high


def _label_log_axes(ax: Axes, n: Array) -> None:
    """Label the sizes that were measured, and errors as percentages, few or many by the span."""
    left, right = ax.get_xlim()
    room, labels = ROOM * np.log(right / left), [""] * len(n)
    place = np.inf
    for i in reversed(range(len(n))):  # the largest has its label; those too close to it go without
        if place - np.log(n[i]) >= room:
            place, labels[i] = np.log(n[i]), f"{int(n[i]):,}"
    ax.set_xticks(n, labels)
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


def save_figures(
    curves: Mapping[str, Curve], sizes: pd.DataFrame, epochs: pd.DataFrame, folder: Path
) -> None:
    """Save the curve of each error and the learning curves of the largest subset."""
    for metric, curve in curves.items():
        save_printed(plot_error(new_axes(), curve, sizes), folder / f"{metric}.png")
    largest = epochs[epochs["num_train_images"] == epochs["num_train_images"].max()]
    save_printed(plot_learning(new_axes(), largest), folder / "learning_curves.png")


def together(found: Sequence[Outcome]) -> dict[str, Axes]:
    """Draw the curves of several variants on one plot per error; of one variant, none."""
    axes, sizes = {}, {one.name: one.sizes for one in found}
    for metric in METRICS if len(found) > 1 else ():
        known = {one.name: one.curves[metric] for one in found if metric in one.curves}
        if known:
            axes[metric] = plot_curves(new_axes(), known, sizes)
    return axes
