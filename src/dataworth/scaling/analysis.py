"""Analysis of one learning curve: posteriors, backtests, forecasts and their JSON record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .fitting import fit
from .forecasting import (
    INTERVAL_LEVEL,
    RELIABLE_FACTOR,
    Backtest,
    backtest,
    check_identifiable,
    doubling_gains,
    interval,
    required_images_each,
    run_interval,
)
from .laws import Array
from .points import NotIdentifiableError, Points
from .posterior import Posterior
from .priors import VAGUE_PRIOR
from .starts import Start

FORECAST_FACTORS = (2.0, 4.0, 8.0)  # times the largest size: the sizes forecast by default
UNKNOWN_FLOOR_SHARE = 0.8  # a floor is unknown if its interval spans this share of the last error


@dataclass(frozen=True)
class Analysis:
    """What the measured points say about one error."""

    points: Points
    chance: float  # chance level: error of guessing
    posterior: Posterior | None  # for forecasts
    reason: str  # why there is no posterior; empty if there is one
    start: Start = "unknown"  # what the classifier starts from

    @cached_property
    def vague_posterior(self) -> Posterior | None:
        """For exponent and floor, from a prior without typical values; computed on first use."""
        return None if self.posterior is None else fit(self.points, self.chance, VAGUE_PRIOR)

    @cached_property
    def backtests(self) -> tuple[Backtest, ...]:
        """Forecasts of the largest size, made from smaller sizes; computed on first use."""
        return () if self.posterior is None else backtest(self.points, self.chance, self.start)

    @property
    def floor_is_identifiable(self) -> bool:
        """Whether the interval of the floor is narrower than the range of possible values."""
        assert self.vague_posterior is not None
        lower, upper = interval(self.vague_posterior.floor)
        return bool(upper - lower < UNKNOWN_FLOOR_SHARE * self.points.means[-1])


def analyse(points: Points, chance: float, start: Start = "unknown") -> Analysis:
    """Fit the laws.

    Points that do not determine a law give an analysis with a reason and without a posterior.

    Parameters
    ----------
    points : Points
    chance : float
        Chance level: error of guessing, a share.
    start : {"unknown", "scratch", "pretrained", "tabular"}
        What the classifier starts from.
    """
    try:
        check_identifiable(points, chance)
    except NotIdentifiableError as error:
        return Analysis(points, chance, None, str(error), start)
    return Analysis(points, chance, fit(points, chance, start=start), "", start)


@dataclass(frozen=True)
class Forecast:
    """Forecast of the error of one new run."""

    n: float  # training images
    error: float  # median of the law
    lower: float  # of the 90 % prediction interval
    upper: float
    reliable: bool  # within RELIABLE_FACTOR times the largest size


def forecasts(analysis: Analysis, at: Sequence[float] = ()) -> list[Forecast]:
    """Forecast a new run at each size, by default at 2, 4 and 8 times the largest."""
    posterior = analysis.posterior
    assert posterior is not None
    largest = posterior.largest_size
    n = np.array(at or [factor * largest for factor in FORECAST_FACTORS], dtype=float)
    lower, upper = run_interval(posterior, n, analysis.points.last_num_test)
    error = np.median(posterior.law_error(n), axis=0)
    rows = zip(n.tolist(), error.tolist(), lower.tolist(), upper.tolist(), strict=True)
    return [Forecast(*row, reliable=row[0] <= RELIABLE_FACTOR * largest) for row in rows]


def to_dict(
    analysis: Analysis, at: Sequence[float] = (), targets: Sequence[float] = ()
) -> dict[str, Any]:
    """Return an analysis as plain values for a JSON file.

    Parameters
    ----------
    analysis : Analysis
    at : sequence of float
        Training images to forecast for; empty: 2, 4 and 8 times the largest size.
    targets : sequence of float
        Errors, shares, whose required number of images is added.
    """
    points, posterior = analysis.points, analysis.posterior
    rows = zip(
        points.sizes, points.means, points.num_runs, points.seed_variance,
        points.sampling_variance, strict=True,
    )  # fmt: skip
    common: dict[str, Any] = {
        "identifiable": posterior is not None,
        "reason": analysis.reason or None,
        "interval_level": INTERVAL_LEVEL,
        "chance_error": analysis.chance,
        "points": [
            {"n": float(n), "error": float(error), "num_runs": int(runs),
             "seed_deviation": float(seed**0.5), "test_sampling_deviation": float(sampling**0.5)}
            for n, error, runs, seed, sampling in rows
        ],
    }  # fmt: skip
    if posterior is None or analysis.vague_posterior is None:
        return common
    sizes = points.spread_sizes
    gains = zip(sizes, *doubling_gains(posterior, sizes), strict=True)
    return common | {
        "laws": posterior.law_probabilities,
        "exponent": _summary(analysis.vague_posterior.exponent),
        "floor": _summary(analysis.vague_posterior.floor)
        | {"known": analysis.floor_is_identifiable},
        "gain_of_doubling": [
            {"n": float(n), "median": float(median), "interval": [float(lower), float(upper)]}
            for n, median, lower, upper in gains
        ],
        "forecasts": [vars(forecast) for forecast in forecasts(analysis, at)],
        "backtests": [vars(test) | {"held": test.covered} for test in analysis.backtests],
        "required_images": [
            _without_infinity(vars(required))
            for required in required_images_each(posterior, targets, num_test=points.last_num_test)
        ],
    }


def _summary(draws: Array) -> dict[str, Any]:
    finite = draws[np.isfinite(draws)]
    lower, upper = interval(finite)
    return {"median": float(np.median(finite)), "interval": [float(lower), float(upper)]}


def _without_infinity(values: dict[str, Any]) -> dict[str, Any]:
    """Replace infinity, which JSON cannot express, by null."""
    return {k: None if isinstance(v, float) and np.isinf(v) else v for k, v in values.items()}
