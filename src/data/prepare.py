"""From encoded images to a cache of uint8 pixels: decoded and resized once, for every run.

Layout of ``<cache_dir>/<data set>-<fingerprint>-<side>px-v<VERSION>/<split>/``:

    images.npy      uint8 (n, side, side, 3), memory-mapped by all runs
    digests.npy     uint8 (n, 32), SHA-256 of each encoded image: finds exact duplicates
    manifest.json   what the files must be; the folder appears whole, by one rename
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..config import InputError, Machine, Recipe
from ..files import sync
from .datasets import ImageDataset, load
from .decoding import CHUNK, Pixels, decode_chunks, sha256

VERSION = 1  # raise it when the pixels change


@dataclass(frozen=True)
class PreparedData:
    """A data set whose images are ready as pixels."""

    dataset: ImageDataset
    images: Mapping[str, Pixels]  # source -> (n, side, side, 3), read-only memory map
    digests: Mapping[str, Pixels]  # source -> (n, 32)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the labels and of every encoded image: what makes two data sets the same."""
        digest = hashlib.sha256(self.dataset.labels_digest.encode())
        for source in sorted(self.digests):
            digest.update(source.encode() + self.digests[source].tobytes())
        return digest.hexdigest()

    def duplicates(self, first: str, second: str) -> int:
        """Count the images of split ``second`` that are also in split ``first``, byte for byte."""
        rows = (self.dataset.splits[name] for name in (first, second))
        seen, asked = ({self.digests[s.source][r].tobytes() for r in s.rows} for s in rows)
        return len(seen & asked)


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
    side = cache_side(recipe.image_size)
    cache_dir = machine.cache_dir.absolute()
    return _open(load_dataset(recipe), side, cache_dir, machine.workers)


@lru_cache(maxsize=2)
def _open(dataset: ImageDataset, side: int, cache_dir: Path, workers: int) -> PreparedData:
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", Path(dataset.name).name)
    mark = hashlib.sha256(dataset.fingerprint.encode()).hexdigest()[:12]
    folder = cache_dir / f"{slug}-{mark}-{side}px-v{VERSION}"
    missing = {
        source: table
        for source, table in dataset.tables.items()
        if not _is_whole(folder / source, len(table))
    }
    _check_space(cache_dir, sum(len(table) for table in missing.values()) * side * side * 3)
    for source in missing:
        _build(folder / source, dataset, source, side, workers)
    images, digests = (
        {s: np.load(folder / s / f"{kind}.npy", mmap_mode="r") for s in dataset.tables}
        for kind in ("images", "digests")
    )
    return PreparedData(dataset, images, digests)


def _is_whole(folder: Path, n: int) -> bool:
    """Tell whether a cache folder holds exactly what its manifest promises."""
    starts = range(0, n, CHUNK)
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r")
        promised = [manifest["num_images"], len(manifest["sha256"]), manifest["digests_sha256"]]
        found_digests = sha256(np.load(folder / "digests.npy"))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if promised != [n, len(starts), found_digests] or len(images) != n:
        return False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda start: sha256(images[start : start + CHUNK]), starts)
        return all(a == b for a, b in zip(found, manifest["sha256"], strict=True))


def _check_space(folder: Path, needed: int) -> None:
    while not folder.exists():
        folder = folder.absolute().parent
    if needed > (free := shutil.disk_usage(folder).free):
        raise InputError(
            f"--cache-dir {folder}: the decoded images need {needed / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free; free some space or name another --cache-dir"
        )


def _build(folder: Path, dataset: ImageDataset, source: str, side: int, workers: int) -> None:
    """Decode one split into ``folder``; nothing is visible there before it is whole."""
    n = len(dataset.tables[source])
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    building.mkdir(parents=True)
    try:
        path = building / "images.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (n, side, side, 3))
        hashes, sums = [], []
        with tqdm(total=n, desc=f"decoding {source}", unit="img", disable=None) as bar:
            for digests, checksum in decode_chunks(dataset, source, path, workers):
                hashes.append(digests)
                sums.append(checksum)
                bar.update(len(digests))
        np.save(building / "digests.npy", np.concatenate(hashes))
        manifest = {
            "num_images": n,
            "sha256": sums,
            "digests_sha256": sha256(np.concatenate(hashes)),
        }
        (building / "manifest.json").write_text(json.dumps(manifest))
        for file in building.iterdir():
            sync(file)
        if _is_whole(folder, n):  # another process was faster
            return
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        building.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)
