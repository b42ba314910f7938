"""Measured errors and how far each can be trusted. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls
from scipy.special import digamma, polygamma

from .laws import Array

MOST_SIZES = 32  # neighbours are averaged beyond: more points add time, not knowledge


class NotIdentifiableError(Exception):
    """Why the points do not determine a law."""


@dataclass(frozen=True)
class Points:
    """One error per run; arrays of shape (runs,)."""

    n: Array  # training images
    error: Array  # shares in [0, 1]
    num_test: Array | None = None  # test images behind each error, if known

    def __post_init__(self) -> None:
        if not (np.isfinite(self.n) & (self.n > 0) & np.isfinite(self.error)).all():
            raise ValueError("sizes are numbers above 0, errors finite")
        if self.num_test is None and (self.error <= 0).any():
            raise NotIdentifiableError("an error of 0 says little unless num_test is known")

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
        return self._per_size(self.error, np.size)

    @property
    def last_num_test(self) -> float | None:
        """Test images behind the errors of the largest size, if known."""
        return None if self.num_test is None else float(self.num_test[self.n.argmax()])

    @cached_property
    def seed_variance(self) -> Array:
        """Variance of the error between runs of one size, shape (sizes,); zero if none repeats.

        Pooled over sizes as v0 + v1 / n: few runs of each size say little alone, and the spread
        falls as the training set grows.
        """
        freedom = self.num_runs - 1
        if not freedom.any():
            return np.zeros(len(self.sizes))
        repeated = freedom > 0
        deviations = self.error - self.means[np.searchsorted(self.sizes, self.n)]
        found = self._per_size(deviations**2, np.sum)[repeated] / freedom[repeated]
        model = np.stack([np.ones(len(self.sizes)), self.sizes[0] / self.sizes], axis=1)
        weight = np.sqrt(freedom[repeated])
        if repeated.sum() < 3:
            model = model[:, :1]
        solution, _ = nnls(model[repeated] * weight[:, None], found * weight)
        variance: Array = model @ solution
        return variance

    @cached_property
    def sampling_variance(self) -> Array:
        """Variance of the error from the choice of test images, shape (sizes,).

        All runs share one test set, so that more seeds do not average it away.
        """
        if self.num_test is None:
            return np.zeros(len(self.sizes))
        count = self._per_size(self.num_test)
        share = (self.means * count + 0.5) / (count + 1)  # Jeffreys: no error is not certainty
        return share * (1 - share) / count

    def logs(self) -> tuple[Array, Array, Array]:
        """Return log sizes, mean log errors and their known variances, each of shape (sizes,).

        Where the number of test images is known, the errors are counts, and the log of the error
        rate has the moments of its Jeffreys posterior, Beta(k + 1/2, m - k + 1/2): no error at all
        is a wide point, not minus infinity.
        """
        if self.num_test is None:
            log_error, variance = np.log(self.error), np.zeros(len(self.n))
        else:
            wrong, right = self.error * self.num_test + 0.5, (1 - self.error) * self.num_test + 0.5
            log_error = digamma(wrong) - digamma(wrong + right)
            variance = polygamma(1, wrong) - polygamma(1, wrong + right)
        y, known = self._per_size(log_error), self._per_size(variance)
        known = known + self.seed_variance / self.num_runs / np.maximum(self.means, 1e-3) ** 2
        return _thinned(np.log(self.sizes), y, known)

    def without(self, largest: int) -> Points:
        """Hide the runs of the largest sizes."""
        return self.where(self.n < self.sizes[len(self.sizes) - largest])

    def where(self, kept: Array) -> Points:
        """Keep some runs; ``kept`` is boolean of shape (runs,)."""
        num_test = None if self.num_test is None else self.num_test[kept]
        return Points(self.n[kept], self.error[kept], num_test)

    def _per_size(self, values: Array, reduce: Callable[[Array], float] = np.mean) -> Array:
        return np.array([reduce(values[self.n == size]) for size in self.sizes], dtype=float)


def _thinned(x: Array, y: Array, variance: Array) -> tuple[Array, Array, Array]:
    """Average neighbours in ``MOST_SIZES`` equal steps of log size, where there are more."""
    if len(x) <= MOST_SIZES:
        return x, y, variance
    edges = np.linspace(x[0], x[-1], MOST_SIZES + 1)[1:-1]
    cell = np.searchsorted(edges, x, side="right")
    return tuple(  # type: ignore[return-value]
        np.array([values[cell == c].mean() for c in np.unique(cell)]) for values in (x, y, variance)
    )
