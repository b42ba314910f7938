"""From encoded images to pixels that every run reads: the cache, opened; bad images left out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Machine, Recipe
from ..storage.files import write_json
from .cache import VERSION, bad_rows, check_bad, fill
from .datasets import ImageDataset, load
from .decoding import Pixels
from .moments import channel_moments
from .splits import drop_rows
from .transforms import IMAGENET, UNIT, Moments

LISTED = 20  # bad images that are named on the screen; the manifest names all


@dataclass(frozen=True)
class PreparedData:
    """A data set whose images are ready as pixels."""

    dataset: ImageDataset
    images: Mapping[str, Pixels]  # source -> (n, side, side, 3), read-only memory map
    digests: Mapping[str, Pixels]  # source -> (n, 32)
    folder: Path | None = None  # of the cache, where there is one

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process without pixels: the cache is opened there, not built."""
        if self.folder is None:
            return PreparedData, (self.dataset, self.images, self.digests)
        return _reopened, (replace(self.dataset, tables={}), self.folder, tuple(self.images))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the labels and of every encoded image: what makes two data sets the same."""
        digest = hashlib.sha256(self.dataset.labels_digest.encode())
        for source in sorted(self.digests):
            digest.update(source.encode() + self.digests[source].tobytes())
        return digest.hexdigest()

    def moments(self, normalise: str) -> Moments:
        """Channel means and deviations that ``--normalise`` names."""
        return {"imagenet": IMAGENET, "none": UNIT}.get(normalise) or self._own_moments

    @cached_property
    def _own_moments(self) -> Moments:
        """Those of the training images, kept beside the cached pixels."""
        split = self.dataset.splits["train"]
        measure = partial(channel_moments, self.images[split.source], split.rows)
        if self.folder is None:
            return measure()
        mark = hashlib.sha256(split.rows.astype("<i8").tobytes()).hexdigest()[:12]
        path = self.folder / split.source / f"moments-{mark}.json"
        if not path.exists():
            write_json(path, measure())
        mean, std = json.loads(path.read_text())
        return tuple(mean), tuple(std)

    def duplicates(self, first: str, second: str) -> int:
        """Count the images of split ``second`` that are also in split ``first``, byte for byte."""
        splits = (self.dataset.splits[name] for name in (first, second))
        seen, asked = ([self.digests[s.source][r].tobytes() for r in s.rows] for s in splits)
        known = set(seen)
        return sum(digest in known for digest in asked)


def cache_side(image_size: int) -> int:
    """Side of the cached square: 256 for an input of 227, as in Krizhevsky et al. (2012)."""
    return round(image_size * 256 / 227)


@lru_cache(maxsize=2)
def load_dataset(recipe: Recipe) -> ImageDataset:
    """Load the recipe's data set, once per process."""
    return load(recipe)


def open_data(recipe: Recipe, machine: Machine) -> PreparedData:
    """Open the recipe's data, once per process; prepare the cache where it is missing or damaged.

    Raises
    ------
    InputError
        If the data cannot be read, an image is bad, or the disk is too small.
    """
    dataset, folder = load_dataset(recipe), _folder(recipe, machine)
    return _open(
        dataset, folder, cache_side(recipe.image_size), machine.workers, recipe.on_bad_image
    )


def missing_splits(dataset: ImageDataset, recipe: Recipe, machine: Machine) -> list[str]:
    """Name the published splits that no cache holds; whether it is whole is seen on opening."""
    folder = _folder(recipe, machine)
    return [s for s in dataset.tables if not (folder / s / "manifest.json").exists()]


def _folder(recipe: Recipe, machine: Machine) -> Path:
    dataset, side = load_dataset(recipe), cache_side(recipe.image_size)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", Path(dataset.name).name)
    mark = hashlib.sha256(dataset.fingerprint.encode()).hexdigest()[:12]
    return machine.cache_dir.absolute() / f"{slug}-{mark}-{side}px-v{VERSION}"


@lru_cache(maxsize=2)
def _open(
    dataset: ImageDataset, folder: Path, side: int, workers: int, on_bad: str
) -> PreparedData:
    fill(folder, dataset, side, workers, on_bad)
    bad = {source: bad_rows(folder / source) for source in dataset.tables}
    return _reopened(_without(dataset, bad, on_bad), folder, tuple(dataset.tables))


def _reopened(dataset: ImageDataset, folder: Path, sources: Sequence[str]) -> PreparedData:
    images, digests = (
        {s: np.load(folder / s / f"{kind}.npy", mmap_mode="r") for s in sources}
        for kind in ("images", "digests")
    )
    return PreparedData(dataset, images, digests, folder)


def _without(
    dataset: ImageDataset, bad: Mapping[str, Mapping[int, str]], on_bad: str
) -> ImageDataset:
    """Leave the bad images out of every split, and say so in a note.

    Raises
    ------
    InputError
        If they are not to be skipped, or are too many.
    """
    notes = []
    for source, rows in bad.items():
        check_bad(dataset, source, rows, on_bad)
        if rows:
            listed = [f"row {row} ({reason})" for row, reason in rows.items()]
            more = [f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
            text = ", ".join(listed[:LISTED] + more)
            notes.append(f"{len(rows)} bad images of {source} are skipped: {text}")
    if not notes:
        return dataset
    splits = drop_rows(dataset.name, dataset.splits, bad, len(dataset.classes))
    return replace(dataset, splits=splits, notes=(*dataset.notes, *notes))
