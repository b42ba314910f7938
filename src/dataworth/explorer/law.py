"""The law of a study as a question and its answer: images for an error, error for images."""

from __future__ import annotations

from dataclasses import dataclass

from ..figures.files import drawn
from ..figures.scaling import BEYOND, plot_error
from ..figures.style import GREY, new_axes
from ..findings import sentences as words
from ..findings.curves import metric_name
from ..scaling.analysis import forecasts
from ..scaling.forecasting import RELIABLE
from .study import Measured

STEPS = 100  # of the slider of images, about


@dataclass(frozen=True)
class Offer:
    """What a slider offers, in percent of error or in images."""

    least: float
    most: float
    step: float
    value: float  # at first


def name_of(measured: Measured) -> str:
    """Spell the error that is asked about, such as ``top-5 error``."""
    return metric_name(measured.curve.metric)


def offers(measured: Measured) -> tuple[Offer, Offer]:
    """Offer the errors and the images that the plot shows: up to BEYOND times the largest size."""
    points = measured.curve.analysis.points
    most = BEYOND * points.sizes[-1]
    (farthest,) = forecasts(measured.curve.analysis, [most])
    low, high, last = 100 * farthest.lower, 100 * points.means[0], 100 * points.means[-1]
    step = 1.0 if last > 40 else 0.5 if last > 10 else 0.1
    images = _round(most / STEPS)
    return (
        _offer(low, high, step, (100 * farthest.error + last) / 2),
        _offer(points.sizes[0], most, images, 2 * points.sizes[-1]),
    )


def _offer(least: float, most: float, step: float, value: float) -> Offer:
    """Put everything on the grid of the steps, without its zero."""
    grid = [round(max(1, round(end / step)) * step, 1) for end in (least, most, value)]
    return Offer(grid[0], grid[1], step, grid[2])


def _round(value: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten."""
    value = max(value, 1)
    power: int = 10 ** (len(str(int(value))) - 1)
    return max(m * power for m in (1, 2, 5) if m * power <= value)


def sentences(measured: Measured, target: float, budget: int) -> tuple[str, str]:
    """Answer both questions in one sentence each.

    Parameters
    ----------
    target : float
        An error, a share.
    budget : int
        Training images.
    """
    analysis, name = measured.curve.analysis, name_of(measured)
    (found,) = forecasts(analysis, [budget])
    doubt = "" if found.reliable else f", beyond {RELIABLE:.0f}x the largest size: unreliable"
    return (
        words.target(analysis, target, f"For a {name} of"),
        f"With {budget:,} training images: a {name} of {words.percent(found.error)} "
        f"(90 % interval {words.percent(found.lower)} to {words.percent(found.upper)}){doubt}.",
    )


def figure(measured: Measured, target: float | None = None, budget: int | None = None) -> bytes:
    """Draw the curve, and what is asked as two lines, as SVG."""
    ax = plot_error(new_axes(5.4, 4), measured.curve, measured.sizes)
    limits = ax.get_ylim()
    if target is not None:
        ax.axhline(target, color=GREY, lw=1, ls=(0, (2, 2)))
        ax.annotate(
            "error you accept", (1, target), xycoords=("axes fraction", "data"), color=GREY,
            xytext=(0, 2), textcoords="offset points", ha="right", fontsize=8,
        )  # fmt: skip
    if budget is not None:
        ax.axvline(budget, color=GREY, lw=1, ls=(0, (2, 2)))
        ax.annotate(
            "images you could have", (budget, 1), xycoords=("data", "axes fraction"), color=GREY,
            xytext=(-2, -3), textcoords="offset points", rotation=90, ha="right", va="top",
            fontsize=8,
        )  # fmt: skip
    ax.set_ylim(limits)
    return drawn(ax, "svg")
