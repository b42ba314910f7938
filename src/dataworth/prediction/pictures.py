"""Image files of anybody's, as the pixels that training would have made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.images import BadImageError, decode_square
from ..errors import InputError

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One file: its pixels (side, side, 3), or why there are none."""

    path: Path
    pixels: NDArray[np.uint8] | None
    draw: float = 0.0  # in [0, 1): randomises its set, the same for the same bytes
    reason: str = ""


def find_pictures(folder: Path, recursive: bool) -> tuple[list[Path], int]:
    """List the files of a folder that are named as images, and count the others.

    Raises
    ------
    InputError
        If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"--image-dir {folder}: no such folder")
    files = sorted(p for p in (folder.rglob if recursive else folder.glob)("*") if p.is_file())
    found = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not found:
        deeper = "" if recursive else "; --recursive looks into its folders too"
        raise InputError(
            f"--image-dir {folder}: none of its {len(files)} files is an image{deeper}"
        )
    return found, len(files) - len(found)


def read_picture(path: Path, side: int) -> Picture:
    """Decode one file as the cache does; what is wrong with it is told, not raised."""
    try:
        return decoded(path.read_bytes(), path, side)
    except OSError as error:
        return Picture(path, None, reason=error.strerror or str(error))


def decoded(data: bytes, path: Path, side: int) -> Picture:
    """Decode the bytes of a file of that name, as :func:`read_picture`."""
    try:
        pixels = decode_square(data, side)
    except BadImageError as error:
        return Picture(path, None, reason=" ".join(str(error).split()))
    return Picture(path, pixels, int.from_bytes(hashlib.sha256(data).digest()[:6]) / 2**48)


def read_batches(paths: Sequence[Path], side: int, size: int) -> Iterator[list[Picture]]:
    """Read files ``size`` at a time, so that a folder of any length fits into memory."""
    for start in range(0, len(paths), size):
        yield [read_picture(path, side) for path in paths[start : start + size]]
