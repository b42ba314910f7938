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
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..config import InputError, Machine, Recipe
from ..files import sync
from .datasets import ImageDataset, load
from .images import BadImageError, decode_square, has_fast_jpeg

VERSION = 1  # raise it when the pixels change
CHUNK = 256  # images per task: bounds a worker's memory, and the unit of the checksums
MIN_PER_WORKER = 4096  # below, starting a process costs more than it saves
FAST_FROM = 10**8  # pixels: below, importing torchvision's decoder costs more than it saves
Pixels = NDArray[np.uint8]
DATA_FIELDS = (  # of a recipe: what decides the labelled splits
    "dataset",
    "dataset_revision",
    "image_column",
    "label_column",
    "validation_fraction",
)


@dataclass(frozen=True)
class PreparedData:
    """A data set whose images are ready as pixels."""

    dataset: ImageDataset
    images: Mapping[str, Pixels]  # source -> (n, side, side, 3), read-only memory map
    digests: Mapping[str, Pixels]  # source -> (n, 32)

    @property
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


def load_dataset(recipe: Recipe) -> ImageDataset:
    """Load the recipe's data set, once per process."""
    return _load(*(getattr(recipe, field) for field in DATA_FIELDS))


@lru_cache(maxsize=2)
def _load(*values: Any) -> ImageDataset:
    return load(Recipe(**dict(zip(DATA_FIELDS, values, strict=True))))


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
        found_digests = _sha256(np.load(folder / "digests.npy"))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if promised != [n, len(starts), found_digests] or len(images) != n:
        return False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda start: _sha256(images[start : start + CHUNK]), starts)
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        shape = (n, side, side, 3)
        np.lib.format.open_memmap(building / "images.npy", "w+", np.uint8, shape)
        digests, sums = np.empty((n, 32), np.uint8), []
        with tqdm(total=n, desc=f"decoding {source}", unit="img", disable=None) as bar:
            for start, hashes, checksum in _chunks(
                dataset, source, building / "images.npy", workers
            ):
                digests[start : start + len(hashes)] = hashes
                sums.append(checksum)
                bar.update(len(hashes))
        np.save(building / "digests.npy", digests)
        manifest = {
            "num_images": n,
            "side": side,
            "version": VERSION,
            "sha256": sums,
            "digests_sha256": _sha256(digests),
        }
        (building / "manifest.json").write_text(json.dumps(manifest))
        for file in building.iterdir():
            sync(file)
        building.chmod(0o777 & ~_umask())
        if _is_whole(folder, n):  # another process was faster
            return
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        building.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _chunks(
    dataset: ImageDataset, source: str, path: Path, workers: int
) -> Iterator[tuple[int, Pixels, str]]:
    """Decode all chunks in order, in this process or in several."""
    n = len(dataset.tables[source])
    starts = range(0, n, CHUNK)
    workers = min(workers or _num_cores(), n // MIN_PER_WORKER)
    fast = n * np.load(path, mmap_mode="r").shape[1] ** 2 >= FAST_FROM and has_fast_jpeg()
    start_worker = partial(_start_worker, dataset, source, path, fast)
    if workers <= 1:
        start_worker()
        yield from map(_decode_chunk, starts)
        return
    context = get_context("spawn")  # forking a process with threads may deadlock it
    try:
        with ProcessPoolExecutor(workers, context, start_worker) as pool:
            yield from pool.map(_decode_chunk, starts)
    except BrokenProcessPool:
        raise InputError(
            f"a decoding process was killed, most often for lack of memory; "
            f"try fewer than {workers} --workers"
        ) from None


_worker: Callable[[int], tuple[int, Pixels, str]]


def _start_worker(dataset: ImageDataset, source: str, path: Path, fast: bool) -> None:
    global _worker
    if fast and parent_process() is not None:
        import torch

        torch.set_num_threads(1)  # every core has a process of its own
    images = np.load(path, mmap_mode="r+")

    def work(start: int) -> tuple[int, Pixels, str]:
        stop, side = min(start + CHUNK, len(images)), images.shape[1]
        pixels = np.empty((stop - start, side, side, 3), np.uint8)
        hashes = []
        for row in range(start, stop):
            try:
                data = dataset.encoded(source, row)
                pixels[row - start] = decode_square(data, side, fast)
            except (BadImageError, OSError) as error:
                raise InputError(f"{dataset.name}: split {source}, row {row}: {error}") from None
            hashes.append(hashlib.sha256(data).digest())
        images[start:stop] = pixels
        digests = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
        return start, digests, _sha256(pixels)

    _worker = work


def _decode_chunk(start: int) -> tuple[int, Pixels, str]:
    return _worker(start)


def _sha256(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
