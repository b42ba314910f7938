"""From the encoded images of one published split to pixels on disk, in this process or several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import InputError
from .datasets import ImageDataset
from .images import BadImageError, decode_square, has_fast_jpeg

CHUNK = 256  # images per task: bounds a worker's memory, and the unit of the checksums
MIN_PER_WORKER = 4096  # below, starting a process costs more than it saves
FAST_FROM = 10**8  # pixels: below, importing torchvision's decoder costs more than it saves
Pixels = NDArray[np.uint8]
Chunk = tuple[Pixels, str]  # SHA-256 of each encoded image (k, 32); of the chunk's pixels


@dataclass(frozen=True)
class Decoder:
    """Decodes chunks of a split into the array at ``path``; any process can hold one."""

    dataset: ImageDataset
    source: str
    path: Path  # of a uint8 array (n, side, side, 3)
    fast: bool

    def __call__(self, start: int) -> Chunk:
        """Decode the images from row ``start`` on.

        Raises
        ------
        InputError
            If one of them is bad, naming split and row.
        """
        images = np.load(self.path, mmap_mode="r+")
        stop, side = min(start + CHUNK, len(images)), images.shape[1]
        pixels = np.empty((stop - start, side, side, 3), np.uint8)
        hashes = []
        for row in range(start, stop):
            try:
                data = self.dataset.encoded(self.source, row)
                pixels[row - start] = decode_square(data, side, self.fast)
            except (BadImageError, OSError) as error:
                where = f"{self.dataset.name}: split {self.source}, row {row}"
                raise InputError(f"{where}: {error}") from None
            hashes.append(hashlib.sha256(data).digest())
        images[start:stop] = pixels
        return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32), sha256(pixels)


def decode_chunks(dataset: ImageDataset, source: str, path: Path, workers: int) -> Iterator[Chunk]:
    """Decode a whole split, chunk by chunk in order; 0 workers are one per core.

    Raises
    ------
    InputError
        If an image is bad, or a decoding process is killed.
    """
    n, side = np.load(path, mmap_mode="r").shape[:2]
    decoder = Decoder(dataset, source, path, n * side**2 >= FAST_FROM and has_fast_jpeg())
    workers = min(workers or _num_cores(), n // MIN_PER_WORKER)
    starts = range(0, n, CHUNK)
    if workers <= 1:
        yield from map(decoder, starts)
        return
    context = get_context("spawn")  # forking a process with threads may deadlock it
    try:
        with ProcessPoolExecutor(workers, context, _hold, (decoder,)) as pool:
            yield from pool.map(_decode, starts)
    except BrokenProcessPool:
        raise InputError(
            f"a decoding process was killed, most often for lack of memory; "
            f"try fewer than {workers} --workers"
        ) from None


def sha256(pixels: Pixels) -> str:
    """SHA-256 of an array's content."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


_held: Decoder  # sent once to each process, not with every task


def _hold(decoder: Decoder) -> None:
    global _held
    _held = decoder
    if decoder.fast:
        import torch

        torch.set_num_threads(1)  # every core has a process of its own


def _decode(start: int) -> Chunk:
    return _held(start)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
