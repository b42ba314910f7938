"""How sure a measured error is. Pure; no torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNTRAINED_P = 0.001  # a run less surely better than chance than this is called untrained
Z = 1.959963984540054  # of a 95 % interval: the normal quantile at 0.975


def wilson_interval(error: float, n: int) -> tuple[float, float]:
    """95 % interval of a share measured on ``n`` images (Wilson 1927): test sampling alone."""
    centre = (error + Z**2 / (2 * n)) / (1 + Z**2 / n)
    variance = error * (1 - error) / n + Z**2 / (4 * n**2)
    half = Z * math.sqrt(variance) / (1 + Z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(
    mean: float, deviation: float | None, num_runs: int, num_test: int
) -> tuple[float, float]:
    """95 % interval of the mean error over seeds.

    Test sampling (Wilson's interval at the mean: all runs share one test set) and the seeds
    (Student's t on their sample deviation) add in quadrature on each side; with a single run the
    seeds' part is unknown and left out.
    """
    from scipy.stats import t

    low, high = wilson_interval(mean, num_test)
    seeds = 0.0
    if deviation is not None:
        seeds = float(t.ppf(0.975, num_runs - 1)) * deviation / math.sqrt(num_runs)
    return (
        max(0.0, mean - math.hypot(mean - low, seeds)),
        min(1.0, mean + math.hypot(high - mean, seeds)),
    )


def chance_error(labels: NDArray[np.int64], k: int = 1) -> float:
    """Top-k error of always naming the ``k`` commonest classes: what knows no image achieves."""
    counts = np.sort(np.bincount(labels))[::-1]
    return float(1 - counts[:k].sum() / len(labels))


def beats_chance(error: float, chance: float, n: int) -> bool:
    """Whether an error over ``n`` images is below chance (one-sided binomial, p < 0.001)."""
    from scipy.stats import binomtest

    wrong = round(error * n)
    return bool(binomtest(wrong, n, chance, alternative="less").pvalue < UNTRAINED_P)
