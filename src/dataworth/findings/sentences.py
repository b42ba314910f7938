"""What an analysis says, in words that a newcomer understands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scaling.analysis import Analysis, Forecast, forecasts
from ..scaling.experiment_design import Candidate
from ..scaling.forecasting import FARTHEST, RELIABLE, Requirement, gains, interval, requirements
from ..scaling.laws import Array
from ..scaling.points import Points

NOTHING = 0.1  # a floor's lower bound below this share of the last error is as good as none
WIDE = 2.0  # an exponent whose interval spans this factor is called hardly known


def sample(sizes: Sequence[float], num_seeds: Sequence[int], num_test: float | None = None) -> str:
    """Say what was measured: sizes, the seeds of each, test images if known."""
    low, high = (f"{end:,.0f}" for end in (min(sizes), max(sizes)))
    few, many = min(num_seeds), max(num_seeds)
    between = low if low == high else f"{low} to {high}"
    runs = f"{few} to {many} seeds" if few != many else "1 seed" if few == 1 else f"{few} seeds"
    text = f"{between} training images, {runs}{' per size' if len(sizes) > 1 else ''}"
    return text if num_test is None else f"{text}, {num_test:,.0f} test images"


def percent(share: float | Array) -> str:
    """Spell a share in percent: one decimal, or one digit where that says nothing."""
    value = float(share)
    if 0 < abs(value) < 1e-6:
        return "below 0.0001%"
    return f"{100 * value:.1g}%" if 0 < abs(value) < 0.001 else f"{value:.1%}"


def about(images: float) -> str:
    """Spell a number of images that was estimated: three digits count."""
    return f"{float(f'{images:.3g}'):,.0f}"


def measured(points: Points) -> str:
    """Say what lies behind some points."""
    num_test = None if points.num_test is None else points.num_test.max()
    return sample(points.sizes.tolist(), points.num_runs.astype(int).tolist(), num_test)


def law(analysis: Analysis, name: str = "error") -> str:
    """Say what the points determine: gain of a doubling, exponent, floor."""
    return " ".join(filter(None, (doubling(analysis, name), shape(analysis))))


def doubling(analysis: Analysis, name: str = "error") -> str:
    """Say what twice the data would buy, or why that is not known."""
    if analysis.posterior is None:
        return f"No law can be read from these points (not identifiable): {analysis.reason}."
    last = analysis.points.sizes[-1:]
    (gain,), (low,), (high,) = gains(analysis.posterior, last)
    return (
        f"Doubling the {last[0]:,.0f} training images would lower the {name} by "
        f"{percent(gain)[:-1]} points (90 % interval {percent(low)[:-1]} to {percent(high)[:-1]})."
    )


def shape(analysis: Analysis) -> str:
    """Say what is known of exponent and floor; nothing without a law."""
    if analysis.shape is None:
        return ""
    shape = analysis.shape
    exponent = shape.exponent[np.isfinite(shape.exponent)]
    c_low, c_high = interval(exponent)
    low, high = interval(shape.floor)
    text = (
        f"The exponent, at which the removable error falls in the end, is "
        f"{np.median(exponent):.2f} ({c_low:.2f} to {c_high:.2f}); "
    )
    if c_high > WIDE * c_low:
        text += "these points hardly determine it. "
    else:
        text += f"each doubling multiplies that part by {2 ** -np.median(exponent):.2f}. "
    text += "The floor, the error that no amount of data removes, "
    if not analysis.floor_is_known:
        return text + f"is not identifiable: anything from {percent(low)} to {percent(high)}."
    if low < NOTHING * analysis.points.means[-1]:
        return text + f"may be anything below {percent(high)}."
    return text + f"lies between {percent(low)} and {percent(high)}."


def backtest(analysis: Analysis) -> str:
    """Say how well the largest size was forecast from the smaller ones."""
    hidden = {1: "the largest size", 2: "the two largest sizes"}
    lines = [
        f"Without {hidden[test.hidden]}, the forecast for {test.n:,.0f} images was "
        f"{percent(test.point)} ({percent(test.lower)} to {percent(test.upper)}); measured: "
        f"{percent(test.measured)}, {'inside' if test.held else 'OUTSIDE'} the interval."
        for test in analysis.backtests
    ]
    return "\n".join(lines) or "No backtest: it takes four sizes."


def forecast_lines(found: list[Forecast]) -> str:
    """Spell forecasts, one line each, marking those that reach too far."""
    return "\n".join(
        f"{each.n:>12,.0f} images: {percent(each.error):>6}  "
        f"({percent(each.lower)} to {percent(each.upper)})"
        + ("" if each.reliable else f"  beyond {RELIABLE:.0f}x the largest size: unreliable")
        for each in found
    )


def target(analysis: Analysis, goal: float, name: str = "Error") -> str:
    """Say how many training images an error takes; ``name`` says which error."""
    return targets(analysis, [goal], name)[0]


def targets(analysis: Analysis, goals: Sequence[float], name: str = "Error") -> list[str]:
    """Say how many training images each of several errors takes."""
    if analysis.posterior is None:
        return [f"{name} {percent(goal)}: no answer without a law." for goal in goals]
    return [_need(analysis, need, name) for need in requirements(analysis.posterior, goals)]


def _need(analysis: Analysis, need: Requirement, name: str) -> str:
    assert analysis.shape is not None
    goal, largest = need.target, analysis.points.sizes[-1]
    met = analysis.points.sizes[analysis.points.means <= goal]
    if len(met):
        return f"{name} {percent(goal)}: already met, at {met[0]:,.0f} images."
    if goal < (floor := interval(analysis.shape.floor)[0]):
        return (
            f"{name} {percent(goal)}: not reachable at any size under this law (90 %): the floor "
            f"is above {percent(floor)}."
        )
    if not np.isfinite(need.estimate):
        return (
            f"{name} {percent(goal)}: beyond what these points can tell. It takes more than "
            f"{about(min(need.lower, FARTHEST * largest))} images (95 %); with probability "
            f"{1 - need.probability:.0%} even {about(FARTHEST * largest)} are not enough."
        )
    upper = about(need.upper) if np.isfinite(need.upper) else "more than can be told"
    between = f"90 % interval {about(need.lower)} to {upper}"
    text = f"{name} {percent(goal)}: {about(need.estimate)} images ({between})"
    if need.estimate > RELIABLE * largest:
        text += f", beyond {RELIABLE:.0f}x the largest size: unreliable"
    return text + "."


def outlook(analysis: Analysis, name: str = "error", at: Sequence[float] = ()) -> str:
    """Return backtest and forecasts as paragraphs."""
    ahead = forecast_lines(forecasts(analysis, at))
    title = f"Forecast {name} of a new run (90 % interval):"
    return f"{backtest(analysis)}\n\n{title}\n{ahead}"


def advice(candidates: list[Candidate], what: str) -> str:
    """Spell the next runs worth training, best per image first."""
    lines = [
        f"{each.n:>12,.0f} images, {'a new size' if each.new else 'another seed'}: "
        f"by {each.narrowing:.1%}"
        for each in candidates
    ]
    title = f"What one more run would narrow {what} by, best per image trained first:"
    return "\n".join([title, *lines])
