"""Posterior -> error at n, images for a target, and how well such forecasts did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .fitting import fit
from .laws import Array
from .points import NotIdentifiableError, Points
from .posterior import Posterior

LEVEL = 0.9  # of every interval, unless told otherwise
RELIABLE = 4.0  # times the largest size; forecasts beyond are marked
FARTHEST = 1024.0  # times the largest size: where the search for a target ends
PER_DOUBLING = 16  # grid points of that search


def forecast(
    sizes: Array,
    errors: Array,
    at: Array,
    chance_error: float,
    level: float,
    n_test: float | None = None,
) -> tuple[Array, Array, Array]:
    """Forecast the error of one new run at each size in ``at``.

    Parameters
    ----------
    sizes, errors : ndarray of shape (runs,)
        Training images and test errors (shares); sizes may repeat.
    at : ndarray of shape (m,)
    chance_error : float
        Error of guessing, a share.
    level : float
        Nominal coverage of the interval, in (0, 1).
    n_test : float, optional
        Test images behind each error, and behind the new run's.

    Returns
    -------
    point, lower, upper : ndarray of shape (m,)
        Median of the law, and the prediction interval of a new run.

    Raises
    ------
    NotIdentifiableError
        If there are fewer than three distinct sizes, or an error is 0 and ``n_test`` unknown.
    """
    sizes, errors = np.asarray(sizes, dtype=float), np.asarray(errors, dtype=float)
    num_test = None if n_test is None else np.full(len(sizes), float(n_test))
    posterior = fit(Points(sizes, errors, num_test), chance_error)
    law = posterior.error(at)
    lower, upper = interval(posterior.run(at, n_test, law=law), level)
    return np.median(law, axis=0), lower, upper


def interval(draws: Array, level: float = LEVEL) -> tuple[Array, Array]:
    """Return the central interval of draws along the first axis."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def run_interval(
    posterior: Posterior, n: Array, num_test: float | None, seeds: float = 1
) -> tuple[Array, Array]:
    """Return where the mean error of new runs will lie; below half a test image is none."""
    lower, upper = interval(posterior.run(n, num_test, seeds))
    return np.where(lower * (num_test or np.inf) < 0.5, 0.0, lower), upper


@dataclass(frozen=True)
class Requirement:
    """Training images for a target error."""

    target: float  # the error, a share
    estimate: float  # median; infinite if it is not reached within FARTHEST
    lower: float
    upper: float
    probability: float  # that it is reached within FARTHEST


def required_images(posterior: Posterior, target: float, level: float = LEVEL) -> Requirement:
    """Find how many training images the mean error of many runs needs to fall to ``target``."""
    return requirements(posterior, [target], level)[0]


def requirements(
    posterior: Posterior, targets: Sequence[float], level: float = LEVEL
) -> list[Requirement]:
    """Find the same for several targets, which costs little more than one."""
    n, expected = _ahead(posterior)
    return [
        _requirement(posterior, target, _first(n, expected, target), level) for target in targets
    ]


def _requirement(posterior: Posterior, target: float, first: Array, level: float) -> Requirement:
    first = np.where(first < FARTHEST * posterior.anchor, first, np.inf)
    edges = [0.5, (1 - level) / 2, (1 + level) / 2]
    estimate, lower, upper = (
        float(value) for value in np.quantile(first, edges, method="inverted_cdf")
    )
    return Requirement(target, estimate, lower, upper, float(np.isfinite(first).mean()))


def reaching_sizes(posterior: Posterior, target: float) -> Array:
    """Return the least number of images with ``target`` error, (draws,), FARTHEST at most."""
    return _first(*_ahead(posterior), target)


def _ahead(posterior: Posterior) -> tuple[Array, Array]:
    """Return numbers of images up to FARTHEST, and the mean error of many runs at each."""
    steps = np.arange(-20 * PER_DOUBLING, int(np.log2(FARTHEST)) * PER_DOUBLING + 1)
    n = posterior.anchor * 2.0 ** (steps / PER_DOUBLING)
    return n, posterior.expected(n)


def _first(n: Array, expected: Array, target: float) -> Array:
    met = expected <= target
    return np.asarray(np.where(met.any(axis=1), n[met.argmax(axis=1)], n[-1]))


def gains(posterior: Posterior, sizes: Array) -> tuple[Array, Array, Array]:
    """Return the error lost by doubling each size: median and interval, shares, (sizes,) each."""
    lost = posterior.expected(sizes) - posterior.expected(2 * np.asarray(sizes))
    lower, upper = interval(lost)
    return np.median(lost, axis=0), lower, upper


def data_multiplier(weaker: Posterior, stronger: Posterior, n: float) -> tuple[float, float, float]:
    """Find how many times the data the weaker model needs to match the stronger one at ``n``.

    Returns
    -------
    median, lower, upper : float
        Infinite where FARTHEST times ``n`` are not enough.
    """
    goal = stronger.expected(np.array([n]))[:, 0]
    most = int(np.log2(FARTHEST)) * PER_DOUBLING
    sizes = n * 2.0 ** (np.arange(-most, most + 1) / PER_DOUBLING)
    met = weaker.expected(sizes) <= goal[np.random.default_rng(0).permutation(len(goal)), None]
    times = np.where(met.any(axis=1), sizes[met.argmax(axis=1)] / n, np.inf)
    edges = [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]
    median, lower, upper = np.quantile(times, edges, method="inverted_cdf")
    return float(median), float(lower), float(upper)


@dataclass(frozen=True)
class Backtest:
    """A forecast of what was already known."""

    hidden: int  # how many of the largest sizes were hidden
    n: float  # the size that was forecast: the largest
    measured: float  # its mean error
    point: float
    lower: float
    upper: float

    @property
    def held(self) -> bool:
        """Whether the interval contains what was measured."""
        return self.lower <= self.measured <= self.upper


def backtests(points: Points, chance: float) -> tuple[Backtest, ...]:
    """Hide the largest size, and the two largest, and forecast the mean error at the largest.

    A size is hidden only if three are left. The interval is of a mean of as many runs as were
    measured.
    """
    found = []
    for hidden in (1, 2):
        if len(points.sizes) - hidden >= 3:
            posterior = fit(points.without(hidden), chance)
            at, seeds = points.sizes[-1:], float(points.num_runs[-1])
            (low,), (high,) = run_interval(posterior, at, points.last_num_test, seeds)
            point = float(np.median(posterior.error(at)))
            measured = float(points.means[-1])
            found.append(Backtest(hidden, float(at[0]), measured, point, float(low), float(high)))
    return tuple(found)


def check_identifiable(points: Points, chance: float) -> None:
    """Refuse points that no falling law can be read from.

    Raises
    ------
    NotIdentifiableError
        If fewer than three sizes were measured, no error is clearly below chance, or the error
        does not fall from the smallest to the largest size.
    """
    if len(points.sizes) < 3:
        raise NotIdentifiableError(f"{len(points.sizes)} sizes were measured and 3 are needed")
    variance = points.sampling_variance + points.seed_variance / points.num_runs
    doubt = 2 * np.sqrt(np.maximum(variance, (0.01 * points.means) ** 2))
    if (points.means + doubt >= chance).all():
        raise NotIdentifiableError(f"no error is clearly below that of guessing, {chance:.1%}")
    if points.means[-1] >= points.means[0]:
        raise NotIdentifiableError(
            f"the error rises from {points.means[0]:.1%} at {points.sizes[0]:,.0f} images to "
            f"{points.means[-1]:.1%} at {points.sizes[-1]:,.0f}"
        )
