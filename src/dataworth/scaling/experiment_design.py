"""Experiment design by simulation: the next run to train, and the precision of a study. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .analysis import Analysis
from .fitting import fit
from .forecasting import RELIABLE_FACTOR, interval, required_size_draws, run_interval
from .laws import LAWS, Array
from .points import Points
from .priors import PRIORS, SCATTER_PRIOR, VAGUE_PRIOR
from .purchases import Purchase, savings_by_runs

NUM_OUTCOMES = 200  # simulated results of one more run
NUM_STUDIES = 40  # simulated studies of a design
ASSUMED_SEED_DEVIATION = 0.02  # between seeds, of the log error, where no size is repeated


@dataclass(frozen=True)
class CandidateRun:
    """One more run that could be trained."""

    n: float  # training images
    is_new_size: bool  # no run has this size yet
    reduction: float  # expected relative decrease of the forecast's standard deviation, a share


def rank_next_runs(analysis: Analysis, target: float | None = None) -> list[CandidateRun]:
    """Rank one more run at each size, at half the smallest and at twice the largest.

    The first narrows the forecast most per training image. The forecast is of the log number of
    images that the error ``target`` takes, or without a target of the log error at 4 times the
    largest size. Of many sizes, only some are candidates: see ``Points.spread_sizes``.
    """
    posterior, points = analysis.posterior, analysis.points
    assert posterior is not None
    if target is None:
        at = np.array([RELIABLE_FACTOR * posterior.largest_size])
        quantity = np.log(posterior.expected_error(at)[:, 0])
    else:
        quantity = np.log(required_size_draws(posterior, target))
    measured = points.spread_sizes
    sizes = np.array([points.sizes[0] / 2, *measured, points.sizes[-1] * 2])
    predicted = np.log(np.maximum(posterior.expected_error(sizes), 1e-9))
    variances = _outcome_variances(analysis, np.searchsorted(points.sizes, measured).tolist())
    candidates = [
        CandidateRun(float(n), n not in points.sizes, _reduction(quantity, column, variance))
        for n, column, variance in zip(sizes, predicted.T, variances, strict=True)
    ]
    return sorted(candidates, key=lambda candidate: -candidate.reduction / candidate.n)


@dataclass(frozen=True)
class RunBeforeOrder:
    """One more run of the images at hand, before more are ordered."""

    n: float  # training images
    is_new_size: bool  # no run has this size yet
    saving: float  # expected decrease of the cost of the order and of missing, in its unit


def run_before_order(analysis: Analysis, plan: Purchase, price: float = 1.0) -> RunBeforeOrder:
    """Return the further run, with no new images, that lowers the expected cost most.

    Parameters
    ----------
    analysis : Analysis
    plan : Purchase
        What is planned without the run, for the same analysis.
    price : float
        Of one image.
    """
    posterior, points = analysis.posterior, analysis.points
    assert posterior is not None
    measured = points.spread_sizes
    sizes = [points.sizes[0] / 2, *measured]
    variances = _outcome_variances(analysis, np.searchsorted(points.sizes, measured).tolist())
    candidates = list(zip(sizes, variances[:-1], strict=True))
    savings = savings_by_runs(posterior, plan, price, points.last_num_test, candidates)
    best = int(np.argmax(savings))
    return RunBeforeOrder(float(sizes[best]), best == 0, savings[best])


def _outcome_variances(analysis: Analysis, measured: Sequence[int]) -> list[Array]:
    """Variance of the log error of one more run at each candidate size, (draws,) each.

    ``measured`` are the indices of the measured sizes among the candidates. At a size that has runs
    already, another seed reduces only the variance between seeds.
    """
    posterior, points = analysis.posterior, analysis.points
    assert posterior is not None
    relative = points.scale**2
    seeds, sampling = points.seed_variance / relative, points.sampling_variance / relative
    if points.num_runs.max() == 1:
        seeds = np.full(len(points.sizes), ASSUMED_SEED_DEVIATION**2)
    scatter = posterior.scatter**2

    def another_seed(i: int) -> Array:
        before, after = (
            scatter + sampling[i] + seeds[i] / (points.num_runs[i] + more) for more in (0, 1)
        )
        return np.asarray(1 / np.maximum(1 / after - 1 / before, 1e-12))

    smaller, larger = (scatter + seeds[i] + sampling[i] for i in (0, -1))
    return [smaller, *map(another_seed, measured), larger]


def _reduction(quantity: Array, predicted: Array, variance: Array) -> float:
    """Reweight the draws by simulated outcomes; return the mean loss of standard deviation."""
    if quantity.std() < 1e-6:  # all draws agree, as where none reaches the target
        return 0.0
    rng = np.random.default_rng(0)
    draws = rng.integers(len(predicted), size=NUM_OUTCOMES)
    outcome = predicted[draws] + np.sqrt(variance[draws]) * rng.standard_normal(NUM_OUTCOMES)
    logs = -((outcome[:, None] - predicted) ** 2) / (2 * variance) - np.log(variance) / 2
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    remaining = weight @ quantity**2 - (weight @ quantity) ** 2
    return max(0.0, float(1 - np.sqrt(max(remaining.mean(), 0) / quantity.var())))


@dataclass(frozen=True)
class StudyDesignPrecision:
    """Expected precision of a planned study: medians over simulated studies."""

    forecast_width: float  # of the 90 % interval at 4 times the largest size, a share of the error
    exponent_width: float  # of the 90 % interval of the exponent
    coverage: float  # share of the simulated studies whose forecast interval covered the true error


def simulate_design(
    sizes: Sequence[float], seeds: int, num_test: int, chance: float, error: float
) -> StudyDesignPrecision:
    """Simulate studies with laws drawn from the prior, and fit each.

    Parameters
    ----------
    sizes : sequence of float
        Planned numbers of training images, three or more.
    seeds : int
        Runs of each size.
    num_test : int
        Test images.
    chance : float
        Chance level: error of guessing, a share.
    error : float
        Expected error at the largest size, a share.
    """
    rng = np.random.default_rng(0)
    forecast_widths, exponent_widths, covered = [], [], []
    n = np.sort(np.repeat(np.asarray(sizes, dtype=float), seeds))
    ahead = np.array([RELIABLE_FACTOR * n[-1]])
    prior = PRIORS["unknown"]
    weights = np.array([component.weight for component in prior])
    for _ in range(NUM_STUDIES):
        component = prior[rng.choice(len(prior), p=weights / weights.sum())]
        z = rng.standard_normal((1, len(LAWS[component.law].parameters)))
        z[:, 0] /= 4  # the expected error is assumed to be about right
        parameters = component.parameters(z, error, chance)
        scatters = SCATTER_PRIOR
        scatter = rng.choice(list(scatters), p=list(scatters.values()))
        x = np.append(n, ahead) / n[-1]
        truth = LAWS[component.law].formula(x, chance, *parameters)[0]
        deviation = np.hypot(scatter, ASSUMED_SEED_DEVIATION) * rng.standard_normal(len(truth))
        rate = np.minimum(truth * np.exp(deviation), chance)
        measured = rng.binomial(num_test, rate) / num_test
        points = Points(n, measured[:-1], np.full(len(n), float(num_test)))
        (lower,), (upper,) = run_interval(fit(points, chance), ahead, num_test)
        forecast_widths.append((upper - lower) / truth[-1])
        exponent = fit(points, chance, VAGUE_PRIOR).exponent
        exponent_widths.append(float(np.diff(interval(exponent))[0]))
        covered.append(lower <= measured[-1] <= upper)
    return StudyDesignPrecision(
        float(np.median(forecast_widths)),
        float(np.median(exponent_widths)),
        float(np.mean(covered)),
    )
