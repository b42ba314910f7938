"""Figures of error against training images, with laws, forecasts and backtests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from ..findings import sentences
from ..findings.curves import METRICS, Curve, metric_name
from ..findings.study import VariantFindings, sample
from ..scaling.analysis import Analysis
from ..scaling.forecasting import RELIABLE_FACTOR, interval
from ..scaling.laws import Array
from ..scaling.points import MAX_SIZES
from ..scaling.posterior import Posterior
from .learning import plot_learning
from .style import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    ORANGE,
    STANDARD_SIZE,
    caption,
    label_percent,
    legend_above,
    new_axes,
    percent_tick,
    plain_tick,
    shifts,
    title,
)

SHIFT = 1.015  # factor between curves of the same sizes, so that their error bars do not overlap
RUN_OFFSET = 7.0  # points: single runs are drawn this far left of their mean, which hides them
LABEL_WIDTH = 0.69  # of the label of a number of images, in inches, as if the axis were the figure
LABEL_CHARACTERS = 7  # of the longest label with this width
MAX_DEPTH = 20.0  # the error axis ends at the smallest error divided by this, whatever the band
DRAWN_FACTOR = 8.0  # the law is drawn up to this many times the largest size


def plot_error(ax: Axes, curve: Curve, sizes: pd.DataFrame) -> Axes:
    """Draw error against training images on log axes, with the law and its forecast up to 8x.

    Parameters
    ----------
    ax : Axes
    curve : Curve
        Of the error to draw.
    sizes : DataFrame
        One row per size: columns num_images, the error and its interval (95 %).
    """
    metric, runs = curve.metric, curve.runs
    n, lower, mean, upper = drawn_means(curve, sizes)
    errors = runs[metric].clip(lower=0.5 / runs["num_images"].max())
    beside = offset_copy(ax.transData, ax.get_figure(root=True), x=-RUN_OFFSET, units="points")
    ax.plot(
        runs["num_train_images"], errors, "o", color=BLUE, ms=4, mfc="none", label="one run",
        transform=beside,
    )  # fmt: skip
    bars = np.array((mean - lower, upper - mean))
    ax.errorbar(n, mean, bars, fmt="o", color=BLUE, ms=6, capsize=3, label="mean, 95 % interval")
    untrained = curve.at_chance
    if len(untrained):
        ax.plot(
            untrained["num_train_images"], untrained[metric], "x", color=GREY, ms=6,
            label="at chance, not fitted",
        )  # fmt: skip
    _finish_error_axes(
        ax, curve.analysis, f"test {metric_name(metric)}", mean.min(),
        untrained["num_train_images"].unique(),
    )  # fmt: skip
    legend_above(ax)
    caption(ax, _sample(runs, metric))
    return ax


def plot_points(
    ax: Axes, analysis: Analysis, name: str = "error", with_caption: bool = True
) -> Axes:
    """Draw measured errors on log axes, with the law and its forecast up to 8x.

    Parameters
    ----------
    ax : Axes
    analysis : Analysis
        Of the errors to draw.
    name : str
        Label of the error axis.
    with_caption : bool
        Whether to write what was measured below the figure.
    """
    points = analysis.points
    smallest = 0.5 / points.last_num_test if points.last_num_test else points.error.min()
    ax.plot(points.n, np.maximum(points.error, smallest), "o", color=BLUE, ms=5, label="measured")
    _finish_error_axes(ax, analysis, name, max(points.means.min(), smallest))
    if with_caption:
        caption(ax, sentences.sample_of(points))
    return ax


def plot_backtest(ax: Axes, analysis: Analysis, name: str = "error") -> Axes:
    """Draw each backtest's forecast of the largest size beside the measured error.

    Parameters
    ----------
    ax : Axes
    analysis : Analysis
        With the backtests to draw.
    name : str
        Name of the error, for the axis label.
    """
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
    label_percent(ax.xaxis)
    ax.set_xlabel(f"{name} at {analysis.points.sizes[-1]:,.0f} training images")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    caption(ax, sentences.sample_of(analysis.points))
    return ax


def _finish_error_axes(
    ax: Axes, analysis: Analysis, name: str, smallest: float, not_fitted: Array | None = None
) -> None:
    if analysis.posterior is not None:
        _draw_law(ax, analysis.posterior, analysis.points.sizes)
    ax.set(xscale="log", yscale="log")
    ax.set_ylim(bottom=max(ax.get_ylim()[0], smallest / MAX_DEPTH))
    sizes = np.union1d(analysis.points.sizes, [] if not_fitted is None else not_fitted)
    tick = plain_tick if analysis.points.unbounded else percent_tick
    _label_log_axes(ax, sizes, DRAWN_FACTOR if analysis.posterior else 1.0, tick)
    ax.set_xlabel("training images")
    ax.set_ylabel(name)
    ax.legend(frameon=False)
    ax.grid(which="major", alpha=0.25)


def _draw_law(ax: Axes, posterior: Posterior, sizes: Array) -> None:
    """Draw median and 90 % band: within the data, as a forecast, and where it is unreliable."""
    largest = sizes[-1]
    ends = (sizes[0], largest, RELIABLE_FACTOR * largest, DRAWN_FACTOR * largest)
    labels = ("law, 90 % band", "forecast", f"beyond {RELIABLE_FACTOR:.0f}x: unreliable")
    styles = (("-", 0.3), ("--", 0.18), (":", 0.08))
    for start, end, label, (line, alpha) in zip(ends, ends[1:], labels, styles, strict=False):
        n = np.geomspace(start, end, 40)
        ax.plot(n, np.median(posterior.law_error(n), axis=0), line, color=ORANGE, label=label)
        band = interval(posterior.expected_error(n))
        ax.fill_between(n, *band, color=ORANGE, alpha=alpha, lw=0)


def plot_curves(ax: Axes, curves: Mapping[str, Curve], sizes: Mapping[str, pd.DataFrame]) -> Axes:
    """Draw several curves of one error on log axes: means over seeds, laws, forecasts up to 4x.

    Parameters
    ----------
    ax : Axes
    curves : mapping of str to Curve
        By the name in the legend.
    sizes : mapping of str to DataFrame
        Of each curve, as for :func:`plot_error`.
    """
    metric, all_sizes = next(iter(curves.values())).metric, set[float]()
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    places = shifts(len(curves), SHIFT)
    for shift, (colour, marker), (name, curve) in zip(places, styles, curves.items(), strict=False):
        n, lower, mean, upper = drawn_means(curve, sizes[name])
        all_sizes |= set(n.tolist())
        bars = np.array((mean - lower, upper - mean))
        ax.errorbar(n * shift, mean, bars, fmt=marker, color=colour, ms=5, capsize=2, label=name)
        at_chance = curve.at_chance
        if len(at_chance):
            ax.plot(
                at_chance["num_train_images"] * shift, at_chance[metric], "x", color=colour,
                label=f"{name}, at chance, not fitted",
            )  # fmt: skip
            all_sizes |= set(at_chance["num_train_images"].astype(float))
        if (posterior := curve.analysis.posterior) is None:
            ax.plot(n * shift, mean, color=colour, lw=0.8)
            continue
        for start, end, line in ((n[0], n[-1], "-"), (n[-1], RELIABLE_FACTOR * n[-1], "--")):
            x = np.geomspace(start, end, 40)
            ax.plot(x, np.median(posterior.law_error(x), axis=0), line, color=colour, lw=1.2)
    ax.set(xscale="log", yscale="log", xlabel="training images")
    ax.set_ylabel(f"test {metric_name(metric)} (95 % interval)")
    has_law = any(curve.analysis.posterior for curve in curves.values())
    _label_log_axes(ax, np.array(sorted(all_sizes)), RELIABLE_FACTOR if has_law else 1.0)
    if has_law:
        ax.errorbar([], [], fmt="--", color=GREY, lw=1.2, label="forecast")  # last in the legend
    legend_above(ax)
    ax.grid(which="major", alpha=0.25)
    runs = pd.concat([curve.runs for curve in curves.values()])
    caption(ax, _sample(runs, metric))
    return ax


def _sample(runs: pd.DataFrame, metric: str) -> str:
    """Describe how much was measured, and where a log axis shows an error of 0."""
    zero = "; 0 % is drawn at half a test image" if (runs[metric] == 0).any() else ""
    return f"{sample(runs)}{zero}"


def drawn_means(curve: Curve, sizes: pd.DataFrame) -> tuple[Array, Array, Array, Array]:
    """Return sizes, lower limit, mean and upper limit of the error, clipped for a log axis."""
    n, mean = sizes["num_images"].to_numpy(float), sizes[curve.metric].to_numpy(float)
    lower, upper = np.array(sizes[f"{curve.metric}_interval"].tolist(), float).T
    smallest = 0.5 / curve.runs["num_images"].max()  # half a test image: zero errors are drawn here
    lower, mean, upper = (np.maximum(values, smallest) for values in (lower, mean, upper))
    return n, lower, mean, upper


def _label_log_axes(
    ax: Axes, n: Array, factor: float, tick: Callable[[float], str] = percent_tick
) -> None:
    """Label sizes and errors, with a density that fits the range.

    Parameters
    ----------
    ax : Axes
    n : ndarray of shape (sizes,)
        Measured sizes, ascending.
    factor : float
        Times the largest size, where the forecast ends; its doublings are labelled where there is
        room.
    tick : callable
        Formats an error.
    """
    _label_sizes(ax, n, factor)
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
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
    ax.set_yticks(ticks, [tick(error) for error in ticks])
    ax.minorticks_off()


def _label_sizes(ax: Axes, n: Array, factor: float) -> None:
    """Label the measured sizes and the doublings of the largest; see :func:`_label_log_axes`."""
    left, right = ax.get_xlim()
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    share, largest = LABEL_WIDTH / figure.get_figwidth(), n[-1]
    width = share * np.log(right / left)
    labels, labelled = [""] * len(n), list[float]()
    for i in reversed(range(len(n))):  # from the largest; a label that would overlap is left out
        if not labelled or labelled[-1] - np.log(n[i]) >= width:
            labelled.append(np.log(n[i]))
            labels[i] = f"{int(n[i]):,}"
    if len(n) > MAX_SIZES:  # a tick of each would be a black bar, and take minutes
        n, labels = n[np.array(labels) != ""], [label for label in labels if label]
    last = np.log(largest)
    for doubling in range(1, int(np.log2(factor)) + 1):
        ahead, text = largest * 2.0**doubling, f"{int(largest * 2**doubling):,}"
        if np.log(ahead) - last >= width * max(1.0, len(text) / LABEL_CHARACTERS):
            n, labels, last = np.append(n, ahead), [*labels, text], np.log(ahead)
    ax.set_xticks(n, labels)


def study_figures(variants: Sequence[VariantFindings]) -> dict[str, Callable[[], Axes]]:
    """Return the figures of a study: path without suffix -> function that draws the figure.

    Of each variant with a curve, these are the curve of each error and the training curves of the
    largest subset, in the variant's folder; of several variants, one figure per error.
    """
    figures: dict[str, Callable[[], Axes]] = {}
    for variant in (variant for variant in variants if variant.curves):
        folder = f"{variant.variant}/" if variant.variant else ""
        draw = {metric: partial(_draw_error, variant, metric) for metric in variant.curves}
        draw["learning_curves"] = partial(_draw_learning, variant)
        figures |= {folder + name: partial(_titled, variant.title, draw[name]) for name in draw}
    for metric, curves in _compared_curves(variants).items():
        data = PurePath(variants[0].results.dataset).name
        figures[metric] = partial(_titled, data, partial(_plot_compared, curves, variants))
    return figures


def _titled(text: str, draw: Callable[[], Axes]) -> Axes:
    ax = draw()
    title(ax, text)
    return ax


def _draw_error(variant: VariantFindings, metric: str) -> Axes:
    return plot_error(new_axes(), variant.curves[metric], variant.sizes)


def _draw_learning(variant: VariantFindings) -> Axes:
    return plot_learning(new_axes(), variant.largest_epochs)


def _plot_compared(
    curves: Mapping[str, Curve],
    variants: Sequence[VariantFindings],
    size: tuple[float, float] = STANDARD_SIZE,
) -> Axes:
    sizes = {variant.name: variant.sizes for variant in variants}
    return plot_curves(new_axes(*size), curves, sizes)


def _compared_curves(variants: Sequence[VariantFindings]) -> dict[str, dict[str, Curve]]:
    """Return the curves of several variants: metric -> name -> curve; empty for a single one."""
    if len(variants) < 2:
        return {}
    by_metric = {
        metric: {v.name: v.curves[metric] for v in variants if metric in v.curves}
        for metric in METRICS
    }
    return {metric: curves for metric, curves in by_metric.items() if curves}


def plot_variants(
    variants: Sequence[VariantFindings], size: tuple[float, float] = STANDARD_SIZE
) -> dict[str, Axes]:
    """Draw the curves of several variants in one figure per metric; empty for a single variant.

    Parameters
    ----------
    variants : sequence of VariantFindings
    size : tuple of float
        Of a figure, in inches.
    """
    return {
        metric: _plot_compared(curves, variants, size)
        for metric, curves in _compared_curves(variants).items()
    }
