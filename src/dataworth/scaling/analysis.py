"""Everything that measured errors say: a law or why there is none, and how forecasts did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .fitting import fit
from .forecasting import (
    LEVEL,
    RELIABLE,
    Backtest,
    backtests,
    check_identifiable,
    gains,
    interval,
    required_images,
    run_interval,
)
from .laws import Array
from .points import NotIdentifiableError, Points
from .posterior import Posterior
from .priors import VAGUE

AHEAD = (2.0, 4.0, 8.0)  # times the largest size: forecast unless told otherwise
UNKNOWN = 0.8  # a floor whose interval spans this share of what is possible is not known


@dataclass(frozen=True)
class Analysis:
    """What the points say of one error."""

    points: Points
    chance: float  # error of guessing
    posterior: Posterior | None  # for forecasts
    shape: Posterior | None  # for exponent and floor: from priors that favour no value of them
    reason: str  # why there is no posterior
    backtests: tuple[Backtest, ...]

    @property
    def floor_is_known(self) -> bool:
        """Whether the floor's interval leaves something out."""
        assert self.shape is not None
        low, high = interval(self.shape.floor)
        return bool(high - low < UNKNOWN * self.points.means[-1])


def analyse(points: Points, chance: float) -> Analysis:
    """Fit the laws twice, for forecasts and for parameters, and forecast what is known."""
    try:
        check_identifiable(points, chance)
    except NotIdentifiableError as why:
        return Analysis(points, chance, None, None, str(why), ())
    posterior, shape = fit(points, chance), fit(points, chance, VAGUE)
    return Analysis(points, chance, posterior, shape, "", backtests(points, chance))


@dataclass(frozen=True)
class Forecast:
    """The error of one new run."""

    n: float  # training images
    error: float  # median of the law
    lower: float
    upper: float
    reliable: bool  # within RELIABLE times the largest size


def forecasts(analysis: Analysis, at: Sequence[float] = ()) -> list[Forecast]:
    """Forecast a new run at each size, by default at 2, 4 and 8 times the largest."""
    posterior = analysis.posterior
    assert posterior is not None
    n = np.array(at or [times * posterior.anchor for times in AHEAD], dtype=float)
    lower, upper = run_interval(posterior, n, analysis.points.last_num_test)
    error = np.median(posterior.error(n), axis=0)
    return [
        Forecast(
            float(size), float(e), float(a), float(b), bool(size <= RELIABLE * posterior.anchor)
        )
        for size, e, a, b in zip(n, error, lower, upper, strict=True)
    ]


def record(
    analysis: Analysis, at: Sequence[float] = (), targets: Sequence[float] = ()
) -> dict[str, Any]:
    """Describe an analysis in plain types, for a JSON file."""
    points, posterior = analysis.points, analysis.posterior
    noise = zip(
        points.sizes, points.means, points.num_runs, points.seed_variance,
        points.sampling_variance, strict=True,
    )  # fmt: skip
    common: dict[str, Any] = {
        "identifiable": posterior is not None,
        "reason": analysis.reason or None,
        "interval_level": LEVEL,
        "chance_error": analysis.chance,
        "points": [
            {"n": float(n), "error": float(e), "num_runs": int(r),
             "seed_deviation": float(s**0.5), "test_sampling_deviation": float(t**0.5)}
            for n, e, r, s, t in noise
        ],
    }  # fmt: skip
    if posterior is None or analysis.shape is None:
        return common
    gain = zip(points.sizes, *gains(posterior, points.sizes), strict=True)
    return common | {
        "laws": posterior.shares,
        "exponent": _summary(analysis.shape.exponent),
        "floor": _summary(analysis.shape.floor) | {"known": analysis.floor_is_known},
        "gain_of_doubling": [
            {"n": float(n), "median": float(g), "interval": [float(a), float(b)]}
            for n, g, a, b in gain
        ],
        "forecasts": [vars(forecast) for forecast in forecasts(analysis, at)],
        "backtests": [vars(test) | {"held": test.held} for test in analysis.backtests],
        "required_images": [
            _finite(vars(required_images(posterior, target))) for target in targets
        ],
    }


def _summary(draws: Array) -> dict[str, Any]:
    known = draws[np.isfinite(draws)]
    low, high = interval(known)
    return {"median": float(np.median(known)), "interval": [float(low), float(high)]}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Write infinity, which JSON does not know, as null."""
    return {k: None if isinstance(v, float) and np.isinf(v) else v for k, v in values.items()}
