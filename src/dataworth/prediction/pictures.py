"""Image files of the user, decoded and resized as in training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.contents import MAX_FILE_BYTES
from ..data.images import HEIF_SUFFIXES, BadImageError, decode_square
from ..errors import InputError

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
    *HEIF_SUFFIXES,
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An image file: its pixels (side, side, 3), or the reason why it cannot be decoded."""

    path: Path
    pixels: NDArray[np.uint8] | None
    draw: float = 0.0  # in [0, 1), for randomised prediction sets; a function of the file's bytes
    reason: str = ""


def find_pictures(folder: Path, recursive: bool) -> tuple[list[Path], int]:
    """Return the files of a folder that have an image suffix, and the number of other files.

    Raises
    ------
    InputError
        If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"--image-dir {folder}: no such folder")
    files = sorted(p for p in (folder.rglob if recursive else folder.glob)("*") if p.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not images:
        hint = "" if recursive else "; --recursive searches its subfolders too"
        raise InputError(f"--image-dir {folder}: none of its {len(files)} files is an image{hint}")
    return images, len(files) - len(images)


def read_picture(path: Path, side: int) -> Picture:
    """Decode one file as the cache does; an error becomes the picture's reason."""
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            return Picture(path, None, reason=f"{size:,} bytes are more than {MAX_FILE_BYTES:,}")
        return decode_picture(path.read_bytes(), path, side)
    except OSError as error:
        return Picture(path, None, reason=error.strerror or str(error))


def decode_picture(data: bytes, path: Path, side: int) -> Picture:
    """Decode the content of a file, as :func:`read_picture`.

    Parameters
    ----------
    data : bytes
        Content of the file.
    path : Path
        Its name, for display.
    side : int
        Of the decoded image, in pixels.
    """
    try:
        pixels = decode_square(data, side)
    except BadImageError as error:
        return Picture(path, None, reason=" ".join(str(error).split()))
    return Picture(path, pixels, int.from_bytes(hashlib.sha256(data).digest()[:6]) / 2**48)


def read_batches(paths: Sequence[Path], side: int, size: int) -> Iterator[list[Picture]]:
    """Read files in batches, so that a folder of any length fits into memory.

    Parameters
    ----------
    paths : sequence of Path
    side : int
        Of the decoded images, in pixels.
    size : int
        Maximum batch size.
    """
    for start in range(0, len(paths), size):
        yield [read_picture(path, side) for path in paths[start : start + size]]
