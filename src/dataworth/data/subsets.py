"""Nested stratified subsets of a labelled data set. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Indices = NDArray[np.int64]
STREAM = 0x5EED_0001  # keeps these draws apart from every other use of the same seed


def stratified_order(labels: Indices, seed: int, groups: Indices | None = None) -> Indices:
    """Return a random order of a data set in which *every* prefix is a stratified subset.

    The ``r``-th image (from 0, in a seeded random order) of a class with ``m`` images has the
    position ``(r + 1/2) / m``; ties are broken at random. This is Webster's divisor method:
    subsets are prefixes and therefore nested, and no class gains an image when the size shrinks
    (Balinski and Young, *Fair Representation*, 1982). Only raw bits of PCG64 are drawn, whose
    stream numpy guarantees (NEP 19): the order is the same on every machine and version.

    With groups, the images of a group stay together, on disk order. A group belongs to its most
    frequent class (the first of several), and has the position of its middle: images of the groups
    before it in its class plus half of its own, over all images of these groups. In every prefix of
    whole groups a class is then at most half of its largest group away from its share, if no group
    has images of two classes. Groups of one image each give the order without groups.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
        Class of each image.
    seed : int
        Non-negative; different seeds give independent orders.
    groups : int64 ndarray of shape (n,) or None
        Group of each image; only equality counts.

    Returns
    -------
    int64 ndarray of shape (n,)
        A permutation of ``range(n)``.
    """
    if groups is None:
        return _order_of_units(labels, np.ones(len(labels), np.int64), seed)
    codes = _by_first_image(groups)
    order = _order_of_units(_most_frequent_classes(labels, codes), np.bincount(codes), seed)
    return np.argsort(np.argsort(order)[codes], kind="stable")


def _order_of_units(classes: Indices, sizes: Indices, seed: int) -> Indices:
    """Order units, images or groups, by the position of their middle within their class."""
    bits = np.random.PCG64(np.random.SeedSequence([STREAM, seed]))
    within, between = (bits.random_raw(len(classes)) for _ in range(2))
    by_class = np.lexsort((within, classes))
    sizes = sizes[by_class]
    starts, counts = np.unique(classes[by_class], return_index=True, return_counts=True)[1:]
    ends = np.cumsum(sizes)
    before = ends - sizes
    first = before[starts]  # images of the classes before
    totals = np.append(first, ends[-1:])[1:] - first
    position = np.empty(len(classes))
    position[by_class] = (before - np.repeat(first, counts) + sizes / 2) / np.repeat(totals, counts)
    return np.lexsort((between, position))


def _by_first_image(groups: Indices) -> Indices:
    """Renumber the groups from 0 in the order of their first images; shape (n,)."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[codes]


def _most_frequent_classes(labels: Indices, codes: Indices) -> Indices:
    """Return the most frequent class of each group, the first of several; shape (groups,)."""
    pairs, counts = np.unique(codes * (labels.max() + 1) + labels, return_counts=True)
    codes, labels = np.divmod(pairs, labels.max() + 1)
    order = np.lexsort((labels, -counts, codes))
    return labels[order][np.unique(codes[order], return_index=True)[1]]


def num_images(size: float | int, n: int) -> int:
    """Images in a subset of ``n``: a count, or a share rounded to the nearest (halves up)."""
    return size if isinstance(size, int) else math.floor(size * n + 0.5)


def whole_groups(order: Indices, count: int, groups: Indices | None) -> int:
    """Images of the prefix of an order that is nearest to ``count`` and divides no group.

    Parameters
    ----------
    order : int64 ndarray of shape (n,)
        From :func:`stratified_order`.
    count : int
        Images, at least 1.
    groups : int64 ndarray of shape (n,) or None
        None: ``count`` itself.

    Returns
    -------
    int
        At least one group; of two prefixes equally near, the smaller one.
    """
    if groups is None:
        return count
    ends = _ends(order, groups)
    return int(ends[np.abs(ends - count).argmin()])


def _ends(order: Indices, groups: Indices) -> Indices:
    """Images of each prefix of an order that divides no group."""
    return np.append(np.flatnonzero(np.diff(groups[order])) + 1, len(order))


def subset_indices(
    labels: Indices, size: float | int, seed: int, groups: Indices | None = None
) -> Indices:
    """Return the indices of a stratified subset of a data set.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    size : float in (0, 1] or int
        A share of the ``n`` images, or (int) their number.
    seed : int
    groups : int64 ndarray of shape (n,) or None
        Group of each image; the subset takes whole groups.

    Returns
    -------
    int64 ndarray
        Sorted: the order on disk. ``num_images(size, n)`` of them without groups; with groups, as
        near to it as whole groups allow.

    Raises
    ------
    InputError
        If ``size`` exceeds the data set, or a class would be empty.
    """
    n, count = len(labels), num_images(size, len(labels))
    if count > n:
        raise InputError(f"--subset-sizes: {size} images requested, but the training split has {n}")
    order = stratified_order(labels, seed, groups)
    count = whole_groups(order, count, groups)
    _, first_positions = np.unique(labels[order], return_index=True)
    smallest = int(first_positions.max()) + 1
    if groups is not None:
        ends = _ends(order, groups)
        smallest = int(ends[np.searchsorted(ends, smallest)])
    if count < smallest:
        share = math.ceil(smallest / n * 1e6) / 1e6
        whole = "" if groups is None else " (whole groups)"
        raise InputError(
            f"--subset-sizes: {size} is {count} images{whole} and leaves "
            f"{int((first_positions >= count).sum())} of {len(first_positions)} classes empty; "
            f"the smallest valid size for seed {seed} is {smallest} images, a share of {share:g}"
        )
    return np.sort(order[:count])


def class_deviation(whole: Indices, part: Indices) -> float:
    """Largest difference between the shares of a class in two sets of images, in [0, 1].

    Parameters
    ----------
    whole, part : int64 ndarrays of shapes (n,) and (m,)
        Labels of a data set and of a subset.
    """
    counts = np.bincount(whole)
    differences = np.bincount(part, minlength=len(counts)) / len(part) - counts / len(whole)
    return float(np.abs(differences).max())


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
    labels: Indices, subsets: Mapping[float | int, Indices], groups: Indices | None = None
) -> list[dict[str, float | int]]:
    """Tabulate subsets that are drawn already, as :func:`composition` does.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    subsets : mapping of size to int64 ndarray
        Indices of each subset.
    groups : int64 ndarray of shape (n,) or None
        Adds the number of images asked for, that of groups, and :func:`class_deviation` in
        percentage points.

    Raises
    ------
    InputError
        If two sizes are the same number of images.
    """
    rows: list[dict[str, float | int]] = []
    for size, indices in subsets.items():
        counts = np.bincount(labels[indices])
        row: dict[str, float | int] = {"size": size}
        if groups is not None:
            row["images asked for"] = num_images(size, len(labels))
        row["images"] = int(counts.sum())
        if groups is not None:
            row["groups"] = len(np.unique(groups[indices]))
        present = counts[np.bincount(labels) > 0]
        row |= {"per class, min": int(present.min()), "per class, max": int(present.max())}
        if groups is not None:
            row["class share off by, points"] = round(
                100 * class_deviation(labels, labels[indices]), 2
            )
        if equal := next((other for other in rows if other["images"] == row["images"]), None):
            raise InputError(
                f"--subset-sizes: {equal['size']} and {size} are both {row['images']} images"
            )
        rows.append(row)
    return sorted(rows, key=lambda row: row["images"])
