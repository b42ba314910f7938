"""From the bytes of one image file to upright square RGB pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 40_000_000  # refused before memory is allocated: a 100 KB file can claim gigabytes


class BadImageError(Exception):
    """Why an image cannot be used."""


def decode(data: bytes) -> Image.Image:
    """Decode one image: EXIF-upright, RGB, the first frame; alpha is dropped, 16 bits scaled.

    Raises
    ------
    BadImageError
        If the bytes are no whole image of a known format, claim over ``MAX_PIXELS``, or hold
        floating-point pixels, whose scale is not known.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limit is the lower one
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise BadImageError(f"{image.width} x {image.height} pixels exceed {MAX_PIXELS:,}")
            return _rgb(ImageOps.exif_transpose(image))
    except BadImageError:
        raise
    except Image.DecompressionBombError:
        raise BadImageError(f"its pixels exceed {MAX_PIXELS:,}") from None
    except Exception as error:  # Pillow raises a dozen types on hostile bytes
        raise BadImageError(f"not a whole image: {error}") from None


def header(data: bytes) -> tuple[int, int, str]:
    """Read width and height (pixels, as stored) and the pixel mode without decoding."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.width, image.height, image.mode


def square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Scale the shorter side to ``side`` (antialiased bilinear) and crop the centre.

    The pixels are those of torchvision's ``Resize(side)`` and ``CenterCrop(side)`` on a Pillow
    image, but only the centre is computed, so that a 4000 x 1 sliver costs no memory.

    Returns
    -------
    uint8 ndarray of shape (side, side, 3)
    """
    shorter = min(image.size)
    scaled = [int(side * length / shorter) for length in image.size]
    start = [round((length - side) / 2) for length in scaled]
    factor = [length / target for length, target in zip(image.size, scaled, strict=True)]
    corners = [(s * f, (s + side) * f) for s, f in zip(start, factor, strict=True)]
    (left, right), (top, bottom) = corners
    box = (left, top, min(right, image.width), min(bottom, image.height))
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("F", "I"):
        raise BadImageError(f"pixels of mode {image.mode} have no known scale; save 8 or 16 bits")
    if image.mode.startswith("I;16"):
        levels = np.asarray(image, dtype=np.uint16)
        image = Image.fromarray((levels // 257).astype(np.uint8))
    return image.convert("RGB")
