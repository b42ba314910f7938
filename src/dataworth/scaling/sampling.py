"""Draws from a posterior: a tempered population finds it, importance sampling weighs it. Pure.

A population drawn from the prior follows the likelihood, raised to a power that grows from 0 to 1
(Del Moral, Doucet, Jasra 2006, https://doi.org/10.1111/j.1467-9868.2006.00553.x). Unlike a chain
it needs no start and crosses between modes, but the evidence it gives is too noisy to weigh law
against law where the posterior is a thin, bent ridge. So it only places a Student t distribution,
whose draws, weighed, are the posterior (Geweke 1989, https://doi.org/10.2307/1913710); the second
such distribution is placed by the draws of the first (Cappe et al. 2004,
https://doi.org/10.1198/106186004X12803).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from .laws import Array

POPULATION = 500
MOVES = 4  # random-walk steps of every member at each power
ACCEPTED = 0.3  # the share that the step width aims at
ROUNDS = (2048, 8192)  # draws of each Student t distribution
TAIL = 3.0  # its degrees of freedom: tails heavier than those of any posterior here
WIDER = 1.2  # its scale matrix over the covariance so far


@dataclass(frozen=True)
class Sample:
    """Weighed draws from a posterior."""

    draws: Array  # (draws, dimensions)
    weights: Array  # (draws,), with sum 1
    log_evidence: float  # of the likelihood's mean under the prior, in nats

    def resample(self, count: int, rng: np.random.Generator) -> Array:
        """Choose draws in proportion to their weights, shape (count, dimensions)."""
        return self.draws[_systematic(self.weights, count, rng)]


def draw(
    log_likelihood: Callable[[Array], Array], dimensions: int, rng: np.random.Generator
) -> Sample:
    """Draw from standard normal numbers weighed by a likelihood.

    Parameters
    ----------
    log_likelihood : callable
        Of an array of shape (draws, dimensions); gives shape (draws,), in nats.
    """
    found = _population(log_likelihood, dimensions, rng)
    sample = Sample(found, np.full(len(found), 1 / len(found)), 0.0)
    for count in ROUNDS:
        sample = _reweigh(sample, log_likelihood, count, rng)
    return sample


def _population(
    log_likelihood: Callable[[Array], Array], dimensions: int, rng: np.random.Generator
) -> Array:
    """Move standard normal numbers to where the posterior is."""
    z = rng.standard_normal((POPULATION, dimensions))
    value, power, width = log_likelihood(z), 0.0, 1.0
    while power < 1:
        step = _next_step(value, 1 - power)
        power += step
        kept = _systematic(np.exp(step * (value - value.max())), POPULATION, rng)
        z, value = z[kept], value[kept]
        root = _root(np.cov(z.T))
        for _ in range(MOVES):
            noise = rng.standard_normal(z.shape) @ root.T
            other = z + width * 2.38 / np.sqrt(dimensions) * noise
            found = log_likelihood(other)
            gain = power * (found - value) + ((z**2).sum(1) - (other**2).sum(1)) / 2
            moved = np.log(rng.random(POPULATION)) < gain
            z[moved], value[moved] = other[moved], found[moved]
            width = float(np.clip(width * np.exp((moved.mean() - ACCEPTED) / 2), 0.1, 2))
    return z


def _reweigh(
    before: Sample,
    log_likelihood: Callable[[Array], Array],
    count: int,
    rng: np.random.Generator,
) -> Sample:
    """Draw from a Student t distribution of the same mean and shape; weigh what was drawn."""
    dimensions = before.draws.shape[1]
    centre = before.weights @ before.draws
    root = _root(WIDER * np.cov(before.draws.T, aweights=before.weights, ddof=0))
    t = rng.standard_normal((count, dimensions))
    t /= np.sqrt(rng.chisquare(TAIL, (count, 1)) / TAIL)
    z = centre + t @ root.T
    log_density = (
        gammaln((TAIL + dimensions) / 2)
        - gammaln(TAIL / 2)
        - dimensions / 2 * np.log(TAIL / 2)  # that of pi cancels against the prior's
        - np.log(np.diag(root)).sum()
        - (TAIL + dimensions) / 2 * np.log1p((t**2).sum(1) / TAIL)
    )
    with np.errstate(all="ignore"):  # far out a law leaves the range of floating point
        log_weight = log_likelihood(z) - (z**2).sum(1) / 2 - log_density
    log_weight[np.isnan(log_weight)] = -np.inf
    weight = np.exp(log_weight - log_weight.max())
    evidence = np.log(weight.mean()) + log_weight.max()
    return Sample(z, weight / weight.sum(), float(evidence))


def _root(covariance: Array) -> Array:
    """Return the lower Cholesky factor, also of a covariance with a direction of no width."""
    return np.asarray(np.linalg.cholesky(covariance + 1e-10 * np.eye(len(covariance))), dtype=float)


def _next_step(value: Array, most: float) -> float:
    """Largest step of the power that leaves half of the population effective (bisection)."""

    def effective(step: float) -> float:
        weight = np.exp(step * (value - value.max()))
        return float(weight.sum() ** 2 / (weight**2).sum())

    if effective(most) >= POPULATION / 2:
        return most
    low, high = 0.0, most
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= POPULATION / 2 else (low, middle)
    return max(low, 1e-6)


def _systematic(weight: Array, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return indices drawn in proportion to the weights, systematically: the least noise."""
    ladder = (np.arange(count) + rng.random()) / count
    chosen = np.searchsorted(np.cumsum(weight / weight.sum()), ladder)
    return np.minimum(chosen, len(weight) - 1)
