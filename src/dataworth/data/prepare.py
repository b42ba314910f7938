"""Prepared data: a data set with its cached pixels, bad images left out."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Machine, Recipe
from ..storage.files import read_stored, write_json
from ..storage.study_directory import DataSummary, Duplicates, UnusedFiles
from .cache import (
    VERSION,
    bad_rows,
    build_cache,
    check_bad_images,
    open_array,
    remove_leftovers,
)
from .contents import content_digest, remember_contents
from .datasets import ImageDataset, load
from .decoding import Pixels
from .groups import PAIRS, shared_groups
from .normalisation import CHANNEL_STATS, ChannelStats, channel_stats, parse_channel_stats
from .splits import drop_rows

MAX_LISTED = 20  # bad images named in a note; the manifest has all


@dataclass(frozen=True)
class PreparedData:
    """A data set with the pixels of its images."""

    dataset: ImageDataset
    images: Mapping[str, Pixels]  # source -> (n, side, side, 3), read-only memory map
    digests: Mapping[str, Pixels]  # source -> (n, 32), SHA-256 of each encoded image
    folder: Path | None = None  # of the cache; None: the pixels exist only in memory

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without pixels: the receiving process opens the cache."""
        if self.folder is None:
            return PreparedData, (self.dataset, self.images, self.digests)
        dataset = replace(self.dataset, tables={}, files=None)
        return _open_cache, (dataset, self.folder, tuple(self.images))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the labels and of every encoded image: the identity of the data."""
        digest = hashlib.sha256(self.dataset.labels_digest.encode())
        for source in sorted(self.digests):
            digest.update(source.encode() + self.digests[source].tobytes())
        return digest.hexdigest()

    def channel_stats(self, normalise: str) -> ChannelStats:
        """Return the channel means and deviations that ``--normalise`` names."""
        return CHANNEL_STATS.get(normalise) or self._train_stats

    @cached_property
    def _train_stats(self) -> ChannelStats:
        """Statistics of the training images, stored beside the cached pixels."""
        split = self.dataset.splits["train"]
        measure = partial(channel_stats, self.images[split.source], split.rows)
        if self.folder is None:
            return measure()
        rows_digest = hashlib.sha256(split.rows.astype("<i8").tobytes()).hexdigest()[:12]
        path = self.folder / split.source / f"moments-{rows_digest}.json"
        try:
            return parse_channel_stats(*json.loads(read_stored(path)))
        except (OSError, ValueError, TypeError, RecursionError):  # missing or damaged
            stats = measure()
            if os.access(path.parent, os.W_OK):
                write_json(path, stats)
            return stats

    def duplicates(self, first: str, second: str) -> int:
        """Count the images of split ``second`` that are also in split ``first``, byte for byte."""
        return int(self._is_in(second, first).sum())

    @cached_property
    def distinct_test(self) -> NDArray[np.bool_]:
        """Whether each test image is in no other split, byte for byte; shape (n,)."""
        return ~(self._is_in("test", "train") | self._is_in("test", "validation"))

    @cached_property
    def distinct_validation(self) -> NDArray[np.bool_]:
        """Whether each validation image is not in test, byte for byte; shape (n,)."""
        return ~self._is_in("validation", "test")

    def _is_in(self, name: str, other: str) -> NDArray[np.bool_]:
        digests, others = (
            np.ascontiguousarray(self.digests[split.source][split.rows]).view("S32")[:, 0]
            for split in (self.dataset.splits[name], self.dataset.splits[other])
        )
        return np.isin(digests, others)

    def summary(self) -> DataSummary:
        """Return what study.json and metrics.json say about the data."""
        dataset = self.dataset
        groups = {role: split.num_groups for role, split in dataset.splits.items()}
        grouped: Mapping[str, Any] = {
            "groups": groups,
            "shared_groups": shared_groups(dataset.splits),
        }
        return DataSummary(
            revision=dataset.revision,
            splits={role: len(split) for role, split in dataset.splits.items()},
            notes=dataset.notes,
            classes=dataset.classes,
            duplicates=tuple(
                Duplicates(split=second, also_in=first, num_images=self.duplicates(first, second))
                for first, second in PAIRS
            ),
            unused_files=tuple(
                UnusedFiles(reason=reason, num_files=n) for reason, n in dataset.unused.items()
            ),
            **(grouped if any(groups.values()) else {}),
        )


def cache_side(image_size: int) -> int:
    """Side of the cached images: 256 for an input of 227, as in Krizhevsky et al. (2012)."""
    return round(image_size * 256 / 227)


@lru_cache(maxsize=2)
def load_dataset(recipe: Recipe) -> ImageDataset:
    """Load the recipe's data set, once per process."""
    return load(recipe)


