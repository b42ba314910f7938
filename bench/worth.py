"""Coverage of the worth in images on simulated studies: ``python -m bench worth``.

Each study has five sizes of a baseline, whose law is drawn from the prior, and of an option that is
worth a known factor, which may change with the size. Every test image has a difficulty of its own
that is common to all models, one common to the sizes of a curve, and one of each run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dataworth.evaluation.correlations import mean_correlation
from dataworth.scaling.analysis import Analysis
from dataworth.scaling.fitting import fit
from dataworth.scaling.laws import LAWS
from dataworth.scaling.points import Points
from dataworth.scaling.priors import PRIORS, SCATTER_PRIOR
from dataworth.scaling.worth import SharedTest, compare

Array = NDArray[np.float64]
SIZES = 50_000 / 2.0 ** np.arange(4, -1, -1)
CHANCE = 0.95
COMMON, CURVE = 0.6, 0.1  # shares of the variance of an image's difficulty
SEED_DEVIATION = 0.01  # of the log error


@dataclass(frozen=True)
class SimulatedStudy:
    """Measured points of a baseline and an option, and the truth."""

    baseline: Points
    option: Points
    shared: SharedTest
    factors: Array  # (sizes + 2,): at the sizes, and at 2 and 4 times the largest


def simulate(rng: np.random.Generator, seeds: int, num_test: int) -> SimulatedStudy:
    """Simulate one study."""
    prior = PRIORS["unknown"]
    weights = np.array([component.weight for component in prior])
    component = prior[rng.choice(len(weights), p=weights / weights.sum())]
    z = rng.standard_normal((1, len(LAWS[component.law].parameters)))
    z[:, 0] /= 4  # an error of about 35 % at the largest size
    parameters = component.parameters(z, 0.35, CHANCE)
    level, change = np.exp(rng.uniform(np.log(0.5), np.log(2.5))), rng.uniform(-0.1, 0.1)
    ahead = np.array([*SIZES, 2 * SIZES[-1], 4 * SIZES[-1]])
    factors = level * (ahead / SIZES[-1]) ** change
    image = rng.standard_normal(num_test)
    wrong = [
        _answers(
            rng, LAWS[component.law].formula(n / SIZES[-1], CHANCE, *parameters)[0], image, seeds
        )
        for n in (SIZES, factors[: len(SIZES)] * SIZES)
    ]
    means = [answers.mean(axis=1) for answers in wrong]
    within = [mean_correlation(mean, mean) for mean in means]
    n, count = np.repeat(SIZES, seeds), np.full(len(SIZES) * seeds, float(num_test))
    baseline, option = (Points(n, answers.mean(axis=2).ravel(), count) for answers in wrong)
    return SimulatedStudy(baseline, option, SharedTest(*within, mean_correlation(*means)), factors)


def _answers(rng: np.random.Generator, errors: Array, image: Array, seeds: int) -> Array:
    """Simulate wrong answers, shape (sizes, seeds, images)."""
    shape = (len(errors), seeds, len(image))
    scatter = rng.choice(list(SCATTER_PRIOR), p=list(SCATTER_PRIOR.values()))
    runs = np.hypot(scatter, SEED_DEVIATION) * rng.standard_normal(shape[:2])
    rates = np.minimum(errors[:, None] * np.exp(runs), 0.999)
    curve, own = rng.standard_normal(len(image)), rng.standard_normal(shape)
    hard = np.sqrt(COMMON) * image + np.sqrt(CURVE) * curve + np.sqrt(1 - COMMON - CURVE) * own
    return (hard < ndtri(rates)[..., None]).astype(float)


def covered(study: SimulatedStudy) -> list[float]:
    """Return for each size and forecast whether the interval has the factor; NaN for a bound."""
    posteriors = (fit(points, CHANCE) for points in (study.baseline, study.option))
    points = (study.baseline, study.option)
    analyses = [
        Analysis(p, CHANCE, posterior, "") for p, posterior in zip(points, posteriors, strict=True)
    ]
    rows = zip(compare(*analyses, study.shared).rows, study.factors.tolist(), strict=True)
    return [
        float(row.factor.lower <= truth <= row.factor.upper)
        if row.least < truth < row.most
        else np.nan
        for row, truth in rows
    ]


def measure_coverage(studies: int, seeds: int, num_test: int, seed: int = 0) -> Array:
    """Return the share of intervals that cover, at each size and forecast."""
    rng = np.random.default_rng(seed)
    table = np.array([covered(simulate(rng, seeds, num_test)) for _ in range(studies)])
    return np.asarray(np.nanmean(table, axis=0))
