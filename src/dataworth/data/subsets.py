"""Which images belong to a subset. Pure: labels, a size and a seed in, indices out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Indices = NDArray[np.int64]
STREAM = 0x5EED_0001  # keeps these draws apart from every other use of the same seed


def stratified_order(labels: Indices, seed: int) -> Indices:
    """Order a data set so that *every* prefix is a stratified subset.

    The ``r``-th image (from 0, in a seeded random order) of a class with ``m`` images stands at
    ``(r + 1/2) / m``; equal positions are ordered at random. Webster's divisor method, so the
    subsets, being prefixes, are nested, and no class gains an image when the size shrinks
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
    """Images in a subset of ``n``: a share, to the nearest whole number (halves up), or a count."""
    return size if isinstance(size, int) else math.floor(size * n + 0.5)


def subset_indices(labels: Indices, size: float | int, seed: int) -> Indices:
    """Pick a stratified subset of a data set.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    size : float in (0, 1] or int
        A share of the ``n`` images, or (int) their number.
    seed : int

    Returns
    -------
    int64 ndarray of shape (num_images(size, n),)
        Sorted, so that reading follows the order on disk.

    Raises
    ------
    InputError
        If there are not so many images, or a class would have none.
    """
    n, count = len(labels), num_images(size, len(labels))
    if count > n:
        raise InputError(f"--subset-sizes: {size} images asked, but the training split has {n}")
    order = stratified_order(labels, seed)
    _, first = np.unique(labels[order], return_index=True)
    smallest = int(first.max()) + 1
    if count < smallest:
        share = math.ceil(smallest / n * 1e6) / 1e6
        raise InputError(
            f"--subset-sizes: {size} is {count} images and leaves "
            f"{int((first >= count).sum())} of {len(first)} classes empty; "
            f"the smallest valid size for seed {seed} is {smallest} images, a share of {share:g}"
        )
    return np.sort(order[:count])


def composition(
    labels: Indices, sizes: Sequence[float | int], seed: int
) -> list[dict[str, float | int]]:
    """Describe each subset: its size, images, and the smallest and largest class.

    Raises
    ------
    InputError
        As :func:`subset_indices`, and if two sizes mean the same number of images.
    """
    rows: list[dict[str, float | int]] = []
    for size in sizes:
        counts = np.bincount(labels[subset_indices(labels, size, seed)])
        row = {"size": size, "images": int(counts.sum())}
        present = counts[np.bincount(labels) > 0]
        row |= {"per class, min": int(present.min()), "per class, max": int(present.max())}
        if twin := next((old for old in rows if old["images"] == row["images"]), None):
            raise InputError(
                f"--subset-sizes: {twin['size']} and {size} are both {row['images']} images"
            )
        rows.append(row)
    return sorted(rows, key=lambda row: row["images"])
