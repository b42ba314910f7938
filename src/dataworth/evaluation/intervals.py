"""Confidence intervals of measured errors, and tests against chance level. Pure; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNTRAINED_P = 0.001  # runs of a size whose p-value against chance is not below it: "untrained"
PRIOR_FREEDOM = 4  # degrees of freedom of the pooled variance of seeds, beside those of the size
Z = 1.959963984540054  # of a 95 % interval: the normal quantile at 0.975


class Grouped(NamedTuple):
    """Groups of the images of a split, and the effective number of images of each error."""

    num_groups: int
    top_1_effective_images: float
    top_5_effective_images: float | None


def cluster_variance(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Variance of the mean of values whose groups, not they themselves, are independent.

    The mean is the ratio of the sums of groups to their sizes; its linearised variance is that of
    the residuals of the groups (Cochran, *Sampling Techniques*, 1977, section 9A.2), with factor
    G / (G - 1) for G groups.

    Parameters
    ----------
    values : float64 ndarray of shape (n,)
    groups : int64 ndarray of shape (n,)

    Returns
    -------
    float
        Infinite with a single group.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    residuals = np.bincount(codes, values - values.mean())
    if len(residuals) == 1:
        return math.inf
    factor = len(residuals) / (len(residuals) - 1)
    return float(factor * (residuals**2).sum() / len(values) ** 2)


def effective_images(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Independent images whose mean would be as certain as that of these: the effective number.

    The number of images over Kish's design effect (*Survey Sampling*, 1965), the ratio of
    :func:`cluster_variance` to the variance of independent images; multiplied, since few groups
    leave that ratio uncertain, by the squared ratio of the normal quantile to Student's with G - 1
    degrees of freedom (Korn and Graubard 1998, *Survey Methodology* 24). LOG.md has the coverage of
    Wilson's interval with this number. Values that are all equal show no variance; they count as
    if each group were a single observation.

    Parameters
    ----------
    values : float64 ndarray of shape (n,)
        Such as 1 for a wrong prediction and 0 for a correct one.
    groups : int64 ndarray of shape (n,)

    Returns
    -------
    float
        From 1 to n.
    """
    from scipy.special import stdtrit

    n, sizes = len(values), np.unique(groups, return_counts=True)[1]
    if len(sizes) == 1:
        return 1.0
    if (values == values[0]).all():
        return float(n**2 / (sizes**2).sum())
    variance = cluster_variance(values, groups)
    few = (Z / float(stdtrit(len(sizes) - 1, 0.975))) ** 2
    with np.errstate(divide="ignore"):  # equal means of all groups
        effective = few * np.float64(values.var()) / variance
    return float(np.clip(effective, 1.0, n))


