"""What to measure next, and what a planned study would tell: from simulation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .analysis import Analysis
from .fitting import fit
from .forecasting import RELIABLE, interval, reaching_sizes, run_interval
from .laws import LAWS, Array
from .points import Points
from .priors import MEMBERS, SCATTERS, VAGUE

OUTCOMES = 200  # simulated results of one more run
STUDIES = 40  # simulated studies of a plan
SEED_SPREAD = 0.02  # assumed where no size is repeated: deviation between seeds, of the log error


@dataclass(frozen=True)
class Candidate:
    """One more run that could be trained."""

    n: float  # training images
    new: bool  # whether no run has this size yet
    narrowing: float  # expected share by which the forecast's standard deviation shrinks


def next_runs(analysis: Analysis, target: float | None = None) -> list[Candidate]:
    """Rank one more run at each size, and at half the smallest and twice the largest.

    The best narrows the forecast most per image trained. The forecast is of the log number of
    images that ``target`` takes, or without a target of the log error at 4 times the largest size.
    """
    posterior, points = analysis.posterior, analysis.points
    assert posterior is not None
    if target is None:
        wanted = np.log(posterior.expected(np.array([RELIABLE * posterior.anchor]))[:, 0])
    else:
        wanted = np.log(reaching_sizes(posterior, target))
    sizes = np.array([points.sizes[0] / 2, *points.sizes, points.sizes[-1] * 2])
    predicted = np.log(np.maximum(posterior.expected(sizes), 1e-9))
    noise = _noise(analysis)
    found = [
        Candidate(float(n), n not in points.sizes, _narrowing(wanted, column, variance))
        for n, column, variance in zip(sizes, predicted.T, noise, strict=True)
    ]
    return sorted(found, key=lambda each: -each.narrowing / each.n)


def _noise(analysis: Analysis) -> list[Array]:
    """Variance of what one more run of each candidate size adds, (draws,) each, of log error.

    At a size that has runs already, another seed averages only what differs between seeds.
    """
    posterior, points = analysis.posterior, analysis.points
    assert posterior is not None
    relative = np.maximum(points.means, 1e-3) ** 2
    seeds, sampling = points.seed_variance / relative, points.sampling_variance / relative
    if points.num_runs.max() == 1:
        seeds = np.full(len(points.sizes), SEED_SPREAD**2)
    own = posterior.scatter**2

    def another(i: int) -> Array:
        before, after = (own + sampling[i] + seeds[i] / (points.num_runs[i] + r) for r in (0, 1))
        return np.asarray(1 / np.maximum(1 / after - 1 / before, 1e-12))

    smaller, larger = (own + seeds[i] + sampling[i] for i in (0, -1))
    return [smaller, *map(another, range(len(points.sizes))), larger]


def _narrowing(wanted: Array, predicted: Array, variance: Array) -> float:
    """Weigh the draws by simulated outcomes; return the mean loss of standard deviation."""
    if wanted.std() < 1e-6:  # all draws agree, as where none reaches the target
        return 0.0
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(predicted), size=OUTCOMES)
    outcome = predicted[chosen] + np.sqrt(variance[chosen]) * rng.standard_normal(OUTCOMES)
    logs = -((outcome[:, None] - predicted) ** 2) / (2 * variance) - np.log(variance) / 2
    weight = np.exp(logs - logs.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    spread = weight @ wanted**2 - (weight @ wanted) ** 2
    return max(0.0, float(1 - np.sqrt(max(spread.mean(), 0) / wanted.var())))


@dataclass(frozen=True)
class Promise:
    """What a planned study would tell, as medians over simulated studies."""

    forecast_width: float  # of the 90 % interval at 4x, as a share of the error there
    exponent_width: float  # of its 90 % interval
    coverage: float  # share of the simulated studies whose forecast interval held the truth


def simulate(
    sizes: Sequence[float], seeds: int, num_test: int, chance: float, error: float
) -> Promise:
    """Simulate studies of laws drawn from the prior, and fit each.

    Parameters
    ----------
    sizes : sequence of float
        Planned numbers of training images, three or more.
    seeds : int
        Runs of each size.
    num_test : int
        Test images.
    chance : float
        Error of guessing, a share.
    error : float
        The error expected at the largest size, a share.
    """
    rng, widths, exponents, held = np.random.default_rng(0), [], [], []
    n = np.sort(np.repeat(np.asarray(sizes, dtype=float), seeds))
    ahead = np.array([RELIABLE * n[-1]])
    weights = np.array([member.weight for member in MEMBERS])
    for _ in range(STUDIES):
        member = MEMBERS[rng.choice(len(MEMBERS), p=weights / weights.sum())]
        z = rng.standard_normal((1, len(LAWS[member.law].parameters)))
        z[:, 0] /= 4  # the expected error is taken to be about right
        parameters = member.parameters(z, error, chance)
        scatter = rng.choice(list(SCATTERS), p=list(SCATTERS.values()))
        truth = LAWS[member.law].formula(np.append(n, ahead) / n[-1], chance, *parameters)[0]
        spread = np.hypot(scatter, SEED_SPREAD) * rng.standard_normal(len(truth))
        rate = np.minimum(truth * np.exp(spread), chance)
        measured = rng.binomial(num_test, rate) / num_test
        points = Points(n, measured[:-1], np.full(len(n), float(num_test)))
        (low,), (high,) = run_interval(fit(points, chance), ahead, num_test)
        widths.append((high - low) / truth[-1])
        exponent = fit(points, chance, VAGUE).exponent
        exponents.append(float(np.diff(interval(exponent))[0]))
        held.append(low <= measured[-1] <= high)
    return Promise(float(np.median(widths)), float(np.median(exponents)), float(np.mean(held)))
