"""The law of a study as a question and its answer: images for an error, error for images."""

from __future__ import annotations

import io
from dataclasses import dataclass

from ..scaling import words
from ..scaling.analysis import forecasts
from ..scaling.findings import metric_name
from ..scaling.forecasting import RELIABLE
from ..scaling.plots import BEYOND, GREY, new_axes, plot_error
from .study import Measured

STEPS = 100  # of the slider of images, about


@dataclass(frozen=True)
class Ranges:
    """What the sliders offer."""

    target: tuple[float, float, float]  # least, most and step, in percent
    budget: tuple[int, int, int]  # the same in images


def name_of(measured: Measured) -> str:
    """Spell the error that is asked about, such as ``top-5 error``."""
    return metric_name(measured.curve.metric)


def ranges(measured: Measured) -> Ranges:
    """Offer what the plot shows: the measured sizes, and BEYOND times the largest."""
    points = measured.curve.analysis.points
    most = BEYOND * points.sizes[-1]
    (farthest,) = forecasts(measured.curve.analysis, [most])
    low, high = 100 * farthest.lower, 100 * points.means[0]
    step = 1.0 if high - low > 40 else 0.5 if high - low > 10 else 0.1
    images = max(1, _round(most / STEPS))
    first, last = -(-int(points.sizes[0]) // images), int(most // images)
    return Ranges(
        (max(step, round(low / step) * step), round(high / step) * step, step),
        (first * images, last * images, images),
    )


def _round(value: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten."""
    power = 10 ** (len(str(int(value))) - 1)
    return int(power * max(m for m in (1, 2, 5) if m * power <= max(value, 1)))


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
        f"With {budget:,} training images: a {name} of {found.error:.1%} "
        f"(90 % interval {found.lower:.1%} to {found.upper:.1%}){doubt}.",
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
            "images you could have", (budget, 0), xycoords=("data", "axes fraction"), color=GREY,
            xytext=(-2, 3), textcoords="offset points", rotation=90, ha="right", fontsize=8,
        )  # fmt: skip
    ax.set_ylim(limits)
    file = io.BytesIO()
    drawn = ax.get_figure(root=True)
    assert drawn is not None, "axes belong to a figure"
    drawn.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
