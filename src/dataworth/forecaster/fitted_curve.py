"""What a fitted learning curve answers: errors, intervals, probabilities, required sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..scaling.analysis import Analysis
from ..scaling.forecasting import (
    INTERVAL_LEVEL,
    Backtest,
    RequiredImages,
    interval,
    reach_probability,
    required_images,
    run_interval,
)
from ..scaling.laws import Array
from ..scaling.posterior import Posterior
from ..scaling.purchases import Purchase, plan_purchase

if TYPE_CHECKING:  # neither fit nor predict imports matplotlib
    from matplotlib.axes import Axes


class NotFittedError(ValueError, AttributeError):
    """The learning curve is used before :meth:`LearningCurve.fit`."""


class FittedCurve:
    """Answers of :class:`LearningCurve` after :meth:`LearningCurve.fit`.

    All methods and attributes raise NotFittedError if ``fit`` was not called, or failed.

    Attributes
    ----------
    analysis_ : Analysis
        Points, posteriors and backtests. Also set where the points given to ``fit`` determine no
        law: its ``reason`` says why.
    """

    analysis_: Analysis

    @property
    def exponent_(self) -> float:
        """Median of the exponent at which the error above the floor falls, from a vague prior."""
        return float(np.median(self._exponents()))

    @property
    def exponent_interval_(self) -> tuple[float, float]:
        """The 90 % interval of the exponent."""
        lower, upper = interval(self._exponents())
        return float(lower), float(upper)

    @property
    def floor_(self) -> float:
        """Median of the irreducible error, from a vague prior."""
        return float(np.median(self._vague_posterior().floor))

    @property
    def floor_interval_(self) -> tuple[float, float]:
        """The 90 % interval of the irreducible error."""
        lower, upper = interval(self._vague_posterior().floor)
        return float(lower), float(upper)

    @property
    def laws_(self) -> dict[str, float]:
        """Posterior probability of each law: its weight in the forecast."""
        return self._posterior().law_probabilities

    @property
    def backtest_(self) -> tuple[Backtest, ...]:
        """Forecasts of the largest size without the largest, and without the two largest, sizes.

        Computed on first use; empty with three sizes.
        """
        self._posterior()
        return self.analysis_.backtests

    def predict(self, n: ArrayLike) -> Array:
        """Predict the error at each number of training images.

        Parameters
        ----------
        n : array-like of shape (m,), or float
            Training images, above 0.

        Returns
        -------
        float64 or ndarray of the shape of n
            Posterior median of the law.

        Raises
        ------
        ValueError
            If a number is not finite and above 0.
        """
        posterior, sizes = self._posterior(), _sizes(n)
        median: Array = np.median(posterior.law_error(sizes), axis=0)
        return _shaped(median, np.shape(n))

    def predict_interval(
        self, n: ArrayLike, level: float = INTERVAL_LEVEL, runs: float = 1
    ) -> tuple[Array, Array]:
        """Predict an interval that contains the measured mean error of new runs.

        Parameters
        ----------
        n : array-like of shape (m,), or float
            Training images, above 0.
        level : float, default=0.9
            Nominal coverage, in (0, 1).
        runs : float, default=1
            Runs (seeds) that are averaged, 1 or more. They share the test images, so that only the
            variance between seeds decreases. Infinite: the expected error, without any noise.

        Returns
        -------
        lower, upper : float64 or ndarray of the shape of n
            A lower limit below half a test image is 0.

        Raises
        ------
        ValueError
            If a number is not finite and above 0, ``level`` not in (0, 1), or ``runs`` below 1.
        """
        posterior, sizes = self._posterior(), _sizes(n)
        _check_level(level)
        _check_runs(runs)
        num_test = self.analysis_.points.last_num_test
        lower, upper = run_interval(posterior, sizes, num_test, runs, level)
        return _shaped(lower, np.shape(n)), _shaped(upper, np.shape(n))

    def probability(self, error: ArrayLike, n: ArrayLike, runs: float = 1) -> Array:
        """Return the probability that new runs measure a mean error of at most ``error``.

        It inverts :meth:`predict_interval`: with probability 0.05 the error is below the lower end
        of the 90 % interval, with 0.95 below the upper end. :meth:`required_n` inverts it in n.

        Parameters
        ----------
        error : array-like of shape (m,), or float
            Target errors, above 0.
        n : array-like of shape (m,), or float
            Training images, above 0.
        runs : float, default=1
            Runs (seeds) that are averaged, 1 or more; infinite: the expected error.

        Returns
        -------
        float64 or ndarray of the shape that error and n broadcast to
            In [0, 1].

        Raises
        ------
        ValueError
            If a number is out of range, or the shapes do not broadcast.
        """
        posterior = self._posterior()
        targets, sizes = np.broadcast_arrays(to_numbers("error", error), to_numbers("n", n))
        self._check_target(targets)
        _check_runs(runs)
        num_test = self.analysis_.points.last_num_test
        share = reach_probability(posterior, _sizes(sizes), targets.ravel(), num_test, runs)
        return _shaped(share, targets.shape)

    def required_n(
        self, error: float, level: float = INTERVAL_LEVEL, runs: float = 1
    ) -> RequiredImages:
        """Estimate how many training images new runs need to measure an error.

        It inverts :meth:`probability`: of the sizes on a grid of 16 per doubling, ``estimate`` is
        the smallest at which that is 0.5 or more, and the ends of the 90 % interval are those at
        which it is 0.05 and 0.95 or more.

        Parameters
        ----------
        error : float
            Target error, a share in (0, 1); any number above 0 with an infinite ``chance``.
        level : float, default=0.9
            Nominal coverage of the interval, in (0, 1).
        runs : float, default=1
            Runs (seeds) that are averaged, 1 or more; infinite: the expected error.

        Returns
        -------
        RequiredImages
            With ``estimate``, ``lower`` and ``upper`` in training images, infinite where 1,024
            times the largest size are not enough, and ``probability``, the highest within that.

        Raises
        ------
        ValueError
            If a number is out of range.
        """
        posterior = self._posterior()
        _check_level(level)
        _check_runs(runs)
        self._check_target(np.asarray(error, dtype=float))
        num_test = self.analysis_.points.last_num_test
        return required_images(posterior, float(error), level, num_test, runs)

    def plan(
        self,
        error: float,
        rounds: int = 1,
        price: float = 1.0,
        miss_cost: float | None = None,
        miss_chance: float = 0.1,
    ) -> Purchase:
        """Plan how many images to order now for a target error.

        Parameters
        ----------
        error : float
            Target of the expected error of new runs: see ``runs`` of :meth:`required_n`.
        rounds : int, default=1
            Orders that can still be made, this one included. After each, train, fit again with the
            new point, and plan again.
        price : float, default=1.0
            Of one image.
        miss_cost : float, default=None
            Cost of not reaching the target after the last round, in the unit of ``price``. None:
            the least cost at which it is missed with ``miss_chance``; keep it for later rounds.
        miss_chance : float, default=0.1
            Probability of missing the target in the end, in (0, 1).

        Returns
        -------
        Purchase
            ``order``, the chances, the expected cost; an order of 0 where missing is cheaper, or
            the target has been measured already.

        Raises
        ------
        ValueError
            If a number is out of range.
        """
        posterior = self._posterior()
        self._check_target(np.asarray(error, dtype=float))
        if rounds < 1 or int(rounds) != rounds:
            raise ValueError(f"rounds must be a whole number above 0, got {rounds!r}")
        for name, value in (("price", price), ("miss_cost", miss_cost)):
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        if not 0 < miss_chance < 1:
            raise ValueError(f"miss_chance must be between 0 and 1, got {miss_chance!r}")
        points = self.analysis_.points
        if points.means[-1] <= error:  # measured: nothing to order
            reached = posterior.expected_error(points.sizes[-1:]) <= error
            chance = float(reached.mean())
            return Purchase(
                float(error), int(rounds), 0.0, chance, chance, 0.0, 0.0, miss_cost or 0.0
            )
        return plan_purchase(
            posterior, float(error), int(rounds), price, miss_cost, miss_chance,
            points.last_num_test,
        )  # fmt: skip

    def plot(self, ax: Axes | None = None, name: str = "error") -> Axes:
        """Draw the measured errors on log axes, with the law and its forecast up to 8 times.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: those of a new figure of pyplot.
        name : str, default="error"
            Label of the error axis.

        Returns
        -------
        matplotlib Axes
        """
        self._posterior()
        from ..figures.scaling import plot_points
        from ..figures.style import new_pyplot_axes

        if ax is None:
            return plot_points(new_pyplot_axes(), self.analysis_, name)
        return plot_points(ax, self.analysis_, name, with_caption=False)

    def _posterior(self) -> Posterior:
        return self._check_fitted().posterior  # type: ignore[return-value]

    def _vague_posterior(self) -> Posterior:
        return self._check_fitted().vague_posterior  # type: ignore[return-value]

    def _exponents(self) -> Array:
        """Draws of the exponent, from the laws that have one."""
        draws = self._vague_posterior().exponent
        return draws[np.isfinite(draws)]

    def _check_fitted(self) -> Analysis:
        analysis: Analysis | None = getattr(self, "analysis_", None)
        if analysis is None or analysis.posterior is None:
            raise NotFittedError("this LearningCurve is not fitted yet: call fit(n, error) first")
        return analysis

    def _check_target(self, error: Array) -> None:
        bound = 1.0 if np.isfinite(self._posterior().chance) else np.inf
        if not ((error > 0) & (error < bound)).all():
            what = "a share between 0 and 1" if bound == 1 else "above 0"
            raise ValueError(f"error must be {what}, got {error.tolist()!r:.80}")


def to_numbers(name: str, values: ArrayLike) -> Array:
    """Convert to an array of float64.

    Raises
    ------
    ValueError
        If a value is no number, naming the argument.
    """
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers: {error}") from None


def _shaped(values: Array, shape: tuple[int, ...]) -> Array:
    """Return values in a shape; a number where it is empty."""
    shaped: Array = values.reshape(shape)[()]
    return shaped


def _sizes(n: ArrayLike) -> Array:
    """Check numbers of images; return them in one dimension."""
    sizes = to_numbers("n", n)
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError("n must be finite numbers above 0")
    return sizes.ravel()


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level!r}")


def _check_runs(runs: float) -> None:
    if not runs >= 1:  # also refuses NaN
        raise ValueError(f"runs must be 1 or more, got {runs!r}")
