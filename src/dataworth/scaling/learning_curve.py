"""LearningCurve: a scikit-learn style estimator of error against training set size. Pure."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .fitting import fit
from .forecasting import (
    INTERVAL_LEVEL,
    RequiredImages,
    check_identifiable,
    interval,
    required_images,
)
from .laws import Array
from .points import Points
from .posterior import Posterior
from .priors import VAGUE_PRIOR


class NotFittedError(ValueError, AttributeError):
    """The learning curve is used before :meth:`LearningCurve.fit`."""


class LearningCurve:
    """Scaling law of a test error, fitted to measured errors at several training set sizes.

    Parameters
    ----------
    chance : float, default=1.0
        Chance level: the error of guessing, a share in (0, 1]. With 10 balanced classes, 0.9.
    num_test : float, default=None
        Test images behind each measured error. If given, test sampling noise is part of the fit
        and of the intervals, and measured errors may be 0.

    Attributes
    ----------
    exponent_ : float
        Median of the exponent at which the error above the floor falls, from a vague prior.
    floor_ : float
        Median of the irreducible error, a share, from the same prior.
    exponent_interval_, floor_interval_ : tuple of float
        Their 90 % intervals.

    Examples
    --------
    >>> curve = LearningCurve(chance=0.9, num_test=5000)
    >>> curve.fit([1000, 2000, 4000, 8000], [0.42, 0.35, 0.29, 0.24])
    LearningCurve(chance=0.9, num_test=5000)
    >>> curve.predict([16000]).shape
    (1,)
    """

    exponent_: float
    floor_: float
    exponent_interval_: tuple[float, float]
    floor_interval_: tuple[float, float]

    def __init__(self, chance: float = 1.0, num_test: float | None = None) -> None:
        self.chance = chance
        self.num_test = num_test

    def __repr__(self) -> str:
        return f"LearningCurve(chance={self.chance!r}, num_test={self.num_test!r})"

    def fit(self, n: ArrayLike, error: ArrayLike) -> Self:
        """Fit the scaling laws.

        Parameters
        ----------
        n : array-like of shape (runs,)
            Training images of each run, above 0; three or more distinct numbers.
        error : array-like of shape (runs,)
            Test error of each run, a share in [0, 1].

        Returns
        -------
        self : LearningCurve

        Raises
        ------
        ValueError
            If the arrays have different shapes or values outside their range, or a parameter is
            outside its range.
        NotIdentifiableError
            If there are fewer than three sizes, no error is clearly below the chance level, the
            error does not fall, or an error is 0 and ``num_test`` is None.
        """
        n, error = np.asarray(n, dtype=float), np.asarray(error, dtype=float)
        self._check(n, error)
        num_test = None if self.num_test is None else np.full(len(n), float(self.num_test))
        points = Points(n, error, num_test)
        check_identifiable(points, self.chance)
        vague = fit(points, self.chance, VAGUE_PRIOR)
        self._posterior = fit(points, self.chance)
        self._fitted_num_test = self.num_test
        exponent = vague.exponent[np.isfinite(vague.exponent)]
        for name, draws in (("exponent", exponent), ("floor", vague.floor)):
            lower, upper = interval(draws)
            setattr(self, f"{name}_", float(np.median(draws)))
            setattr(self, f"{name}_interval_", (float(lower), float(upper)))
        return self

    def predict(self, n: ArrayLike) -> Array:
        """Predict the error at each number of training images.

        Parameters
        ----------
        n : array-like of shape (m,)
            Training images, above 0.

        Returns
        -------
        ndarray of shape (m,)
            Posterior median of the law, a share.

        Raises
        ------
        NotFittedError
            If :meth:`fit` was not called.
        ValueError
            If a number is not finite and above 0.
        """
        posterior = self._check_fitted()
        median: Array = np.median(posterior.law_error(_sizes(n)), axis=0)
        return median

    def predict_interval(self, n: ArrayLike, level: float = INTERVAL_LEVEL) -> tuple[Array, Array]:
        """Predict an interval that contains the measured error of one new run.

        Parameters
        ----------
        n : array-like of shape (m,)
            Training images, above 0.
        level : float, default=0.9
            Nominal coverage, in (0, 1).

        Returns
        -------
        lower, upper : ndarray of shape (m,)
            Shares.

        Raises
        ------
        NotFittedError
            If :meth:`fit` was not called.
        ValueError
            If a number is not finite and above 0, or ``level`` not in (0, 1).
        """
        posterior = self._check_fitted()
        _check_level(level)
        return interval(posterior.run_error(_sizes(n), self._fitted_num_test), level)

    def required_n(self, error: float, level: float = INTERVAL_LEVEL) -> RequiredImages:
        """Estimate how many training images an error takes.

        Parameters
        ----------
        error : float
            Target error, a share in (0, 1).
        level : float, default=0.9
            Nominal coverage of the interval, in (0, 1).

        Returns
        -------
        RequiredImages
            With ``estimate``, ``lower`` and ``upper`` in training images, infinite where 1,024
            times the largest size are not enough, and the ``probability`` that they are.

        Raises
        ------
        NotFittedError
            If :meth:`fit` was not called.
        ValueError
            If ``error`` or ``level`` is not in (0, 1).
        """
        posterior = self._check_fitted()
        _check_level(level)
        if not 0 < error < 1:
            raise ValueError(f"error must be a share between 0 and 1, got {error!r}")
        return required_images(posterior, float(error), level)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` has no effect and is there for scikit-learn."""
        return {"chance": self.chance, "num_test": self.num_test}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name; call :meth:`fit` again for them to take effect.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ValueError(f"LearningCurve has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def _check(self, n: Array, error: Array) -> None:
        if n.ndim != 1 or n.shape != error.shape:
            raise ValueError(
                f"n and error must be one-dimensional and of one length, got shapes {n.shape} "
                f"and {error.shape}"
            )
        if not ((error >= 0) & (error <= 1)).all():
            raise ValueError("every error must be a share between 0 and 1")
        if not 0 < self.chance <= 1:
            raise ValueError(f"chance must be a share above 0 and up to 1, got {self.chance!r}")
        if self.num_test is not None and not 0 < self.num_test < np.inf:
            raise ValueError(f"num_test must be a number above 0, got {self.num_test!r}")

    def _check_fitted(self) -> Posterior:
        posterior: Posterior | None = getattr(self, "_posterior", None)
        if posterior is None:
            raise NotFittedError("this LearningCurve is not fitted yet: call fit(n, error) first")
        return posterior


def _sizes(n: ArrayLike) -> Array:
    sizes = np.asarray(n, dtype=float)
    if sizes.ndim != 1 or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError("n must be a one-dimensional array of finite numbers above 0")
    return sizes


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}")
