"""Analyses as English sentences. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from ..scaling.analysis import Analysis, Forecast, forecasts
from ..scaling.experiment_design import CandidateRun, StudyDesignPrecision
from ..scaling.fitting import fit
from ..scaling.forecasting import (
    MAX_FACTOR,
    RELIABLE_FACTOR,
    RequiredImages,
    doubling_gains,
    interval,
    required_images_each,
    run_interval,
)
from ..scaling.laws import Array
from ..scaling.points import Points
from ..scaling.priors import MAX_EXPONENT
from ..scaling.starts import Start

NEGLIGIBLE_FLOOR_SHARE = 0.1  # of the last error: a lower bound of the floor below it is left out
NEGLIGIBLE_PROBABILITY = 0.05  # of reaching an error below the floor at any size: not reachable
WIDE_EXPONENT_RATIO = 2.0  # upper over lower bound above which the exponent is called uncertain
KINDS_OF_STARTS: dict[Start, str] = {  # that the present forecast may be far from
    "scratch": "for networks trained from scratch for equal epochs",
    "tabular": "for learners of a table",
}
NOTED_DIFFERENCE = 0.05  # of the log error, from which on the forecasts of other starts are told
UNRELIABLE = f"beyond {RELIABLE_FACTOR:.0f}x the largest size: unreliable"


def fill(text: str, width: int, indent: str = "") -> str:
    """Return a paragraph broken into lines, no number apart from its percent sign.

    Parameters
    ----------
    text : str
    width : int
        Characters of the longest line.
    indent : str
        What every line but the first begins with.
    """
    kept = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return textwrap.fill(kept, width, subsequent_indent=indent).replace("\N{NO-BREAK SPACE}", " ")


def sample(sizes: Sequence[float], num_seeds: Sequence[int], num_test: float | None = None) -> str:
    """Describe what was measured.

    Parameters
    ----------
    sizes : sequence of float
        Numbers of training images.
    num_seeds : sequence of int
        Seeds of each size.
    num_test : float, optional
        Test images.
    """
    low, high = (f"{end:,.0f}" for end in (min(sizes), max(sizes)))
    least, most = min(num_seeds), max(num_seeds)
    size_range = low if low == high else f"{low} to {high}"
    seeds = (
        f"{least} to {most} seeds"
        if least != most
        else "1 seed"
        if least == 1
        else f"{least} seeds"
    )
    text = f"{size_range} training images, {seeds}{' per size' if len(sizes) > 1 else ''}"
    return text if num_test is None else f"{text}, {num_test:,.0f} test images"


def sample_of(points: Points) -> str:
    """Describe the runs behind some points."""
    num_test = None if points.num_test is None else points.num_test.max()
    return sample(points.sizes.tolist(), points.num_runs.astype(int).tolist(), num_test)


def percent(share: float | Array) -> str:
    """Format a share in percent: one decimal, or one significant digit below 0.1 %."""
    return f"{percentage_points(share)} %"


def percentage_points(share: float | Array) -> str:
    """Format a share as :func:`percent` does, without the sign."""
    value = float(share)
    if 0 < abs(value) < 1e-6:
        return "below 0.0001"
    return f"{100 * value:.1g}" if 0 < abs(value) < 0.001 else f"{100 * value:.1f}"


def rounded(images: float) -> str:
    """Format an estimated number of images with three significant digits."""
    return f"{float(f'{images:.3g}'):,.0f}"


def law(analysis: Analysis, name: str = "error") -> str:
    """Describe what the points determine: gain of a doubling, exponent, floor."""
    return " ".join(filter(None, (doubling(analysis, name), exponent_and_floor(analysis))))


def doubling(analysis: Analysis, name: str = "error") -> str:
    """Describe the gain from twice the data, or why it cannot be estimated."""
    if analysis.posterior is None:
        return f"No law can be fitted to these points (not identifiable): {analysis.reason}."
    largest = analysis.points.sizes[-1:]
    gain, lower, upper = (
        percentage_points(end[0]) for end in doubling_gains(analysis.posterior, largest)
    )
    return (
        f"Doubling the {largest[0]:,.0f} training images would lower the {name} by "
        f"{gain} percentage points (90 % interval {lower} to {upper})."
    )


def exponent_and_floor(analysis: Analysis) -> str:
    """Describe the estimates of exponent and floor; empty without a law."""
    if analysis.vague_posterior is None:
        return ""
    exponent = analysis.vague_posterior.exponent
    exponent = exponent[np.isfinite(exponent)]
    median = np.median(exponent)
    exponent_lower, exponent_upper = interval(exponent)
    floor_lower, floor_upper = interval(analysis.vague_posterior.floor)
    end = "" if exponent_upper < MAX_EXPONENT else ", the largest that is tried"
    text = (
        f"The exponent, the rate at which the error above the floor falls in the end, is "
        f"{median:.2f} (90 % interval {exponent_lower:.2f} to {exponent_upper:.2f}{end}); "
    )
    if exponent_upper > WIDE_EXPONENT_RATIO * exponent_lower:
        text += "these points hardly determine it. "
    else:
        text += f"each doubling multiplies that part by {2**-median:.2f}. "
    text += "The floor, the error that no amount of data removes, "
    if not analysis.floor_is_identifiable:
        return text + (
            f"is not identifiable: anything from {percent(floor_lower)} to {percent(floor_upper)}."
        )
    if floor_lower < NEGLIGIBLE_FLOOR_SHARE * analysis.points.means[-1]:
        return text + f"may be anything below {percent(floor_upper)}."
    return text + f"lies between {percent(floor_lower)} and {percent(floor_upper)}."


def backtest(analysis: Analysis) -> str:
    """Describe how well the largest size was forecast from the smaller ones, one line per test."""
    hidden = {1: "the largest size", 2: "the two largest sizes"}
    lines = [
        f"Without {hidden[test.hidden]}, the forecast for {test.n:,.0f} images was "
        f"{percent(test.point)} (90 % interval {percent(test.lower)} to {percent(test.upper)}); "
        f"measured: {percent(test.measured)}, {'inside' if test.covered else 'OUTSIDE'} the "
        "interval."
        for test in analysis.backtests
    ]
    return "\n".join(lines) or "No backtest: it needs four sizes."


def forecast_lines(rows: Sequence[Forecast]) -> str:
    """Format forecasts, one line each; those too far beyond the data are marked as unreliable."""
    return "\n".join(
        f"{row.n:>12,.0f} images: {percent(row.error):>7}  "
        f"({percent(row.lower)} to {percent(row.upper)})"
        + ("" if row.reliable else f"  {UNRELIABLE}")
        for row in rows
    )


def target(analysis: Analysis, error: float, name: str = "Error") -> str:
    """Describe how many training images an error takes.

    Parameters
    ----------
    analysis : Analysis
    error : float
        Target error, a share.
    name : str
        Name of the error, at the start of the sentence.
    """
    return targets(analysis, [error], name)[0]


def targets(analysis: Analysis, errors: Sequence[float], name: str = "Error") -> list[str]:
    """Describe how many training images each of several errors takes.

    Parameters
    ----------
    analysis : Analysis
    errors : sequence of float
        Target errors, shares.
    name : str
        Name of the error, at the start of each sentence.
    """
    if analysis.posterior is None:
        return [f"{name} {percent(error)}: no answer without a law." for error in errors]
    return [
        _required_images(analysis, required, name)
        for required in required_images_each(
            analysis.posterior, errors, num_test=analysis.points.last_num_test
        )
    ]


def _required_images(analysis: Analysis, required: RequiredImages, name: str) -> str:
    assert analysis.vague_posterior is not None
    error, largest = required.target, analysis.points.sizes[-1]
    sizes, reached = analysis.points.sizes, analysis.points.means <= error
    if reached[-1]:  # from the first size on after which no mean is above it
        first = len(sizes) - int(reached[::-1].cumprod().sum())
        return f"{name} {percent(error)}: already reached, at {sizes[first]:,.0f} images."
    floor = interval(analysis.vague_posterior.floor)[0]
    if error < floor and required.probability < NEGLIGIBLE_PROBABILITY:
        return (
            f"{name} {percent(error)}: not reachable at any size under this law: the floor is "
            f"above {percent(floor)} (90 % interval)."
        )
    text = f"{name} {percent(error)}: {_forecast_images(required, largest)}"
    if error < floor:
        text += f" By these points alone the floor is above {percent(floor)} (90 % interval)."
    if reached.any():
        text += (
            f" It was measured at {sizes[reached][-1]:,.0f} images, but not at {largest:,.0f}: "
            f"{percent(analysis.points.means[-1])}."
        )
    return text


def _forecast_images(required: RequiredImages, largest: float) -> str:
    if not np.isfinite(required.estimate):
        return (
            "too far beyond these points to estimate. It takes more than "
            f"{rounded(min(required.lower, MAX_FACTOR * largest))} images (probability 95 %); with "
            f"probability {100 * (1 - required.probability):.0f} % even "
            f"{rounded(MAX_FACTOR * largest)} are not enough."
        )
    upper = rounded(required.upper) if np.isfinite(required.upper) else "more than can be estimated"
    text = (
        f"{rounded(required.estimate)} images (90 % interval {rounded(required.lower)} to {upper})"
    )
    return f"{text}, {UNRELIABLE}." if required.estimate > RELIABLE_FACTOR * largest else f"{text}."


def outlook(analysis: Analysis, name: str = "error", at: Sequence[float] = ()) -> str:
    """Describe backtests and forecasts, as paragraphs.

    Parameters
    ----------
    analysis : Analysis
    name : str
        Name of the error.
    at : sequence of float
        Training images to forecast for; empty: 2, 4 and 8 times the largest size.
    """
    title = f"Forecast {name} of a new run (90 % interval):"
    return f"{backtest(analysis)}\n\n{title}\n{forecast_lines(forecasts(analysis, at))}"


def if_start_were_told(analysis: Analysis) -> list[str]:
    """Say what would be forecast if the start was told, if that matters: a sentence or none."""
    points, posterior = analysis.points, analysis.posterior
    if posterior is None or not np.isfinite(analysis.chance):
        return []
    at = RELIABLE_FACTOR * points.sizes[-1:]
    present, parts, largest = np.median(posterior.law_error(at)), [], 0.0
    for start, kind in KINDS_OF_STARTS.items():
        told = fit(points, analysis.chance, start=start)
        median = float(np.median(told.law_error(at)))
        (lower,), (upper,) = run_interval(told, at, points.last_num_test)
        parts.append(
            f"{percent(median)} ({percent(float(lower))} to {percent(float(upper))}) {kind} "
            f"(--start {start})"
        )
        largest = max(largest, abs(float(np.log(median / present))))
    if largest < NOTED_DIFFERENCE:
        return []
    return [
        "It is not told what the classifiers start from. At "
        f"{at[0]:,.0f} images, where {percent(float(present))} is forecast, it would be "
        f"{', and '.join(parts)}."
    ]


def next_runs(candidates: Sequence[CandidateRun], quantity: str) -> str:
    """Format the next runs worth training, the largest reduction per training image first."""
    lines = [
        f"{run.n:>12,.0f} images, {'a new size' if run.is_new_size else 'another seed'}: "
        f"by {100 * run.reduction:.1f} %"
        for run in candidates
    ]
    title = (
        f"Expected reduction of the uncertainty of {quantity} by one more run, largest reduction "
        "per training image first:"
    )
    return "\n".join([title, *lines])


def simulated(
    design: StudyDesignPrecision, sizes: Sequence[float], seeds: int, num_test: int
) -> str:
    """Describe how precise a planned study would be.

    Parameters
    ----------
    design : StudyDesignPrecision
    sizes : sequence of float
        Training images, ascending.
    seeds, num_test : int
        Of each size; test images.
    """
    return (
        f"{len(sizes)} sizes up to {sizes[-1]:,.0f} images, {seeds} seed{'s' * (seeds > 1)}, "
        f"{num_test:,} test images; medians over simulated studies:\n"
        f"forecast at {RELIABLE_FACTOR:.0f}x the largest size: width of the 90 % interval "
        f"{100 * design.forecast_width:.0f} % of the error\n"
        f"exponent: width of the 90 % interval {design.exponent_width:.2f}\n"
        f"coverage: the forecast interval contained the measured error in "
        f"{100 * design.coverage:.0f} % of the simulated studies"
    )
