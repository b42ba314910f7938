"""Label noise: a share of the training labels is replaced by other classes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..storage.identity import fingerprint
from .splits import Split
from .subsets import Indices, stratified_order

STREAM = 0x5EED_0007  # keeps these draws apart from every other use of the same seed
GOLDEN = (5**0.5 - 1) / 2


def noisy_labels(labels: Indices, share: float, seed: int) -> Indices:
    """Return the labels of a training set after symmetric label noise.

    Each image draws a number in [0, 1) and a wrong class, uniformly among the other classes that
    the training set has; its label is wrong where the number is below ``share``. Both are a
    function of the image and the seed: a subset has the wrong labels of every larger one, and a
    larger share keeps those of a smaller one.

    The ``r``-th image of a class, in the order of :func:`~.subsets.stratified_order`, draws
    ``(u + r * golden ratio) mod 1``, with one random ``u`` per class: an additive recurrence of low
    discrepancy (Kuipers and Niederreiter, *Uniform Distribution of Sequences*, 1974). So every
    subset has the share in each class up to rounding, by one or two images, where independent draws
    would deviate by the square root of their number.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
        Class of each image of the whole training set.
    share : float in [0, 1)
    seed : int
        Of the run, as for its subset.

    Returns
    -------
    int64 ndarray of shape (n,)
    """
    order = stratified_order(labels, seed)
    classes, codes = np.unique(labels, return_inverse=True)
    by_class = order[np.argsort(codes[order], kind="stable")]
    sizes = np.bincount(codes)
    bits = np.random.PCG64(np.random.SeedSequence([STREAM, seed]))
    offsets = bits.random_raw(len(classes)) / 2.0**64
    ranks = np.concatenate([np.arange(m) for m in sizes])
    draws = np.empty(len(labels))
    draws[by_class] = (np.repeat(offsets, sizes) + ranks * GOLDEN) % 1
    steps = 1 + (bits.random_raw(len(labels)) % np.uint64(len(classes) - 1)).astype(np.int64)
    wrong = classes[(codes + steps) % len(classes)]
    return np.where(draws < share, wrong, labels)


def training_subset(train: Split, indices: Indices, share: float, seed: int) -> Split:
    """Return the images that a run trains on, with its wrong labels.

    Parameters
    ----------
    train : Split
        The whole training split.
    indices : int64 ndarray of shape (n,)
        Positions within it.
    share : float in [0, 1)
        Of wrong labels; 0 leaves all labels as they are.
    seed : int
        Of the run.
    """
    if share:
        train = replace(train, labels=noisy_labels(train.labels, share, seed))
    return train.take(indices)


def noise_identity(
    train: Split, indices: Indices, share: float, seed: int
) -> Mapping[str, int | str]:
    """Return what label noise adds to the identity of a run: how many labels it changes, and which.

    Parameters
    ----------
    train, indices, share, seed
        As in :func:`training_subset`.
    """
    if not share:
        return {}
    noisy = training_subset(train, indices, share, seed).labels
    num_changed = int((noisy != train.labels[indices]).sum())
    return {"num_changed_labels": num_changed, "labels_sha256": fingerprint(noisy)}
