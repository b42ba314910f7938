"""Draws from a posterior by sequential Monte Carlo. Pure.

A population drawn from the prior follows the likelihood, raised to a power that grows from 0 to 1
(Del Moral, Doucet, Jasra 2006, https://doi.org/10.1111/j.1467-9868.2006.00553.x). Unlike a chain
it needs no start, crosses between modes, and gives the evidence that weighs law against law.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .laws import Array

POPULATION = 1000
MOVES = 4  # random-walk steps of every member at each power
ACCEPTED = 0.3  # the share that the step width aims at


def draw(
    log_likelihood: Callable[[Array], Array], dimensions: int, rng: np.random.Generator
) -> tuple[Array, float]:
    """Draw from standard normal numbers weighed by a likelihood.

    Parameters
    ----------
    log_likelihood : callable
        Of an array of shape (draws, dimensions); gives shape (draws,), in nats.

    Returns
    -------
    draws : ndarray of shape (POPULATION, dimensions)
    log_evidence : float
        Log of the likelihood's mean under the prior, in nats.
    """
    z = rng.standard_normal((POPULATION, dimensions))
    value, power, log_evidence, width = log_likelihood(z), 0.0, 0.0, 1.0
    while power < 1:
        step = _next_step(value, 1 - power)
        weight = np.exp(step * (value - value.max()))
        log_evidence += step * value.max() + np.log(weight.mean())
        power += step
        kept = _resample(weight, rng)
        z, value = z[kept], value[kept]
        root = np.linalg.cholesky(np.cov(z.T) + 1e-8 * np.eye(dimensions))
        for _ in range(MOVES):
            noise = rng.standard_normal(z.shape) @ root.T
            other = z + width * 2.38 / np.sqrt(dimensions) * noise
            found = log_likelihood(other)
            gain = power * (found - value) + ((z**2).sum(1) - (other**2).sum(1)) / 2
            moved = np.log(rng.random(POPULATION)) < gain
            z[moved], value[moved] = other[moved], found[moved]
            width = float(np.clip(width * np.exp((moved.mean() - ACCEPTED) / 2), 0.1, 2))
    return z, float(log_evidence)


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


def _resample(weight: Array, rng: np.random.Generator) -> Array:
    """Return indices drawn in proportion to the weights, systematically: the least noise."""
    ladder = (np.arange(POPULATION) + rng.random()) / POPULATION
    chosen = np.searchsorted(np.cumsum(weight / weight.sum()), ladder)
    return np.minimum(chosen, POPULATION - 1)
