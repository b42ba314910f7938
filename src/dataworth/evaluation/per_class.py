"""Per-class scores, and the gain of each class from more training images. Pure; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .added_records import AverageScores, ClassScores
from .intervals import Z, effective_images

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
SATURATED = 0.05  # a class whose drop is significantly below this share is called saturated
NUM_RESAMPLES = 9999  # of the bootstrap; with the sample itself 10,000


@dataclass(frozen=True)
class Classification:
    """Confusion matrix, and precision, recall and F1 with their averages."""

    confusion_matrix: Labels  # (classes, classes) numbers of images; rows are true classes
    per_class: ClassScores
    macro: AverageScores  # all classes with test images count the same
    weighted: AverageScores  # by test images


def classification(predicted: Labels, labels: Labels, num_classes: int) -> Classification:
    """Confusion matrix, precision, recall and F1 of one model.

    A class that is never predicted has precision 0.

    Parameters
    ----------
    predicted, labels : int64 ndarrays of shape (n,)
    num_classes : int
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    def average(kind: str) -> AverageScores:
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, predicted, labels=np.unique(labels), average=kind, zero_division=0
        )
        return AverageScores(precision=float(precision), recall=float(recall), f1=float(f1))

    classes = np.arange(num_classes)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=classes, average=None, zero_division=0
    )
    return Classification(
        confusion_matrix(labels, predicted, labels=classes),
        ClassScores(
            precision=tuple(precision.tolist()),
            recall=tuple(recall.tolist()),
            f1=tuple(f1.tolist()),
        ),
        average("macro"),
        average("weighted"),
    )


def class_errors(wrong: Array, labels: Labels, num_classes: int) -> Array:
    """Mean of ``wrong`` within each class, shape (classes,); NaN for a class without images.

    Parameters
    ----------
    wrong : ndarray of shape (n,)
        1 for a wrong prediction, 0 for a correct one, or the mean over seeds.
    labels : ndarray of shape (n,)
    num_classes : int
    """
    count = np.bincount(labels, minlength=num_classes)
    total = np.bincount(labels, wrong, minlength=num_classes)
    mean = np.full(num_classes, np.nan)
    mean[count > 0] = total[count > 0] / count[count > 0]
    return mean


def paired_drop(
    drop: Array, groups: Labels | None = None, seed: int = 0
) -> tuple[float, float, float]:
    """Mean drop of the error between two sizes, with its 95 % interval over test images.

    Both sizes were tested on the same images, so that images are resampled in pairs (percentile
    bootstrap), or groups of images where there are groups (cluster bootstrap); the variation
    between training seeds is not in the interval.

    Parameters
    ----------
    drop : ndarray of shape (n,)
        Error at the smaller size minus error at the larger one, per test image.
    groups : int64 ndarray of shape (n,) or None
        A single one leaves the drop unknown, from -1 to 1.
    seed : int
        Of the bootstrap.
    """
    from scipy.stats import bootstrap

    mean = float(drop.mean())
    if (drop == drop[0]).all():
        return mean, mean, mean
    rng = np.random.default_rng(seed)
    samples: tuple[Array, ...] = (drop,)
    statistic: Callable[..., Array] = np.mean
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        samples = tuple(np.bincount(codes, each).astype(float) for each in (drop, None))
        statistic = _ratio
        if len(samples[0]) == 1:
            return mean, -1.0, 1.0
    interval = bootstrap(
        samples, statistic, n_resamples=NUM_RESAMPLES, batch=200, method="percentile", rng=rng,
        paired=groups is not None,
    ).confidence_interval  # fmt: skip
    return mean, float(interval.low), float(interval.high)


def _ratio(totals: Array, sizes: Array, axis: int = -1) -> Array:
    """Mean over the images of groups, from their sums and sizes."""
    ratio: Array = totals.sum(axis=axis) / sizes.sum(axis=axis)
    return ratio


def class_drops(
    drop: Array, labels: Labels, num_classes: int, groups: Labels | None = None
) -> tuple[Array, Array, Array]:
    """Drop of each class's error and its 95 % interval, arrays of shape (classes,).

    For matched pairs of few images, Agresti and Min (2005) add half an image to each of the four
    cells, so that no change in 50 images is not taken for certainty. Images in groups count as
    their effective number.

    Parameters
    ----------
    drop : ndarray of shape (n,)
        As in :func:`paired_drop`.
    labels : ndarray of shape (n,)
    num_classes : int
    groups : int64 ndarray of shape (n,) or None
    """
    count = np.bincount(labels, minlength=num_classes)
    effective = count.astype(float)
    if groups is not None:
        for label in np.flatnonzero(count):
            effective[label] = effective_images(drop[labels == label], groups[labels == label])
    weight, n = effective / np.maximum(count, 1), effective + 2
    mean = weight * np.bincount(labels, drop, minlength=num_classes) / n
    square = (weight * np.bincount(labels, drop**2, minlength=num_classes) + 1) / n
    half = Z * np.sqrt((square - mean**2) / n)
    return class_errors(drop, labels, num_classes), mean - half, mean + half


def verdict(low: float, high: float) -> str:
    """Whether a class still gains from more images, by the interval of its last drop."""
    if low > 0:
        return "gains"
    return "saturated" if high < SATURATED else "undecided"


def verdicts_in_words(verdicts: Sequence[str]) -> str:
    """Count the verdicts of the last step, and the gains expected by chance alone."""
    counts, total = Counter(verdicts), len(verdicts)
    return (
        f"In the last step {counts['gains']} of {total} classes still gain, saturated "
        f"(significantly below {100 * SATURATED:.0f} points): {counts['saturated']}, undecided: "
        f"{counts['undecided']}; {total / 40:.1f} would seem to gain by chance alone."
    )


def seed_means(values: Mapping[int, list[Array]]) -> dict[int, Array]:
    """Mean over the seeds of each size; keys are training images, ascending."""
    return {size: np.mean(values[size], axis=0) for size in sorted(values)}
