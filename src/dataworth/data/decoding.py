"""Decoding of one published split into an array file, in this process or in several."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..signals import end_with_parent
from .datasets import ImageDataset
from .images import BadImageError, decode_square, has_fast_jpeg

CHUNK = 256  # images per task: bounds a worker's memory, and the unit of the checksums
MIN_PER_WORKER = 4096  # images: fewer do not repay the start of a process
MIN_FAST_PIXELS = 10**8  # fewer do not repay the import of torchvision's decoder
Pixels = NDArray[np.uint8]
# SHA-256 of each encoded image (k, 32) and of the chunk's pixels; row of a bad image -> reason
Chunk = tuple[Pixels, str, dict[int, str]]


@dataclass(frozen=True)
class Decoder:
    """Decodes chunks of a split into the array file at ``path``; can be sent to other processes."""

    dataset: ImageDataset
    source: str
    path: Path  # of a uint8 array (n, side, side, 3)
    fast: bool

    def __call__(self, start: int) -> Chunk:
        """Decode the chunk of images from row ``start`` on; a bad image is stored as black."""
        images = np.load(self.path, mmap_mode="r+")
        stop, side = min(start + CHUNK, len(images)), images.shape[1]
        pixels = np.zeros((stop - start, side, side, 3), np.uint8)
        digests, bad = np.zeros((stop - start, 32), np.uint8), {}
        for row in range(start, stop):
            try:
                data = self.dataset.encoded(self.source, row)
                pixels[row - start] = decode_square(data, side, self.fast)
                digests[row - start] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
            except (BadImageError, OSError) as error:
                bad[row] = str(error)
        images[start:stop] = pixels
        return digests, sha256(pixels), bad


def decode_chunks(dataset: ImageDataset, source: str, path: Path, workers: int) -> Iterator[Chunk]:
    """Decode a whole split, yielding its chunks in order.

    Parameters
    ----------
    dataset : ImageDataset
    source : str
        Published split.
    path : Path
        Of an existing uint8 array file (n, side, side, 3).
    workers : int
        Processes; 0: one per core.

    Raises
    ------
    InputError
        If a decoding process is killed.
    """
    n, side = np.load(path, mmap_mode="r").shape[:2]
    # Without labels it fits into a pipe: else a worker that dies on startup would block this one.
    images = replace(dataset, splits={}, classes=(), notes=(), files=None)
    decoder = Decoder(images, source, path, n * side**2 >= MIN_FAST_PIXELS and has_fast_jpeg())
    workers = min(workers or num_cores(), n // MIN_PER_WORKER)
    starts = range(0, n, CHUNK)
    if workers <= 1:
        yield from map(decoder, starts)
        return
    context = get_context("spawn")  # forking a process with threads may deadlock it
    try:
        with ProcessPoolExecutor(workers, context, _initialise_worker, (decoder,)) as pool:
            yield from pool.map(_decode, starts)
    except BrokenProcessPool:
        raise InputError(
            "a decoding process was killed, most often for lack of memory; "
            f"try fewer than {workers} --workers"
        ) from None


def sha256(pixels: Pixels) -> str:
    """SHA-256 of an array's content."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


_decoder: Decoder  # of a worker process: sent once, not with every task


def _initialise_worker(decoder: Decoder) -> None:
    global _decoder
    _decoder = decoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    end_with_parent()  # whose lock protects what this process writes
    if decoder.fast:
        import torch

        torch.set_num_threads(1)  # there is one process per core


def _decode(start: int) -> Chunk:
    return _decoder(start)


def num_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
