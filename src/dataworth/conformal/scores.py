"""Split conformal prediction: nonconformity scores, thresholds and prediction sets. Pure.

A method gives every class of an image a nonconformity score, low for a likely class. The threshold
is an order statistic of the scores of the calibration images' true classes (Vovk et al. 2005). A
prediction set contains all classes whose score is at most the threshold; it misses the true class
with probability at most alpha if calibration and new images are exchangeable. Sets may be empty:
then no class is likely enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
PENALTY, FREE_RANKS = 0.01, 5  # of RAPS: Angelopoulos et al. (2021), not tuned


def lac_scores(shares: Array, _draws: Array) -> Array:
    """Least ambiguous sets, 1 - p: smallest on average (Sadinle, Lei and Wasserman 2019)."""
    return 1 - shares


def aps_scores(shares: Array, draws: Array) -> Array:
    """Adaptive sets: probability up to this class, less a random part (Romano et al. 2020)."""
    order = np.argsort(-shares, axis=1, kind="stable")
    ordered = np.take_along_axis(shares, order, axis=1)
    mass = ordered.cumsum(axis=1) - draws[:, None] * ordered
    return _unordered(mass, order)


def raps_scores(shares: Array, draws: Array) -> Array:
    """Regularised APS: a penalty on ranks beyond the fifth (Angelopoulos et al. 2021)."""
    order = np.argsort(-shares, axis=1, kind="stable")
    beyond = np.maximum(np.arange(1, shares.shape[1] + 1) - FREE_RANKS, 0)
    penalty = np.broadcast_to(PENALTY * beyond, shares.shape)
    return aps_scores(shares, draws) + _unordered(penalty, order)


def _unordered(values: Array, order: NDArray[np.intp]) -> Array:
    """Scatter values per rank to the classes of these ranks."""
    out = np.empty_like(values)
    np.put_along_axis(out, order, values, axis=1)
    return out


METHODS: dict[str, Callable[[Array, Array], Array]] = {
    "lac": lac_scores,
    "aps": aps_scores,
    "raps": raps_scores,
}


def rank_needed(n: int, alpha: float) -> int:
    """Rank, from 1, of the calibration score that is the threshold; above ``n``, sets are full."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must be above 0 and below 1")
    return math.ceil(round((n + 1) * (1 - alpha), 9))  # 20 * 0.95 must be 19


def threshold(scores: Array, alpha: float) -> float:
    """Threshold of calibration scores (n,); infinity where they are too few for ``alpha``."""
    rank = rank_needed(len(scores), alpha)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def marginal_threshold(scores: Array, labels: Labels, alpha: float) -> Array:
    """One threshold for all classes: coverage is guaranteed on average over images.

    Parameters
    ----------
    scores : ndarray of shape (n, classes)
    labels : ndarray of shape (n,)
    alpha : float

    Returns
    -------
    ndarray of shape (1,)
    """
    true = scores[np.arange(len(labels)), labels]
    return np.array([threshold(true, alpha)])


def class_thresholds(scores: Array, labels: Labels, alpha: float) -> Array:
    """One threshold per true class, shape (classes,): coverage is guaranteed within each.

    Parameters
    ----------
    scores : ndarray of shape (n, classes)
    labels : ndarray of shape (n,)
    alpha : float
    """
    true = scores[np.arange(len(labels)), labels]
    return np.array([threshold(true[labels == k], alpha) for k in range(scores.shape[1])])


MODES: dict[str, Callable[[Array, Labels, float], Array]] = {
    "marginal": marginal_threshold,
    "class_conditional": class_thresholds,
}


def prediction_sets(scores: Array, thresholds: Array) -> NDArray[np.bool_]:
    """Membership of classes in each set, (n, classes), given thresholds (classes,) or (1,)."""
    return scores <= thresholds
