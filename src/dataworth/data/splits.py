"""Assignment of published splits to train, validation and test. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..config import Recipe
from ..errors import InputError
from .subsets import Indices, class_deviation, stratified_order, whole_groups

SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
HELD_OUT_SEED = 0  # the same held-out images for every study


@dataclass(frozen=True)
class Split:
    """Labelled images: rows of one published split."""

    source: str  # name of the split in the data set as published
    rows: Indices  # (n,) row of each image in the published split
    labels: Indices  # (n,) class of each image
    groups: Indices | None = None  # (n,) group of each image, the same number in every split

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_groups(self) -> int:
        """Number of groups; 0 if images are not grouped."""
        return 0 if self.groups is None else len(np.unique(self.groups))

    def take(self, positions: Indices) -> Split:
        """Return the images at ``positions``."""
        groups = None if self.groups is None else self.groups[positions]
        return Split(self.source, self.rows[positions], self.labels[positions], groups)


def assign_splits(
    published: Mapping[str, Split], recipe: Recipe, num_classes: int
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Choose train, validation and test; hold out part of train for what is missing.

    Parameters
    ----------
    published : mapping
        Name of a published split -> its images.
    recipe : Recipe
        Its ``validation_fraction`` is the share held out.
    num_classes : int

    Returns
    -------
    splits : dict
        train, validation, test.
    notes : tuple of str
        What was held out or substituted.

    Raises
    ------
    InputError
        If no split is named train, it has one class, or another has a class that it lacks.
    """
    notes = []
    by_role = {
        role: next((published[name] for name in names if name in published), None)
        for role, names in SPLIT_NAMES.items()
    }
    train, validation, test = (by_role[role] for role in SPLIT_NAMES)
    if train is None:
        names = ", ".join(published) or "none with labels"
        raise InputError(f"{recipe.dataset}: no split named train (found: {names})")
    if test is None:
        if validation is None:
            test, rest = _hold_out(train, recipe, "test")
            grouped = _describe_groups(test, train)
            notes.append(f"no test split: {len(test)} images of train serve as test{grouped}")
            train = rest
        else:
            test, validation = validation, None
            notes.append(f"no labelled test split: {test.source} ({len(test)} images) is the test")
    if validation is None:
        validation, rest = _hold_out(train, recipe, "validation")
        grouped = _describe_groups(validation, train)
        notes.append(f"validation: {len(validation)} images carved from train, stratified{grouped}")
        train = rest
    held_out = "".join(f"; {note}" for note in notes)
    others = {"validation": validation, "test": test}
    _check_classes(recipe.dataset, train, others, num_classes, held_out)
    return {"train": train, "validation": validation, "test": test}, tuple(notes)


def drop_rows(
    name: str, splits: Mapping[str, Split], rows: Mapping[str, Collection[int]], num_classes: int
) -> dict[str, Split]:
    """Drop rows from every split.

    Parameters
    ----------
    name : str
        Of the data set, for messages.
    splits : mapping
        Role -> images.
    rows : mapping
        Published split -> rows to drop.
    num_classes : int

    Raises
    ------
    InputError
        If a class of the training split has no image left.
    """
    remaining = {
        role: split.take(np.flatnonzero(~np.isin(split.rows, list(rows[split.source]))))
        for role, split in splits.items()
    }
    _check_classes(name, remaining["train"], splits, num_classes)
    return remaining


def _hold_out(train: Split, recipe: Recipe, role: str) -> tuple[Split, Split]:
    """Split ``train`` into a stratified held-out part and the remainder, groups undivided."""
    order = stratified_order(train.labels, HELD_OUT_SEED, train.groups)
    wanted = max(1, round(recipe.validation_fraction * len(order)))
    count = whole_groups(order, wanted, train.groups)
    if count == len(order):
        groups = f" (groups: {train.num_groups:,})" if train.num_groups else ""
        raise InputError(
            f"{recipe.dataset}: there is no {role} split, and making one of the {count:,} images "
            f"of train{groups} would leave none to train on"
        )
    return train.take(np.sort(order[:count])), train.take(np.sort(order[count:]))


def _describe_groups(part: Split, train: Split) -> str:
    """Describe the groups of a part that was held out, and how well it is stratified."""
    if part.groups is None:
        return ""
    points = 100 * class_deviation(train.labels, part.labels)
    return f" (whole groups: {part.num_groups:,}; class shares off by {points:.1f} points at most)"


def _check_classes(
    name: str, train: Split, others: Mapping[str, Split], num_classes: int, held_out: str = ""
) -> None:
    classes = np.unique(train.labels)
    if len(classes) < 2:
        raise InputError(
            f"{name}: the training split has {len(classes)} class; two are needed{held_out}"
        )
    for role, split in others.items():
        if len(unknown := np.setdiff1d(split.labels, classes)):
            raise InputError(
                f"{name}: {role} has images of {len(unknown)} classes that train lacks, "
                f"such as class {unknown[0]} of {num_classes}{held_out}"
            )
