"""From the bytes of one image file to upright square RGB pixels."""

from __future__ import annotations

import io
import re
import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
ORIENTATION = 0x0112  # EXIF tag
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
        reason = re.sub(r" *<[^>]* object at [^>]*>", "", str(error))  # of no use to a reader
        raise BadImageError(f"not a whole image: {reason}") from None


@cache
def has_fast_jpeg() -> bool:
    """Whether torchvision's decoder is there: the same pixels as Pillow's in less time."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def decode_square(data: bytes, side: int, fast: bool = False) -> NDArray[np.uint8]:
    """Decode one image to its scaled centre, as :func:`square` of :func:`decode`.

    Parameters
    ----------
    data : bytes
        A whole image file.
    side : int
        Pixels.
    fast : bool
        Use torchvision for plain JPEG files; pixels differ by at most 1 of 255.

    Returns
    -------
    uint8 ndarray of shape (side, side, 3)
    """
    if fast and data[:2] == b"\xff\xd8" and (pixels := _fast_square(data, side)) is not None:
        return pixels
    return square(decode(data), side)


def _fast_square(data: bytes, side: int) -> NDArray[np.uint8] | None:
    """Decode and scale in torch; None where Pillow must: odd modes, turned, long or bad images."""
    import torch
    from torch.nn.functional import interpolate
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            upright = image.getexif().get(ORIENTATION, 1) in (0, 1)
            plain = upright and image.mode in ("RGB", "L")
            if not plain or max(image.size) > 4 * min(image.size):
                return None
            if image.width * image.height > MAX_PIXELS:
                return None
    except Exception:  # Pillow raises a dozen types on hostile bytes; decode says what is wrong
        return None
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # has_fast_jpeg sees it go
        try:
            pixels = decode_jpeg(encoded, mode=ImageReadMode.RGB)  # (3, height, width)
        except RuntimeError:
            return None
    height, width = pixels.shape[1:]
    scaled = [int(side * length / min(height, width)) for length in (height, width)]
    if scaled != [height, width]:
        last = pixels[None].contiguous(memory_format=torch.channels_last)
        pixels = interpolate(last, scaled, mode="bilinear", antialias=True)[0]
    top, left = (round((length - side) / 2) for length in scaled)
    centre: NDArray[np.uint8] = pixels[:, top : top + side, left : left + side].numpy()
    return np.ascontiguousarray(centre.transpose(1, 2, 0))


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
