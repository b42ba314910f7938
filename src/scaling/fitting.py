"""Fitting a law to measured errors. Pure: points in, law out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2

from .laws import LAWS, Array, Law

DRAWS = 200  # of the bootstrap
START = (0.3, 0.0)  # exponent, floor: the middle of what is published for image classifiers


class NotIdentifiableError(Exception):
    """Why the points do not determine a law."""


@dataclass(frozen=True)
class Points:
    """Measured errors, one per run; all arrays of shape (runs,)."""

    n: Array  # training images
    error: Array  # shares in (0, 1)
    num_test: int  # images behind each error

    def means(self) -> tuple[Array, Array, Array]:
        """Return sizes, mean errors and their standard deviations, each of shape (sizes,).

        All runs share one test set, so that more seeds average their own spread away (pooled over
        sizes) but not the sampling of the test images.
        """
        sizes = np.unique(self.n)
        groups = [self.error[self.n == size] for size in sizes]
        mean = np.array([group.mean() for group in groups])
        freedom = sum(len(group) - 1 for group in groups)
        squares = sum(((group - group.mean()) ** 2).sum() for group in groups)
        seeds = (squares / freedom if freedom else 0.0) / np.array([len(g) for g in groups])
        sampling = np.maximum(mean * (1 - mean) / self.num_test, 0.25 / self.num_test**2)
        return sizes, mean, np.sqrt(sampling + seeds)


@dataclass(frozen=True)
class Fit:
    """One curve of a family, with the 90 % bootstrap interval of each parameter."""

    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    misfit: float  # p of the chi-square test: small if the points do not follow the law
    draws: tuple[tuple[float, ...], ...]  # refitted parameters, one tuple per bootstrap draw

    def __call__(self, n: Array) -> Array:
        """Return the fitted error, a share, at each number of training images."""
        return self.law.formula(np.asarray(n, dtype=float), *self.values)

    def band(self, n: Array, level: float = 0.9) -> tuple[Array, Array]:
        """Return the pointwise interval of the curve, each of the shape of ``n``."""
        curves = np.array([self.law.formula(np.asarray(n, float), *draw) for draw in self.draws])
        low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


def fit(name: str, points: Points, seed: int = 0) -> Fit:
    """Fit a law by weighted least squares; refit simulated points for the intervals.

    Parameters
    ----------
    name : str
        A key of :data:`LAWS`.
    points : Points
    seed : int
        Of the parametric bootstrap.

    Raises
    ------
    NotIdentifiableError
        If there are fewer distinct sizes than parameters, or fewer than three.
    """
    law, (n, error, deviation) = LAWS[name], points.means()
    if len(n) < (needed := max(3, len(law.parameters))):
        raise NotIdentifiableError(f"{name}: {len(n)} sizes were measured and {needed} are needed")
    values = _solve(law, n, error, deviation)
    rng, middle = np.random.default_rng(seed), law.formula(n, *values)
    noise = rng.normal(0, deviation, (DRAWS, len(n)))
    draws = [_solve(law, n, middle + each, deviation) for each in noise]
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    intervals = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    squares = (((error - middle) / deviation) ** 2).sum()
    misfit = float(chi2.sf(squares, max(1, len(n) - len(values))))
    return Fit(law, values, intervals, misfit, tuple(draws))


def _solve(law: Law, n: Array, error: Array, deviation: Array) -> tuple[float, ...]:
    """Least squares in (log scale at the middle size, exponent, floor)."""
    middle = float(np.exp(np.log(n).mean()))

    def misfit(free: Array) -> Array:
        return (law.formula(n / middle, np.exp(free[0]), *free[1:]) - error) / deviation

    count = len(law.parameters)
    solution = least_squares(
        misfit,
        [np.log(np.clip(error.mean(), 1e-9, 1)), *START[: count - 1]],
        bounds=([-np.inf, *law.lower[1:]], [np.inf, *law.upper[1:]]),
    ).x
    scale = float(np.exp(solution[0] + solution[1] * np.log(middle)))
    return scale, *(float(value) for value in solution[1:])
