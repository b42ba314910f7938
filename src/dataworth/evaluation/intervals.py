"""Confidence intervals of measured errors, and tests against chance level. Pure; no torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNTRAINED_P = 0.001  # a run whose p-value against chance level is not below this is "untrained"
Z = 1.959963984540054  # of a 95 % interval: the normal quantile at 0.975


def wilson_interval(error: float, n: int) -> tuple[float, float]:
    """95 % interval of a share measured on ``n`` images (Wilson 1927): sampling noise alone."""
    centre = (error + Z**2 / (2 * n)) / (1 + Z**2 / n)
    variance = error * (1 - error) / n + Z**2 / (4 * n**2)
    half = Z * math.sqrt(variance) / (1 + Z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(
    mean: float, deviation: float | None, num_runs: int, num_test: int
) -> tuple[float, float]:
    """95 % interval of the mean error over seeds.

    Sampling noise of the test images (Wilson's interval at the mean: all runs share one test set)
    and of the seeds (Student's t on their sample deviation) add in quadrature on each side; with a
    single run the part of the seeds is unknown and left out.

    Parameters
    ----------
    mean : float
    deviation : float or None
        Sample standard deviation over seeds; None for a single run.
    num_runs : int
    num_test : int
        Test images.
    """
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    low, high = wilson_interval(mean, num_test)
    seeds = 0.0
    if deviation is not None:
        seeds = float(stdtrit(num_runs - 1, 0.975)) * deviation / math.sqrt(num_runs)
    return (
        max(0.0, mean - math.hypot(mean - low, seeds)),
        min(1.0, mean + math.hypot(high - mean, seeds)),
    )


def chance_error(labels: NDArray[np.int64], k: int = 1) -> float:
    """Top-k error of always predicting the ``k`` most frequent classes: the chance level."""
    counts = np.sort(np.bincount(labels))[::-1]
    return float(1 - counts[:k].sum() / len(labels))


def beats_chance(error: float, chance: float, n: int) -> bool:
    """Whether an error is significantly below chance level (one-sided binomial, p < 0.001).

    Parameters
    ----------
    error, chance : float
        Shares.
    n : int
        Images that the error was measured on.
    """
    from scipy.special import bdtr

    wrong = round(error * n)
    return bool(bdtr(wrong, n, chance) < UNTRAINED_P)
