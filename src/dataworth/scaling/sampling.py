"""Posterior sampling: tempered sequential Monte Carlo, then importance sampling. Pure.

A population drawn from the prior is moved towards the posterior by raising the likelihood to a
power that grows from 0 to 1 (Del Moral, Doucet, Jasra 2006,
https://doi.org/10.1111/j.1467-9868.2006.00553.x). Unlike a Markov chain it needs no starting point
and crosses between modes, but its estimate of the evidence is too noisy to compare laws where the
posterior is a thin, bent ridge. Therefore it only places a Student t distribution, whose
importance-weighted draws represent the posterior (Geweke 1989, https://doi.org/10.2307/1913710);
these draws place a second such distribution (Cappe et al. 2004,
https://doi.org/10.1198/106186004X12803).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .laws import Array

POPULATION_SIZE = 500
NUM_MOVES = 4  # random-walk Metropolis steps at each power
TARGET_ACCEPTANCE = 0.3  # acceptance rate that the step width is adapted to
PROPOSAL_DRAWS = (2048, 8192)  # of the first and of the second Student t distribution
DEGREES_OF_FREEDOM = 3.0  # of both: heavier tails than any posterior here
SCALE_INFLATION = 1.2  # of their scale matrix, relative to the covariance so far


@dataclass(frozen=True)
class WeightedSample:
    """Weighted draws from a posterior."""

    draws: Array  # (draws, dimensions)
    weights: Array  # (draws,), with sum 1
    log_evidence: float  # log of the mean likelihood under the prior, in nats

    def resample(self, count: int, rng: np.random.Generator) -> Array:
        """Resample draws in proportion to their weights, shape (count, dimensions)."""
        return self.draws[_systematic_resample(self.weights, count, rng)]


def sample_posterior(
    log_likelihood: Callable[[Array], Array], dimensions: int, rng: np.random.Generator
) -> WeightedSample:
    """Sample from the posterior of a standard normal prior and a likelihood.

    Parameters
    ----------
    log_likelihood : callable
        Maps an array of shape (draws, dimensions) to one of shape (draws,), in nats.
    dimensions : int
        Number of parameters.
    rng : numpy.random.Generator
    """
    population = _temper(log_likelihood, dimensions, rng)
    sample = WeightedSample(population, np.full(len(population), 1 / len(population)), 0.0)
    for count in PROPOSAL_DRAWS:
        sample = _importance_sample(sample, log_likelihood, count, rng)
    return sample


def _temper(
    log_likelihood: Callable[[Array], Array], dimensions: int, rng: np.random.Generator
) -> Array:
    """Move draws from the prior to the posterior by tempered sequential Monte Carlo."""
    z = rng.standard_normal((POPULATION_SIZE, dimensions))
    value, power, width = log_likelihood(z), 0.0, 1.0
    while power < 1:
        step = _next_step(value, 1 - power)
        power += step
        kept = _systematic_resample(np.exp(step * (value - value.max())), POPULATION_SIZE, rng)
        z, value = z[kept], value[kept]
        root = _cholesky(np.cov(z.T))
        for _ in range(NUM_MOVES):
            noise = rng.standard_normal(z.shape) @ root.T
            proposal = z + width * 2.38 / np.sqrt(dimensions) * noise
            proposal_value = log_likelihood(proposal)
            log_ratio = (
                power * (proposal_value - value) + ((z**2).sum(1) - (proposal**2).sum(1)) / 2
            )
            accepted = np.log(rng.random(POPULATION_SIZE)) < log_ratio
            z[accepted], value[accepted] = proposal[accepted], proposal_value[accepted]
            width = float(
                np.clip(width * np.exp((accepted.mean() - TARGET_ACCEPTANCE) / 2), 0.1, 2)
            )
    return z


def _importance_sample(
    previous: WeightedSample,
    log_likelihood: Callable[[Array], Array],
    count: int,
    rng: np.random.Generator,
) -> WeightedSample:
    """Draw from a Student t distribution with the previous mean and covariance, and weight."""
    dimensions = previous.draws.shape[1]
    centre = previous.weights @ previous.draws
    root = _cholesky(SCALE_INFLATION * np.cov(previous.draws.T, aweights=previous.weights, ddof=0))
    t = rng.standard_normal((count, dimensions))
    t /= np.sqrt(rng.chisquare(DEGREES_OF_FREEDOM, (count, 1)) / DEGREES_OF_FREEDOM)
    z = centre + t @ root.T
    log_density = (
        gammaln((DEGREES_OF_FREEDOM + dimensions) / 2)
        - gammaln(DEGREES_OF_FREEDOM / 2)
        - dimensions / 2 * np.log(DEGREES_OF_FREEDOM / 2)  # pi cancels against the prior's
        - np.log(np.diag(root)).sum()
        - (DEGREES_OF_FREEDOM + dimensions) / 2 * np.log1p((t**2).sum(1) / DEGREES_OF_FREEDOM)
    )
    with np.errstate(all="ignore"):  # in the far tails a law overflows
        log_weight = log_likelihood(z) - (z**2).sum(1) / 2 - log_density
    log_weight[np.isnan(log_weight)] = -np.inf
    weight = np.exp(log_weight - log_weight.max())
    evidence = np.log(weight.mean()) + log_weight.max()
    return WeightedSample(z, weight / weight.sum(), float(evidence))


def _cholesky(covariance: Array) -> Array:
    """Return the lower Cholesky factor; a small ridge makes singular matrices positive definite."""
    return np.asarray(np.linalg.cholesky(covariance + 1e-10 * np.eye(len(covariance))), dtype=float)


def _next_step(value: Array, max_step: float) -> float:
    """Find the largest step of the power with an effective sample size of half the population."""

    def effective_size(step: float) -> float:
        weight = np.exp(step * (value - value.max()))
        return float(weight.sum() ** 2 / (weight**2).sum())

    if effective_size(max_step) >= POPULATION_SIZE / 2:
        return max_step
    low, high = 0.0, max_step
    for _ in range(25):  # bisection
        middle = (low + high) / 2
        if effective_size(middle) >= POPULATION_SIZE / 2:
            low = middle
        else:
            high = middle
    return max(low, 1e-6)


def _systematic_resample(weight: Array, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return indices in proportion to the weights, by systematic resampling (low variance)."""
    ladder = (np.arange(count) + rng.random()) / count
    indices = np.searchsorted(np.cumsum(weight / weight.sum()), ladder)
    return np.minimum(indices, len(weight) - 1)
