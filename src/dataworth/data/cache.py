"""Cache of decoded images: uint8 pixels of one published split, resized once for all runs.

Layout of ``<cache_dir>/<data set>-<key>-<side>px-v<VERSION>/<split>/``, where the key is a hash of
the commit on the hub, or of the contents of local files:

    images.npy      uint8 (n, side, side, 3), memory-mapped by all runs
    digests.npy     uint8 (n, 32), SHA-256 of each encoded image: finds exact duplicates
    manifest.json   checksums of both files, and the bad images; the folder is renamed into place
                    when it is complete
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import DamagedError, HeldError, InputError
from ..storage.disk_space import DiskUsage, check_disk_space
from ..storage.files import named_errors, read_json, sync
from ..storage.locks import lock_folder
from .datasets import ImageDataset
from .decoding import CHUNK, Pixels, decode_chunks, sha256

VERSION = 1  # to be raised when the pixels change
MAX_BAD = 0.01  # share of a split's images that ``--on-bad-image skip`` leaves out


def build_cache(folder: Path, dataset: ImageDataset, side: int, workers: int, on_bad: str) -> None:
    """Decode the splits that are missing or damaged.

    Parameters
    ----------
    folder : Path
        Of the data set's cache; one folder per published split is made in it.
    dataset : ImageDataset
    side : int
        Of the cached images, in pixels.
    workers : int
        Decoding processes; 0: one per core.
    on_bad : str
        ``error`` or ``skip``.

    Raises
    ------
    InputError
        If the disk is too small, or an image is bad and ``on_bad`` is not skip.
    """
    sizes = {source: len(table) for source, table in dataset.tables.items()}
    missing = [source for source, n in sizes.items() if not is_intact(folder / source, n, side)]
    if not missing:
        return
    remove_leftovers(folder)
    check_disk_space([cache_space(dataset, missing, side, folder)])
    with lock_folder(folder, wait=True):  # of two commands, one builds the cache
        _remove_leftovers(folder)
        for source in missing:
            if not is_intact(folder / source, sizes[source], side):
                _build(folder / source, dataset, source, side, workers, on_bad)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a cache, unless a process builds in it now."""
    if os.access(folder, os.W_OK) and any(folder.glob(".*")):
        with suppress(HeldError), lock_folder(folder):
            _remove_leftovers(folder)


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.glob(".*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)


def cache_space(
    dataset: ImageDataset, sources: Sequence[str], side: int, folder: Path
) -> DiskUsage:
    """Return the disk space that decoded images take.

    Parameters
    ----------
    dataset : ImageDataset
    sources : sequence of str
        Published splits to decode.
    side : int
        Of the cached images, in pixels.
    folder : Path
        Where the cache will be.
    """
    n = sum(len(dataset.tables[source]) for source in sources)
    return DiskUsage("decoded images", folder, n * (side * side * 3 + 32))


def is_intact(folder: Path, n: int, side: int) -> bool:
    """Check the cache of a split against the checksums of its manifest.

    Parameters
    ----------
    folder : Path
    n : int
        Images of the split.
    side : int
        Of the cached images, in pixels.
    """
    starts = range(0, n, CHUNK)
    try:
        manifest = read_json(folder / "manifest.json")
        images, digests = (open_array(folder / name) for name in ("images.npy", "digests.npy"))
        expected = [manifest["num_images"], len(manifest["sha256"]), manifest["digests_sha256"]]
        bad_rows(folder)
    except (DamagedError, InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if (images.shape, digests.shape) != ((n, side, side, 3), (n, 32)):
        return False
    if expected != [n, len(starts), sha256(digests)]:
        return False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checksums = pool.map(lambda start: sha256(images[start : start + CHUNK]), starts)
        return all(a == b for a, b in zip(checksums, manifest["sha256"], strict=True))


def open_array(path: Path) -> Pixels:
    """Map an array of a cache into memory, read-only.

    Raises
    ------
    DamagedError
        If it is no uint8 array.
    """
    try:
        array = np.load(path, mmap_mode="r") if path.is_file() else None
    except Exception:  # numpy raises a dozen types on damaged bytes
        array = None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise DamagedError(f"{path} is missing or damaged")
    return array


def bad_rows(folder: Path) -> dict[int, str]:
    """Return the rows of a cached split that could not be decoded, each with the reason."""
    bad: dict[str, str] = read_json(folder / "manifest.json").get("bad", {})
    return {int(row): reason for row, reason in bad.items()}


def check_bad_images(
    dataset: ImageDataset, source: str, bad: Mapping[int, str], on_bad: str
) -> None:
    """Refuse the bad images of a split.

    Parameters
    ----------
    dataset : ImageDataset
    source : str
        Published split.
    bad : mapping
        Row -> reason.
    on_bad : str
        ``error`` or ``skip``.

    Raises
    ------
    InputError
        Naming split, row and reason, if ``on_bad`` is error or more than ``MAX_BAD`` are bad.
    """
    n = len(dataset.tables[source])
    for row, reason in bad.items():
        where = f"{dataset.name}: split {source}, row {row}: {reason}"
        if on_bad == "error":
            raise InputError(f"{where}; --on-bad-image skip leaves such images out")
        if len(bad) > MAX_BAD * n:
            raise InputError(
                f"{where}; {len(bad)} of {n:,} images are bad, more than {100 * MAX_BAD:.0f} %"
            )


def _build(
    folder: Path, dataset: ImageDataset, source: str, side: int, workers: int, on_bad: str
) -> None:
    """Decode one split into a hidden folder; rename it to ``folder`` when complete."""
    n = len(dataset.tables[source])
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    building.mkdir()
    try:
        path = building / "images.npy"
        with named_errors(folder / path.name, 3 * n * side * side):
            _reserve(path, (n, side, side, 3))
        digests, checksums, bad = [], [], dict[int, str]()
        with tqdm(total=n, desc=f"decoding {source}", unit="img", disable=None) as bar:
            for chunk_digests, checksum, chunk_bad in decode_chunks(dataset, source, path, workers):
                digests.append(chunk_digests)
                checksums.append(checksum)
                bad |= chunk_bad
                check_bad_images(dataset, source, bad, on_bad)
                bar.update(len(chunk_digests))
        manifest = {
            "num_images": n,
            "sha256": checksums,
            "digests_sha256": sha256(np.concatenate(digests)),
            "bad": bad,
        }
        with named_errors(folder, 32 * n):
            np.save(building / "digests.npy", np.concatenate(digests))
            (building / "manifest.json").write_text(json.dumps(manifest))
            for file in building.iterdir():
                sync(file)
        if dataset.files:
            dataset.files.check_unchanged()
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        building.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _reserve(path: Path, shape: tuple[int, ...]) -> None:
    """Create an array file with all blocks allocated, so that a full disk is no bus error later."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, images.offset + images.nbytes)
