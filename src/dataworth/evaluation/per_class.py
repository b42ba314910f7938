"""What each class gains: precision, recall, and the drop of its error with more images. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import Z

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
SATURATED = 0.05  # a drop surely below this share is called saturation
RESAMPLES = 9999  # of the bootstrap; with the sample itself 10,000


def classification(predicted: Labels, labels: Labels, num_classes: int) -> dict[str, Any]:
    """Confusion matrix (rows are true classes), precision, recall and F1 of one model.

    A class that is never predicted has precision 0.

    Parameters
    ----------
    predicted, labels : int64 ndarrays of shape (n,)

    Returns
    -------
    dict
        ``confusion_matrix``, ``per_class`` (lists over classes), and the averages ``macro`` (all
        classes with test images count the same) and ``weighted`` (by test images).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes, names = np.arange(num_classes), ("precision", "recall", "f1")

    def scores(average: str | None) -> list[Any]:
        averaged = classes if average is None else np.unique(labels)
        found = precision_recall_fscore_support(
            labels, predicted, labels=averaged, average=average, zero_division=0
        )
        return [value.tolist() if average is None else float(value) for value in found[:3]]

    return {
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
        "per_class": dict(zip(names, scores(None), strict=True)),
        "macro": dict(zip(names, scores("macro"), strict=True)),
        "weighted": dict(zip(names, scores("weighted"), strict=True)),
    }


def class_errors(wrong: Array, labels: Labels, num_classes: int) -> Array:
    """Mean of ``wrong`` (n,) within each class, shape (classes,); NaN for a class without images.

    Parameters
    ----------
    wrong : ndarray of shape (n,)
        1 for a wrong answer, 0 for a right one, or the mean over seeds.
    """
    count = np.bincount(labels, minlength=num_classes)
    total = np.bincount(labels, wrong, minlength=num_classes)
    mean = np.full(num_classes, np.nan)
    mean[count > 0] = total[count > 0] / count[count > 0]
    return mean


def paired_drop(drop: Array, seed: int = 0) -> tuple[float, float, float]:
    """Mean drop of the error between two sizes, with its 95 % interval over test images.

    Both sizes saw the same images, so that images are resampled in pairs (percentile bootstrap);
    what another training seed would change is not in the interval.

    Parameters
    ----------
    drop : ndarray of shape (n,)
        Error at the smaller size minus error at the larger one, per test image.
    """
    from scipy.stats import bootstrap

    mean = float(drop.mean())
    if (drop == drop[0]).all():
        return mean, mean, mean
    rng = np.random.default_rng(seed)
    found = bootstrap(
        (drop,), np.mean, n_resamples=RESAMPLES, batch=200, method="percentile", rng=rng
    ).confidence_interval
    return mean, float(found.low), float(found.high)


def class_drops(drop: Array, labels: Labels, num_classes: int) -> tuple[Array, Array, Array]:
    """Drop of each class's error and its 95 % interval, arrays of shape (classes,).

    Matched pairs of few images: Agresti and Min (2005) add half an image to each of the four
    outcomes, so that no change in 50 images is not taken for certainty.

    Parameters
    ----------
    drop : ndarray of shape (n,)
        As in :func:`paired_drop`.
    """
    n = np.bincount(labels, minlength=num_classes) + 2
    mean = np.bincount(labels, drop, minlength=num_classes) / n
    square = (np.bincount(labels, drop**2, minlength=num_classes) + 1) / n
    half = Z * np.sqrt((square - mean**2) / n)
    return class_errors(drop, labels, num_classes), mean - half, mean + half


def verdict(low: float, high: float) -> str:
    """Whether a class still gains from more images, by the interval of its last drop."""
    if low > 0:
        return "gains"
    return "saturated" if high < SATURATED else "undecided"


def verdicts_in_words(verdicts: Sequence[str]) -> str:
    """Say how many classes the last step served, and how many chance alone would name."""
    found, total = Counter(verdicts), len(verdicts)
    return (
        f"In the last step {found['gains']} of {total} classes still gain, saturated (surely "
        f"below {100 * SATURATED:.0f} points): {found['saturated']}, undecided: "
        f"{found['undecided']}; {total / 40:.1f} would seem to gain by chance alone."
    )


def wrong_by_size(wrong: Mapping[int, list[Array]]) -> dict[int, Array]:
    """Mean over the seeds of each size, per test image; keys are training images, ascending."""
    return {size: np.mean(wrong[size], axis=0) for size in sorted(wrong)}
