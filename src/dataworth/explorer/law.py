"""Scaling law panel: images for an error, error for images, as sliders, sentences and a plot."""

from __future__ import annotations

from dataclasses import dataclass

from ..figures.files import render
from ..figures.scaling import DRAWN_FACTOR, plot_error
from ..figures.style import GREY, new_axes
from ..findings import sentences
from ..findings.curves import metric_name
from ..scaling.analysis import forecasts
from .study import MeasuredCurve

NUM_STEPS = 100  # of the slider of images, at least


@dataclass(frozen=True)
class SliderRange:
    """Range of a slider, in percent of error or in images."""

    minimum: float
    maximum: float
    step: float
    initial: float


def error_name(measured: MeasuredCurve) -> str:
    """Return the name of the error of a curve, such as ``top-5 error``."""
    return metric_name(measured.curve.metric)


def slider_ranges(measured: MeasuredCurve) -> tuple[SliderRange, SliderRange]:
    """Return the ranges of target errors and of images: as far as the plot draws the law."""
    points = measured.curve.analysis.points
    max_images = DRAWN_FACTOR * points.sizes[-1]
    (farthest,) = forecasts(measured.curve.analysis, [max_images])
    low, high, last = 100 * farthest.lower, 100 * points.means[0], 100 * points.means[-1]
    step = 1.0 if last > 40 else 0.5 if last > 10 else 0.1
    return (
        _slider_range(low, high, step, (100 * farthest.error + last) / 2),
        _slider_range(
            points.sizes[0], max_images, _round_down(max_images / NUM_STEPS), 2 * points.sizes[-1]
        ),
    )


def _slider_range(minimum: float, maximum: float, step: float, initial: float) -> SliderRange:
    """Round all values to multiples of the step, above zero."""
    low, high, start = (
        round(max(1, round(value / step)) * step, 1) for value in (minimum, maximum, initial)
    )
    return SliderRange(low, high, step, start)


def _round_down(value: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten."""
    value = max(value, 1)
    power: int = 10 ** (len(str(int(value))) - 1)
    return max(m * power for m in (1, 2, 5) if m * power <= value)


def law_sentences(measured: MeasuredCurve, target: float, budget: int) -> tuple[str, str]:
    """Describe the images that an error takes, and the error at a number of images.

    Parameters
    ----------
    measured : MeasuredCurve
    target : float
        An error, a share.
    budget : int
        Training images.
    """
    analysis, name = measured.curve.analysis, error_name(measured)
    (forecast,) = forecasts(analysis, [budget])
    error, lower, upper = map(sentences.percent, (forecast.error, forecast.lower, forecast.upper))
    warning = "" if forecast.reliable else f", {sentences.UNRELIABLE}"
    return (
        sentences.target(analysis, target, f"For a {name} of"),
        f"With {budget:,} training images: a {name} of {error} "
        f"(90 % interval {lower} to {upper}){warning}.",
    )


def plot_svg(
    measured: MeasuredCurve, target: float | None = None, budget: int | None = None
) -> bytes:
    """Draw the curve as SVG, with target error and number of images as lines.

    Parameters
    ----------
    measured : MeasuredCurve
    target : float, optional
        An error, a share.
    budget : int, optional
        Training images.
    """
    ax = plot_error(new_axes(5.4, 4), measured.curve, measured.sizes)
    limits = ax.get_ylim()
    if target is not None:
        ax.axhline(target, color=GREY, lw=1, ls=(0, (2, 2)))
        ax.annotate(
            "target error", (1, target), xycoords=("axes fraction", "data"), color=GREY,
            xytext=(0, 2), textcoords="offset points", ha="right", fontsize=8,
        )  # fmt: skip
    if budget is not None:
        ax.axvline(budget, color=GREY, lw=1, ls=(0, (2, 2)))
        ax.annotate(
            "available images", (budget, 1), xycoords=("data", "axes fraction"), color=GREY,
            xytext=(-2, -3), textcoords="offset points", rotation=90, ha="right", va="top",
            fontsize=8,
        )  # fmt: skip
    ax.set_ylim(limits)
    return render(ax, "svg")