def wilson_interval(error: float, n: float, z: float = Z) -> tuple[float, float]:
    """Interval of a share measured on some images (Wilson 1927): sampling noise alone.

    Parameters
    ----------
    error : float
        The share.
    n : float
        Images; of groups, the number from :func:`effective_images`.
    z : float
        Normal quantile at the upper end; by default that of a 95 % interval.
    """
    centre = (error + z**2 / (2 * n)) / (1 + z**2 / n)
    variance = error * (1 - error) / n + z**2 / (4 * n**2)
    half = z * math.sqrt(variance) / (1 + z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(
    mean: float, deviation: float | None, num_runs: int, num_test: float
) -> tuple[float, float]:
    """95 % interval of the mean error over seeds, from the runs of one size alone.

    Sampling noise of the test images (Wilson's interval at the mean: all runs share one test set)
    and of the seeds (Student's t on their sample deviation) add in quadrature on each side; with a
    single run the part of the seeds is unknown and left out.

    Parameters
    ----------
    mean : float
    deviation : float or None
        Sample standard deviation over seeds; None for a single run.
    num_runs : int
    num_test : float
        Test images, as in :func:`wilson_interval`.
    """
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    seeds = 0.0
    if deviation is not None:
        seeds = float(stdtrit(num_runs - 1, 0.975)) * deviation / math.sqrt(num_runs)
    return _in_quadrature(mean, wilson_interval(mean, num_test), seeds)


def pooled_intervals(
    errors: Sequence[Sequence[float]], num_test: float | Sequence[float], level: float = 0.95
) -> list[tuple[float, float]]:
    """Intervals of the mean errors of several sizes, with the variance of seeds pooled over them.

    The variance between seeds is measured in units of the binomial variance e (1 - e) of the mean
    error e, to which sampling noise is proportional (LOG.md compares scales). That of each size is
    shrunk towards the pooled one, as if the latter were an observation of ``PRIOR_FREEDOM`` degrees
    of freedom (moderated variance: Smyth 2004, section 3, https://doi.org/10.2202/1544-6115.1027;
    of a dispersion: Lund et al. 2012). Student's t then has the degrees of freedom of both, and at
    most those of all sizes together, as in limma. Smyth estimates the prior's degrees of freedom
    from thousands of variances; five sizes cannot, and such intervals would be too narrow
    (tests/test_metrics.py), so that they are fixed. The part of the seeds and Wilson's interval
    for the test images, which all runs share, add in quadrature as in :func:`mean_interval`.

    Parameters
    ----------
    errors : sequence of sequence of float
        Of each size: the error of every run.
    num_test : float or sequence of float
        Test images, as in :func:`wilson_interval`; several: of each size.
    level : float
        Of the intervals.

    Returns
    -------
    list of tuple of float
        Lower and upper end per size; Wilson's where no size has two runs.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    means = [sum(runs) / len(runs) for runs in errors]
    counts = np.broadcast_to(num_test, len(means)).tolist()
    tests = [wilson_interval(mean, n, z) for mean, n in zip(means, counts, strict=True)]
    rates = (np.array(means) * counts + 0.5) / (np.array(counts) + 1)  # above 0 at zero errors
    seeds = _seed_half_widths(errors, rates * (1 - rates), level)
    if seeds is None:
        return tests
    return [_in_quadrature(*parts) for parts in zip(means, tests, seeds, strict=True)]


def _seed_half_widths(
    values: Sequence[Sequence[float]], scales: NDArray[np.float64], level: float
) -> list[float] | None:
    """Half widths of the intervals of means over seeds, from a variance pooled over the sizes.

    Parameters
    ----------
    values : sequence of sequence of float
        Of each size: one per seed.
    scales : ndarray of shape (sizes,)
        What the variance is proportional to.
    level : float

    Returns
    -------
    list of float, or None
        None where no size has two seeds.
    """
    from scipy.special import stdtrit

    num_runs = np.array([len(runs) for runs in values])
    freedom, total = num_runs - 1, int(num_runs.sum()) - len(values)
    if total == 0:
        return None
    means = [sum(runs) / len(runs) for runs in values]
    squares = np.array(
        [sum((run - mean) ** 2 for run in runs) for runs, mean in zip(values, means, strict=True)]
    )
    squares /= scales
    prior = PRIOR_FREEDOM * squares.sum() / total
    variances = (prior + squares) / (PRIOR_FREEDOM + freedom) * scales
    quantiles = stdtrit(np.minimum(PRIOR_FREEDOM + freedom, total), (1 + level) / 2)
    half_widths: list[float] = (quantiles * np.sqrt(variances / num_runs)).tolist()
    return half_widths


def paired_intervals(
    pairs: Sequence[Sequence[tuple[float, float]]],
    num_test: int | NDArray[np.float64],
    correlation: float = 0.0,
    level: float = 0.9,
) -> list[tuple[float, float, float]] | None:
    """Differences of two errors at several sizes, paired by seed and test image.

    Runs of one seed share their training subset, so that the differences of each seed are
    taken; their variance is pooled over the sizes as in :func:`pooled_intervals`. The test images
    are the same: twice the covariance of the answers to them is not in the variance.

    Parameters
    ----------
    pairs : sequence of sequence of tuple of float
        Of each size: the errors of the baseline and of the option, for each common seed.
    num_test : int or ndarray of shape (sizes, 2)
        Test images, as in :func:`wilson_interval`; an array: of the baseline and the option.
    correlation : float
        Of right and wrong answers between the two; 0 if it is not known.
    level : float
        Of the intervals.

    Returns
    -------
    list of tuple of float, or None
        Mean difference, option minus baseline, and its interval; None where no size has two pairs.
    """
    from scipy.special import ndtri

    means = np.array([np.mean(runs, axis=0) for runs in pairs])  # (sizes, 2)
    rates = (means * num_test + 0.5) / (num_test + 1)
    deviations = np.sqrt(rates * (1 - rates) / num_test)
    scales = (deviations**2).sum(axis=1)
    differences = [[option - baseline for baseline, option in runs] for runs in pairs]
    seeds = _seed_half_widths(differences, scales, level)
    if seeds is None:
        return None
    tests = float(ndtri((1 + level) / 2)) * np.sqrt(
        scales - 2 * correlation * deviations.prod(axis=1)
    )
    rows = zip(means[:, 1] - means[:, 0], np.hypot(seeds, tests), strict=True)
    return [(float(mean), float(mean - half), float(mean + half)) for mean, half in rows]


def _in_quadrature(mean: float, test: tuple[float, float], seeds: float) -> tuple[float, float]:
    """Widen an interval of test sampling noise by the half width of that of the seeds."""
    return (
        max(0.0, mean - math.hypot(mean - test[0], seeds)),
        min(1.0, mean + math.hypot(test[1] - mean, seeds)),
    )


def chance_error(labels: NDArray[np.int64], k: int = 1) -> float:
    """Top-k error of always predicting the ``k`` most frequent classes: the chance level."""
    counts = np.sort(np.bincount(labels))[::-1]
    return float(1 - counts[:k].sum() / len(labels))


def beats_chance(errors: Sequence[float], chance: float, n: float) -> bool:
    """Whether the runs of one size are together better than chance (one-sided, p < 0.001).

    The mean error is tested as if a single run had made it on the ``n`` images that all runs share
    (binomial test). Whatever the correlation of runs that answer the same images, the variance of
    their mean is at most that of one run, so that the test is conservative; and the luckier runs of
    a size can no longer stand for it alone (selection bias).

    Parameters
    ----------
    errors : sequence of float
        Of every run of the size, shares.
    chance : float
        Error at chance level, a share.
    n : float
        Test images, as in :func:`wilson_interval`; rounded down.
    """
    from scipy.special import bdtr

    n = int(n)
    wrong = math.ceil(round(n * sum(errors) / len(errors), 6))  # never better than the mean
    return bool(bdtr(wrong, n, chance) < UNTRAINED_P)
