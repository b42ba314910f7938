"""Measured cells of a grid of training images and training steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .laws import Array
from .points import NotIdentifiableError, above_zero, log_rates, pooled_seed_variance

MAX_CELLS = 128  # a covariance matrix has a row for each


@dataclass(frozen=True)
class Grid:
    """One measured error per finished run; arrays of shape (runs,).

    A cell is all runs with the same number of images and of steps. A run counts at its last step:
    earlier epochs of a learning rate schedule that ends later are no cells.

    Raises
    ------
    ValueError
        If a number of images or steps is not above 0, or an error is not finite.
    NotIdentifiableError
        If an error is 0 and ``num_test`` is not given, or there are more than MAX_CELLS cells.
    """

    n: Array  # training images
    steps: Array  # optimiser steps, or another measure of training that grows with them
    error: Array  # test errors, shares in [0, 1]
    num_test: Array | None = None  # test images behind each error, if known
    images_per_step: float = 1.0  # batch size

    def __post_init__(self) -> None:
        for values in (self.n, self.steps):
            if not (np.isfinite(values) & (values > 0)).all():
                raise ValueError("images and steps must be finite numbers above 0")
        if not np.isfinite(self.error).all():
            raise ValueError("errors must be finite")
        if self.num_test is None and (self.error <= 0).any():
            raise NotIdentifiableError(
                "an error of 0 can be used only where num_test, the number of test images, is given"
            )
        if len(self.cells) > MAX_CELLS:
            raise NotIdentifiableError(f"{len(self.cells)} cells; at most {MAX_CELLS}")

    @cached_property
    def cells(self) -> Array:
        """Distinct pairs of images and steps, ascending, shape (cells, 2)."""
        return np.unique(np.stack([self.n, self.steps], axis=1), axis=0)

    @property
    def largest(self) -> tuple[float, float]:
        """Images and steps of the largest cell: the most images, and of these the most steps."""
        n, steps = self.cells[-1].tolist()
        return n, steps

    @cached_property
    def means(self) -> Array:
        """Mean error of each cell, shape (cells,)."""
        return self._per_cell(self.error)

    @cached_property
    def num_runs(self) -> Array:
        """Runs of each cell, shape (cells,)."""
        return np.bincount(self._index).astype(float)

    @cached_property
    def seed_variance(self) -> Array:
        """Variance of the error between runs of one cell, shape (cells,); pooled over the cells."""
        deviations = self.error - self.means[self._index]
        squares: Array = np.bincount(self._index, deviations**2).astype(float)
        return pooled_seed_variance(self.cells[:, 0], squares, self.num_runs - 1, self.means)

    @property
    def relative_seed_variance(self) -> float:
        """Variance of the log error between runs of the largest cell."""
        return float(self.seed_variance[-1] / self._scale[-1] ** 2)

    @property
    def last_num_test(self) -> float | None:
        """Test images behind the errors of the largest cell, if known."""
        if self.num_test is None:
            return None
        return float(self._per_cell(self.num_test)[-1])

    def log_errors(self) -> tuple[Array, Array]:
        """Return mean log errors and their variances, each of shape (cells,)."""
        log_error, sampling = log_rates(self.error, self.num_test)
        variance = self._per_cell(sampling) + self.seed_variance / self.num_runs / self._scale**2
        return self._per_cell(log_error), variance

    def select(self, kept: NDArray[np.bool_]) -> Grid:
        """Return the grid of some runs, ``kept`` of shape (runs,)."""
        num_test = None if self.num_test is None else self.num_test[kept]
        return Grid(
            self.n[kept], self.steps[kept], self.error[kept], num_test, self.images_per_step
        )

    @property
    def _scale(self) -> Array:
        """Mean errors to divide by, shape (cells,)."""
        if self.num_test is None:
            return self.means
        return above_zero(self.means, self._per_cell(self.num_test))

    @cached_property
    def _index(self) -> NDArray[np.intp]:
        """Cell of each run."""
        pairs = np.stack([self.n, self.steps], axis=1)
        return np.unique(pairs, axis=0, return_inverse=True)[1].ravel()

    def _per_cell(self, values: Array) -> Array:
        return np.bincount(self._index, values) / self.num_runs
