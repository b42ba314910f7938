"""Measured points of a learning curve, with seed variance and test sampling noise. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, polygamma

from .laws import Array

MAX_SIZES = 32  # more are averaged with their neighbours: they cost time and add no information


class NotIdentifiableError(Exception):
    """The points do not determine a law; the message says why."""


@dataclass(frozen=True)
class Points:
    """One measured error per run; arrays of shape (runs,).

    Raises
    ------
    ValueError
        If a size is not above 0, or a size or an error is not finite.
    NotIdentifiableError
        If an error is 0 and ``num_test`` is not given.
    """

    n: Array  # training images
    error: Array  # test errors, shares in [0, 1]
    num_test: Array | None = None  # test images behind each error, if known
    unbounded: bool = False  # errors of any unit, such as a loss, instead of shares

    def __post_init__(self) -> None:
        if not (np.isfinite(self.n) & (self.n > 0) & np.isfinite(self.error)).all():
            raise ValueError("sizes must be finite numbers above 0, and errors finite")
        if self.num_test is None and (self.error <= 0).any():
            raise NotIdentifiableError(
                "an error of 0 can be used only where num_test, the number of test images, is given"
            )

    @cached_property
    def sizes(self) -> Array:
        """Distinct numbers of training images, ascending."""
        return np.unique(self.n)

    @cached_property
    def means(self) -> Array:
        """Mean error of each size, shape (sizes,)."""
        return self._per_size(self.error)

    @cached_property
    def num_runs(self) -> Array:
        """Runs of each size, shape (sizes,)."""
        return self._counts.astype(float)

    @property
    def last_num_test(self) -> float | None:
        """Test images behind the errors of the largest size, if known."""
        return None if self.num_test is None else float(self._per_size(self.num_test)[-1])

    @cached_property
    def seed_variance(self) -> Array:
        """Variance of the error between runs of one size, shape (sizes,); 0 if no size is repeated.

        Pooled over the sizes, because the variance of a few runs is noisy.
        """
        deviations = self.error - self.means[np.searchsorted(self.sizes, self.n)]
        squares = self._per_size(deviations**2, total=True)
        means = None if self.unbounded else self.means
        return pooled_seed_variance(self.sizes, squares, self.num_runs - 1, means)

    @cached_property
    def sampling_variance(self) -> Array:
        """Variance of the error from the finite number of test images, shape (sizes,).

        All runs share one test set, so averaging over seeds does not reduce it.
        """
        if self.num_test is None:
            return np.zeros(len(self.sizes))
        count = self._per_size(self.num_test)
        share = (self.means * count + 0.5) / (count + 1)  # Jeffreys prior: above 0 at zero errors
        return share * (1 - share) / count

    def log_errors(self) -> tuple[Array, Array, Array, Array]:
        """Return log sizes, mean log errors, their variances, and the sizes behind each point.

        All have the shape (sizes,). More than ``MAX_SIZES`` are averaged in as many equal bins of
        log size: the noise of test images stays, that of runs falls with the sizes averaged.
        """
        log_error, sampling = log_rates(self.error, self.num_test)
        log_n, seeds = np.log(self.sizes), self.relative_seed_variance / self.num_runs
        bins = np.arange(len(log_n))
        if len(log_n) > MAX_SIZES:
            edges = np.linspace(log_n[0], log_n[-1], MAX_SIZES + 1)[1:-1]
            bins = np.unique(np.searchsorted(edges, log_n, side="right"), return_inverse=True)[1]
        count = np.bincount(bins).astype(float)
        columns = (log_n, self._per_size(log_error), self._per_size(sampling), seeds)
        x, y, variance, seeds = (np.bincount(bins, values) / count for values in columns)
        return x, y, variance + seeds / count, count

    @property
    def of_means(self) -> Points:
        """The mean of each size as if it was a single run."""
        num_test = None if self.num_test is None else self._per_size(self.num_test)
        return Points(self.sizes, self.means, num_test, self.unbounded)

    def without_largest(self, num_sizes: int) -> Points:
        """Return the points without the runs of the ``num_sizes`` largest sizes."""
        kept = self.n < self.sizes[len(self.sizes) - num_sizes]
        num_test = None if self.num_test is None else self.num_test[kept]
        return Points(self.n[kept], self.error[kept], num_test, self.unbounded)

    @property
    def relative_seed_variance(self) -> Array:
        """Variance of the log error between runs of one size, shape (sizes,)."""
        return self.seed_variance / self.scale**2

    @property
    def spread_sizes(self) -> Array:
        """The sizes, or ``MAX_SIZES`` of them spread evenly over their logarithms if more."""
        if len(self.sizes) <= MAX_SIZES:
            return self.sizes
        ladder = np.geomspace(self.sizes[0], self.sizes[-1], MAX_SIZES)
        nearest = np.searchsorted(self.sizes, ladder).clip(0, len(self.sizes) - 1)
        nearest[-1] = len(self.sizes) - 1
        spread: Array = self.sizes[np.unique(nearest)]
        return spread

    @property
    def scale(self) -> Array:
        """Mean errors to divide by, shape (sizes,): see :func:`above_zero`."""
        if self.unbounded or self.num_test is None:
            return self.means
        return above_zero(self.means, self._per_size(self.num_test))

    @cached_property
    def _counts(self) -> NDArray[np.intp]:
        counts: NDArray[np.intp] = np.unique(self.n, return_counts=True)[1]
        return counts

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """Indices that sort the runs by size, and within a size as they came."""
        return np.argsort(self.n, kind="stable")

    def _per_size(self, values: Array, total: bool = False) -> Array:
        """Mean, or sum, of the values of each size: sizes with equally many runs at once."""
        values, out = values[self._order], np.empty(len(self.sizes))
        starts = np.cumsum(self._counts) - self._counts
        for count in np.unique(self._counts).tolist():
            chosen = self._counts == count
            rows = values[starts[chosen][:, None] + np.arange(count)]
            out[chosen] = rows.sum(axis=1) if total else rows.mean(axis=1)
        return out


def log_rates(error: Array, num_test: Array | None) -> tuple[Array, Array]:
    """Return the mean and the variance of the log of each error rate, of the shape of ``error``.

    Where the number of test images is known, the errors are counts, and the log of the error rate
    has the mean and variance of its Jeffreys posterior, Beta(k + 1/2, m - k + 1/2): zero errors
    give a finite value with a large variance.
    """
    if num_test is None:
        return np.log(error), np.zeros(len(error))
    wrong, right = error * num_test + 0.5, (1 - error) * num_test + 0.5
    return digamma(wrong) - digamma(wrong + right), polygamma(1, wrong) - polygamma(
        1, wrong + right
    )


def above_zero(means: Array, num_test: Array) -> Array:
    """Return shares of at least half a wrong image of ``num_test``, or 0.001 if that is less."""
    shares: Array = np.maximum(means, np.minimum(1e-3, 0.5 / num_test))
    return shares


def pooled_seed_variance(
    sizes: Array, squares: Array, freedom: Array, means: Array | None = None
) -> Array:
    """Return the variance of the error between runs, pooled as m (1 - m) (v0 + v1 / n).

    It falls as the training set grows, and with the mean error m: runs that hardly err can hardly
    differ.

    Parameters
    ----------
    sizes, squares, freedom : ndarray of shape (groups,)
        Training images, sum of squared deviations from the mean, and runs less one, of each group
        of runs alike; sizes ascending.
    means : ndarray of shape (groups,), or None
        Mean errors; None for unbounded ones, which are pooled as v0 + v1 / n.

    Returns
    -------
    ndarray of shape (groups,)
        0 if no group has two runs.
    """
    if not freedom.any():
        return np.zeros(len(sizes))
    from scipy.optimize import nnls  # takes half of the time of importing LearningCurve

    repeated = freedom > 0
    shares = np.ones(len(sizes)) if means is None else means * (1 - means)
    shares = np.maximum(shares, min(1e-3, shares.max() / 100 or 1e-3))  # some may be 0
    variances = squares[repeated] / shares[repeated] / freedom[repeated]
    model = np.stack([np.ones(len(sizes)), sizes[0] / sizes], axis=1)
    weight = np.sqrt(freedom[repeated])
    if repeated.sum() < 3:
        model = model[:, :1]
    coefficients, _ = nnls(model[repeated] * weight[:, None], variances * weight)
    pooled: Array = shares * (model @ coefficients)
    return pooled
