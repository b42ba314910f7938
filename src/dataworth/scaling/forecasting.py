"""Forecasts from a posterior: error at a size, images for a target error, backtests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .fitting import MIN_SIZES, fit, too_few_sizes
from .laws import Array
from .points import NotIdentifiableError, Points
from .posterior import Posterior
from .starts import Start

INTERVAL_LEVEL = 0.9  # nominal coverage of every interval, by default
RELIABLE_FACTOR = 4.0  # times the largest size; forecasts beyond it are marked as unreliable
MAX_FACTOR = 1024.0  # times the largest size; the search for a target error ends there
STEPS_PER_DOUBLING = 16  # grid points of that search


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
        Training images of the new runs.
    chance_error : float
        Chance level: error of guessing, a share.
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
    law_error = posterior.law_error(at)
    lower, upper = interval(posterior.run_error(at, n_test, law_error=law_error), level)
    return np.median(law_error, axis=0), lower, upper


def interval(draws: Array, level: float = INTERVAL_LEVEL) -> tuple[Array, Array]:
    """Return the central interval of draws along the first axis."""
    lower, upper = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return lower, upper


def run_interval(
    posterior: Posterior,
    n: Array,
    num_test: float | None,
    seeds: float = 1,
    level: float = INTERVAL_LEVEL,
) -> tuple[Array, Array]:
    """Return the prediction interval of the mean error of new runs.

    A lower limit below half a test image is 0.

    Parameters
    ----------
    posterior : Posterior
    n : ndarray of shape (m,)
        Training images.
    num_test : float or None
        Test images, if known.
    seeds : float
        Runs that are averaged.
    level : float
        Nominal coverage of the interval, in (0, 1).

    Returns
    -------
    lower, upper : ndarray of shape (m,)
    """
    lower, upper = interval(posterior.run_error(n, num_test, seeds), level)
    return np.where(lower * (num_test or np.inf) < 0.5, 0.0, lower), upper


@dataclass(frozen=True)
class RequiredImages:
    """Training images at which new runs measure a target error.

    At each of the three sizes, and at none smaller, :func:`reach_probability` is at least the
    probability of that quantile.
    """

    target: float  # the error, a share
    estimate: float  # probability 0.5; infinite if that is not reached within MAX_FACTOR
    lower: float
    upper: float
    probability: float  # the highest of any size within MAX_FACTOR


def reach_probability(
    posterior: Posterior,
    n: Array,
    target: Array | float,
    num_test: float | None = None,
    seeds: float = 1,
) -> Array:
    """Return the probability that new runs measure a mean error of at most ``target``.

    Parameters
    ----------
    posterior : Posterior
    n : ndarray of shape (m,)
        Training images.
    target : float or ndarray of shape (m,)
        Errors, shares.
    num_test : float, optional
        Test images, if known.
    seeds : float
        Runs that are averaged; infinite: the probability that the expected error is so low.

    Returns
    -------
    ndarray of shape (m,)
    """
    share: Array = (posterior.run_error(n, num_test, seeds) <= target).mean(axis=0)
    return share


def required_images(
    posterior: Posterior,
    target: float,
    level: float = INTERVAL_LEVEL,
    num_test: float | None = None,
    seeds: float = 1,
) -> RequiredImages:
    """Estimate how many training images new runs need to measure ``target`` or less.

    Parameters
    ----------
    posterior : Posterior
    target : float
        An error, a share.
    level : float
        Nominal coverage of the interval, in (0, 1).
    num_test, seeds : float
        As in :func:`reach_probability`, which this inverts.
    """
    return required_images_each(posterior, [target], level, num_test, seeds)[0]


def required_images_each(
    posterior: Posterior,
    targets: Sequence[float],
    level: float = INTERVAL_LEVEL,
    num_test: float | None = None,
    seeds: float = 1,
) -> list[RequiredImages]:
    """Estimate :func:`required_images` for several targets at the cost of one.

    Parameters
    ----------
    posterior : Posterior
    targets : sequence of float
        Errors, shares.
    level : float
        Nominal coverage of the intervals, in (0, 1).
    num_test, seeds : float
        As in :func:`reach_probability`.
    """
    n = _search_sizes(posterior)
    error = posterior.run_error(n, num_test, seeds)
    rows = []
    for target in targets:
        probability = (error <= target).mean(axis=0)
        estimate, lower, upper = (
            float(n[reached.argmax()]) if (reached := probability >= share).any() else np.inf
            for share in (0.5, (1 - level) / 2, (1 + level) / 2)
        )
        rows.append(RequiredImages(target, estimate, lower, upper, float(probability.max())))
    return rows


def required_size_draws(posterior: Posterior, target: float) -> Array:
    """Return the smallest size whose expected error is ``target``, capped at MAX_FACTOR times."""
    n = _search_sizes(posterior)
    reached = posterior.expected_error(n) <= target
    return np.asarray(np.where(reached.any(axis=1), n[reached.argmax(axis=1)], n[-1]))


def _search_sizes(posterior: Posterior) -> Array:
    """Return numbers of images from about a millionth to MAX_FACTOR times the largest size."""
    steps = np.arange(-20 * STEPS_PER_DOUBLING, int(np.log2(MAX_FACTOR)) * STEPS_PER_DOUBLING + 1)
    n: Array = posterior.largest_size * 2.0 ** (steps / STEPS_PER_DOUBLING)
    return n


def doubling_gains(posterior: Posterior, sizes: Array) -> tuple[Array, Array, Array]:
    """Estimate the drop in error from doubling each size.

    Returns
    -------
    median, lower, upper : ndarray of shape (sizes,)
        Shares.
    """
    drop = posterior.expected_error(sizes) - posterior.expected_error(2 * np.asarray(sizes))
    lower, upper = interval(drop)
    return np.median(drop, axis=0), lower, upper


@dataclass(frozen=True)
class Backtest:
    """A forecast of the measured error at the largest size, made from smaller sizes only."""

    hidden: int  # how many of the largest sizes were left out of the fit
    n: float  # training images of the forecast: the largest size
    measured: float  # mean error there
    point: float  # forecast
    lower: float
    upper: float

    @property
    def covered(self) -> bool:
        """Whether the interval contains the measured error."""
        return self.lower <= self.measured <= self.upper


def backtest(points: Points, chance: float, start: Start = "unknown") -> tuple[Backtest, ...]:
    """Forecast the mean error at the largest size without the largest, and the two largest, sizes.

    A forecast is made only from three or more sizes. The interval is for a mean of as many runs
    as were measured at the largest size.

    Parameters
    ----------
    points : Points
    chance : float
        Chance level: error of guessing, a share.
    start : {"unknown", "scratch", "pretrained", "tabular"}
        What the classifier starts from.
    """
    tests = []
    for hidden in (1, 2):
        if len(points.sizes) - hidden >= MIN_SIZES:
            posterior = fit(points.without_largest(hidden), chance, start=start)
            at, seeds = points.sizes[-1:], float(points.num_runs[-1])
            (lower,), (upper,) = run_interval(posterior, at, points.last_num_test, seeds)
            point = float(np.median(posterior.law_error(at)))
            measured = float(points.means[-1])
            tests.append(
                Backtest(hidden, float(at[0]), measured, point, float(lower), float(upper))
            )
    return tuple(tests)


def check_identifiable(points: Points, chance: float) -> None:
    """Check that a decreasing law can be fitted to the points.

    Raises
    ------
    NotIdentifiableError
        If fewer than three sizes were measured, no error is clearly below the chance level, or the
        error does not fall from the smallest to the largest size.
    """
    if len(points.sizes) < MIN_SIZES:
        raise NotIdentifiableError(too_few_sizes(len(points.sizes)))
    variance = points.sampling_variance + points.seed_variance / points.num_runs
    margin = 2 * np.sqrt(np.maximum(variance, (0.01 * points.means) ** 2))
    if (points.means + margin >= chance).all():
        raise NotIdentifiableError(
            f"no error is clearly below the chance level, {100 * chance:.1f} %"
        )
    first, last = points.means[0], points.means[-1]
    if last >= first:
        start, end = (
            f"{error:.3g}" if points.unbounded else f"{100 * error:.1f} %"
            for error in (first, last)
        )
        if start == end:
            raise NotIdentifiableError(
                f"the error is {start} both at {points.sizes[0]:,.0f} images and at "
                f"{points.sizes[-1]:,.0f}"
            )
        raise NotIdentifiableError(
            f"the error rises from {start} at {points.sizes[0]:,.0f} images to "
            f"{end} at {points.sizes[-1]:,.0f}"
        )
