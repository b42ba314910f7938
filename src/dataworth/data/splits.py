"""Which images train, validate and test. Pure: labelled splits in, labelled splits out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..config import Recipe
from ..errors import InputError
from .subsets import Indices, stratified_order

SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
CARVE_SEED = 0  # the same held-out images for every study


@dataclass(frozen=True)
class Split:
    """Labelled images: rows of a source table."""

    source: str  # name of the split in the data set as published
    rows: Indices  # (n,) row of each image in the source
    labels: Indices  # (n,) class of each image

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Indices) -> Split:
        """Return the images at ``positions``."""
        return replace(self, rows=self.rows[positions], labels=self.labels[positions])


def settle_splits(
    found: Mapping[str, Split], recipe: Recipe, num_classes: int
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Name the three splits; carve from train what is missing.

    Parameters
    ----------
    found : mapping
        Name of a published split -> its images.

    Returns
    -------
    splits : dict
        train, validation, test.
    notes : tuple of str
        What was done.

    Raises
    ------
    InputError
        If there is no train, or a split has a class that train lacks.
    """
    notes = []
    by_role = {
        role: next((found[name] for name in names if name in found), None)
        for role, names in SPLIT_NAMES.items()
    }
    train, validation, test = (by_role[role] for role in SPLIT_NAMES)
    if train is None:
        splits = ", ".join(found) or "none with labels"
        raise InputError(f"{recipe.dataset}: no split named train (found: {splits})")
    if test is None:
        if validation is None:
            test, train = _carve(train, recipe.validation_fraction)
            notes.append(f"no test split: {len(test)} images of train serve as test")
        else:
            test, validation = validation, None
            notes.append(f"no labelled test split: {test.source} ({len(test)} images) is the test")
    if validation is None:
        validation, train = _carve(train, recipe.validation_fraction)
        notes.append(f"validation: {len(validation)} images carved from train, stratified")
    _check_classes(recipe.dataset, train, {"validation": validation, "test": test}, num_classes)
    return {"train": train, "validation": validation, "test": test}, tuple(notes)


def drop_rows(
    name: str, splits: Mapping[str, Split], rows: Mapping[str, Collection[int]], num_classes: int
) -> dict[str, Split]:
    """Leave rows (source -> rows) out of every split.

    Raises
    ------
    InputError
        If a class of the training split has no image left.
    """
    kept = {
        role: split.take(np.flatnonzero(~np.isin(split.rows, list(rows[split.source]))))
        for role, split in splits.items()
    }
    _check_classes(name, kept["train"], splits, num_classes)
    return kept


def _carve(train: Split, fraction: float) -> tuple[Split, Split]:
    """Split ``train`` into a stratified held-out part and the rest."""
    order = stratified_order(train.labels, CARVE_SEED)
    count = max(1, round(fraction * len(order)))
    return train.take(np.sort(order[:count])), train.take(np.sort(order[count:]))


def _check_classes(name: str, train: Split, others: Mapping[str, Split], num_classes: int) -> None:
    known = np.unique(train.labels)
    if len(known) < 2:
        raise InputError(f"{name}: the training split has {len(known)} class; two are needed")
    for role, split in others.items():
        if len(unknown := np.setdiff1d(split.labels, known)):
            raise InputError(
                f"{name}: {role} has images of {len(unknown)} classes that train lacks, "
                f"such as class {unknown[0]} of {num_classes}"
            )
