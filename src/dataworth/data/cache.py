"""The cache of one published split: uint8 pixels, decoded and resized once, for every run.

Layout of ``<cache_dir>/<data set>-<fingerprint>-<side>px-v<VERSION>/<split>/``:

    images.npy      uint8 (n, side, side, 3), memory-mapped by all runs
    digests.npy     uint8 (n, 32), SHA-256 of each encoded image: finds exact duplicates
    manifest.json   what the files must be, and which images are bad; the folder appears whole,
                    by one rename
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..storage.disk_space import Need, check_room
from ..storage.files import sync
from ..storage.locks import owned
from .datasets import ImageDataset
from .decoding import CHUNK, decode_chunks, sha256

VERSION = 1  # raise it when the pixels change
MAX_BAD = 0.01  # share of a split's images that ``--on-bad-image skip`` leaves out


def fill(folder: Path, dataset: ImageDataset, side: int, workers: int, on_bad: str) -> None:
    """Decode the splits that are missing or damaged.

    Raises
    ------
    InputError
        If the disk is too small, or an image is bad and ``on_bad`` is not skip.
    """
    sizes = {source: len(table) for source, table in dataset.tables.items()}
    missing = [source for source, n in sizes.items() if not is_whole(folder / source, n)]
    if not missing:
        return
    check_room([cache_need(dataset, missing, side, folder)])
    with owned(folder, wait=True):  # two commands build a cache once
        for leftover in folder.glob(".*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
        for source in missing:
            if not is_whole(folder / source, sizes[source]):
                _build(folder / source, dataset, source, side, workers, on_bad)


def cache_need(dataset: ImageDataset, sources: Sequence[str], side: int, folder: Path) -> Need:
    """Say how much the decoded images of some published splits take."""
    n = sum(len(dataset.tables[source]) for source in sources)
    return Need("decoded images", folder, n * (side * side * 3 + 32))


def is_whole(folder: Path, n: int) -> bool:
    """Tell whether a cache folder holds exactly what its manifest promises."""
    starts = range(0, n, CHUNK)
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r")
        promised = [manifest["num_images"], len(manifest["sha256"]), manifest["digests_sha256"]]
        found_digests = sha256(np.load(folder / "digests.npy"))
        bad_rows(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if promised != [n, len(starts), found_digests] or len(images) != n:
        return False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda start: sha256(images[start : start + CHUNK]), starts)
        return all(a == b for a, b in zip(found, manifest["sha256"], strict=True))


def bad_rows(folder: Path) -> dict[int, str]:
    """Return the rows of a cached split that are no images, and why."""
    found: dict[str, str] = json.loads((folder / "manifest.json").read_text()).get("bad", {})
    return {int(row): reason for row, reason in found.items()}


def check_bad(dataset: ImageDataset, source: str, bad: Mapping[int, str], on_bad: str) -> None:
    """Refuse the bad images of a split.

    Raises
    ------
    InputError
        Naming split, row and reason, if they are not to be skipped or are too many.
    """
    n = len(dataset.tables[source])
    for row, reason in bad.items():
        where = f"{dataset.name}: split {source}, row {row}: {reason}"
        if on_bad == "error":
            raise InputError(f"{where}; --on-bad-image skip leaves such images out")
        if len(bad) > MAX_BAD * n:
            raise InputError(
                f"{where}; {len(bad)} of {n:,} images are bad, more than {MAX_BAD:.0%}"
            )


def _build(
    folder: Path, dataset: ImageDataset, source: str, side: int, workers: int, on_bad: str
) -> None:
    """Decode one split into ``folder``; nothing is visible there before it is whole."""
    n = len(dataset.tables[source])
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    building.mkdir()
    try:
        path = building / "images.npy"
        _reserve(path, (n, side, side, 3))
        hashes, sums, bad = [], [], dict[int, str]()
        with tqdm(total=n, desc=f"decoding {source}", unit="img", disable=None) as bar:
            for digests, checksum, bad_here in decode_chunks(dataset, source, path, workers):
                hashes.append(digests)
                sums.append(checksum)
                bad |= bad_here
                check_bad(dataset, source, bad, on_bad)
                bar.update(len(digests))
        np.save(building / "digests.npy", np.concatenate(hashes))
        manifest = {
            "num_images": n,
            "sha256": sums,
            "digests_sha256": sha256(np.concatenate(hashes)),
            "bad": bad,
        }
        (building / "manifest.json").write_text(json.dumps(manifest))
        for file in building.iterdir():
            sync(file)
        shutil.rmtree(folder, ignore_errors=True)  # damaged
        building.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _reserve(path: Path, shape: tuple[int, ...]) -> None:
    """Make an array file whose blocks exist: a full disk is an error now, not a bus error later."""
    images = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, images.offset + images.nbytes)
