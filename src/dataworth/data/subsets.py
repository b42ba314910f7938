"""Nested stratified subsets of a labelled data set. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Indices = NDArray[np.int64]
STREAM = 0x5EED_0001  # keeps these draws apart from every other use of the same seed


def stratified_order(labels: Indices, seed: int) -> Indices:
    """Return a random order of a data set in which *every* prefix is a stratified subset.

    The ``r``-th image (from 0, in a seeded random order) of a class with ``m`` images has the
    position ``(r + 1/2) / m``; ties are broken at random. This is Webster's divisor method:
    subsets are prefixes and therefore nested, and no class gains an image when the size shrinks
    (Balinski and Young, *Fair Representation*, 1982). Only raw bits of PCG64 are drawn, whose
    stream numpy guarantees (NEP 19): the order is the same on every machine and version.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
        Class of each image.
    seed : int
        Non-negative; different seeds give independent orders.

    Returns
    -------
    int64 ndarray of shape (n,)
        A permutation of ``range(n)``.
    """
    bits = np.random.PCG64(np.random.SeedSequence([STREAM, seed]))
    within, between = (bits.random_raw(len(labels)) for _ in range(2))
    by_class = np.lexsort((within, labels))
    sizes = np.unique(labels, return_counts=True)[1]
    ranks = np.concatenate([np.arange(m) for m in sizes]) if len(sizes) else np.empty(0)
    position = np.empty(len(labels))
    position[by_class] = (ranks + 0.5) / np.repeat(sizes, sizes)
    return np.lexsort((between, position))


def num_images(size: float | int, n: int) -> int:
    """Images in a subset of ``n``: a count, or a share rounded to the nearest (halves up)."""
    return size if isinstance(size, int) else math.floor(size * n + 0.5)


def subset_indices(labels: Indices, size: float | int, seed: int) -> Indices:
    """Return the indices of a stratified subset of a data set.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    size : float in (0, 1] or int
        A share of the ``n`` images, or (int) their number.
    seed : int

    Returns
    -------
    int64 ndarray of shape (num_images(size, n),)
        Sorted: the order on disk.

    Raises
    ------
    InputError
        If ``size`` exceeds the data set, or a class would be empty.
    """
    n, count = len(labels), num_images(size, len(labels))
    if count > n:
        raise InputError(f"--subset-sizes: {size} images requested, but the training split has {n}")
    order = stratified_order(labels, seed)
    _, first_positions = np.unique(labels[order], return_index=True)
    smallest = int(first_positions.max()) + 1
    if count < smallest:
        share = math.ceil(smallest / n * 1e6) / 1e6
        raise InputError(
            f"--subset-sizes: {size} is {count} images and leaves "
            f"{int((first_positions >= count).sum())} of {len(first_positions)} classes empty; "
            f"the smallest valid size for seed {seed} is {smallest} images, a share of {share:g}"
        )
    return np.sort(order[:count])


def composition(
    labels: Indices, sizes: Sequence[float | int], seed: int
) -> list[dict[str, float | int]]:
    """Tabulate each subset: its size, images, and the smallest and largest class.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    sizes : sequence of float or int
        Shares or counts, as in :func:`subset_indices`.
    seed : int

    Returns
    -------
    list of dict
        In order of their number of images.

    Raises
    ------
    InputError
        As :func:`subset_indices`, and if two sizes are the same number of images.
    """
    return describe_subsets(labels, {size: subset_indices(labels, size, seed) for size in sizes})


def describe_subsets(
    labels: Indices, subsets: Mapping[float | int, Indices]
) -> list[dict[str, float | int]]:
    """Tabulate subsets that are drawn already, as :func:`composition` does.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    subsets : mapping of size to int64 ndarray
        Indices of each subset.

    Raises
    ------
    InputError
        If two sizes are the same number of images.
    """
    rows: list[dict[str, float | int]] = []
    for size, indices in subsets.items():
        counts = np.bincount(labels[indices])
        row = {"size": size, "images": int(counts.sum())}
        present = counts[np.bincount(labels) > 0]
        row |= {"per class, min": int(present.min()), "per class, max": int(present.max())}
        if equal := next((other for other in rows if other["images"] == row["images"]), None):
            raise InputError(
                f"--subset-sizes: {equal['size']} and {size} are both {row['images']} images"
            )
        rows.append(row)
    return sorted(rows, key=lambda row: row["images"])
