"""Calibration of probabilities: reliability bins, expected calibration error. Pure; no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NUM_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of (nearly) equal mass; arrays of shape (bins,)."""

    confidence: Array  # mean probability of the predicted class
    accuracy: Array  # share of correct predictions
    count: NDArray[np.int64]  # images

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean of |confidence - accuracy|, weighted by images."""
        gap = np.abs(self.confidence - self.accuracy)
        return float(np.average(gap, weights=self.count))


def probabilities(logits: NDArray[np.float32]) -> Array:
    """Softmax of logits (n, classes), in double precision."""
    from scipy.special import softmax

    shares: Array = softmax(logits.astype(np.float64), axis=1)
    return shares


def negative_log_likelihood(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean of -log p(true class), in nats per image.

    Parameters
    ----------
    logits : ndarray of shape (n, classes)
    labels : ndarray of shape (n,)
    """
    from scipy.special import log_softmax

    log_probabilities: Array = log_softmax(logits.astype(np.float64), axis=1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def reliability(
    logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = NUM_BINS
) -> Reliability:
    """Compare the confidence of predictions with their accuracy.

    Bins lie between quantiles of the confidence. Equal confidences share a bin, so that the order
    of the images does not matter; empty bins are left out.

    Parameters
    ----------
    logits : ndarray of shape (n, classes)
    labels : ndarray of shape (n,)
    bins : int
    """
    shares = probabilities(logits)
    confidence, correct = shares.max(axis=1), shares.argmax(axis=1) == labels
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1])
    bin_of_image = np.searchsorted(edges, confidence)  # (n,)
    count = np.bincount(bin_of_image, minlength=bins)
    sums = [np.bincount(bin_of_image, values, minlength=bins) for values in (confidence, correct)]
    mean_confidence, accuracy = (total[count > 0] / count[count > 0] for total in sums)
    return Reliability(mean_confidence, accuracy, count[count > 0])