def open_data(recipe: Recipe, machine: Machine) -> PreparedData:
    """Open the recipe's data, once per process; build the cache if it is missing or damaged.

    Raises
    ------
    InputError
        If the data cannot be read, an image is bad, or the disk is too small.
    """
    dataset, folder = load_dataset(recipe), _folder(recipe, machine)
    data = _open(
        dataset, folder, cache_side(recipe.image_size), machine.workers, recipe.on_bad_image
    )
    if dataset.files:
        remember_contents(dataset.files, machine.cache_dir)
    return data


def missing_splits(dataset: ImageDataset, recipe: Recipe, machine: Machine) -> list[str]:
    """Return the published splits without a cache; one that exists is verified on opening.

    Parameters
    ----------
    dataset : ImageDataset
    recipe : Recipe
        Of the data set; its input size is part of the cache's name.
    machine : Machine
        Its ``cache_dir``.
    """
    folder = _folder(recipe, machine)
    return [s for s in dataset.tables if not (folder / s / "manifest.json").exists()]


def remove_cache_leftovers(recipe: Recipe, machine: Machine) -> None:
    """Remove what killed commands left in the recipe's cache, before its disk space is checked."""
    remove_leftovers(_folder(recipe, machine))


def _folder(recipe: Recipe, machine: Machine) -> Path:
    dataset, side = load_dataset(recipe), cache_side(recipe.image_size)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", Path(dataset.name).name)
    contents = content_digest(dataset.files, machine.cache_dir) if dataset.files else ""
    digest = hashlib.sha256(f"{contents}{dataset.fingerprint}".encode()).hexdigest()[:12]
    folder = machine.cache_dir / f"{slug}-{digest}-{side}px-v{VERSION}"
    return Path(os.path.realpath(folder))  # the user's links, also one whose target is to be made


@lru_cache(maxsize=2)
def _open(
    dataset: ImageDataset, folder: Path, side: int, workers: int, on_bad: str
) -> PreparedData:
    build_cache(folder, dataset, side, workers, on_bad)
    bad = {source: bad_rows(folder / source) for source in dataset.tables}
    return _open_cache(_drop_bad_images(dataset, bad, on_bad), folder, tuple(dataset.tables))


def _open_cache(dataset: ImageDataset, folder: Path, sources: Sequence[str]) -> PreparedData:
    images, digests = (
        {s: open_array(folder / s / f"{kind}.npy") for s in sources}
        for kind in ("images", "digests")
    )
    return PreparedData(dataset, images, digests, folder)


def _drop_bad_images(
    dataset: ImageDataset, bad: Mapping[str, Mapping[int, str]], on_bad: str
) -> ImageDataset:
    """Drop the bad images from every split, with a note for each published split.

    Raises
    ------
    InputError
        If ``on_bad`` is error, or too many are bad.
    """
    notes, unused = [], Counter(dataset.unused)
    for source, rows in bad.items():
        check_bad_images(dataset, source, rows, on_bad)
        if rows:
            listed = [f"row {row} ({reason})" for row, reason in rows.items()]
            more = [f"and {len(rows) - MAX_LISTED} more"] if len(rows) > MAX_LISTED else []
            reasons = ", ".join(listed[:MAX_LISTED] + more)
            notes.append(f"{len(rows)} bad images of {source} are skipped: {reasons}")
            kinds = (reason.split(":")[0] for reason in rows.values())
            unused.update(f"bad image of {source}: {kind}" for kind in kinds)
    if not notes:
        return dataset
    splits = drop_rows(dataset.name, dataset.splits, bad, len(dataset.classes))
    return replace(dataset, splits=splits, notes=(*dataset.notes, *notes), unused=unused)
