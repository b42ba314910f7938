"""Decoding of one image file: upright RGB pixels, resized and cropped to a square."""

from __future__ import annotations

import io
import re
import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
HEIF_SUFFIXES = (".heic", ".heif")  # with the extra heif
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
HEIF_MISSING = "HEIC: pip install 'dataworth[heif]' reads it"
ORIENTATION = 0x0112  # EXIF tag
MAX_PIXELS = 40_000_000  # refused before memory is allocated: a 100 KB file can claim gigabytes


class BadImageError(Exception):
    """An image cannot be decoded; the message is the reason."""


def decode(data: bytes) -> Image.Image:
    """Decode one image: EXIF orientation applied, RGB, first frame; alpha dropped, 16 bits scaled.

    Raises
    ------
    BadImageError
        If the bytes are not a complete image of a supported format, the image has more than
        ``MAX_PIXELS``, or its pixels are floating-point numbers, whose scale is unknown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MAX_PIXELS is lower than Pillow's limit
            image = _open(data)
            if image.width * image.height > MAX_PIXELS:
                raise BadImageError(f"{image.width} x {image.height} pixels exceed {MAX_PIXELS:,}")
            return _rgb(ImageOps.exif_transpose(image))
    except BadImageError:
        raise
    except Image.DecompressionBombError:
        raise BadImageError(f"its pixels exceed {MAX_PIXELS:,}") from None
    except Exception as error:  # Pillow raises many types on malformed bytes
        reason = re.sub(r" *<[^>]* object at [^>]*>", "", str(error))  # "<... object at 0x...>"
        raise BadImageError(f"not a whole image: {reason}") from None


def _open(data: bytes) -> Image.Image:
    formats: tuple[str, ...] = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        if not has_heif():
            raise BadImageError(HEIF_MISSING)
        formats = ("HEIF",)
    return Image.open(io.BytesIO(data), formats=formats)


def has_heif() -> bool:
    """Whether pillow-heif is installed; Pillow then reads HEIC images too, upright."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@cache
def has_fast_jpeg() -> bool:
    """Whether torchvision's JPEG decoder is available: the pixels of Pillow's, faster."""
    try:
        from torchvision.io import ImageReadMode, decode_jpeg  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def decode_square(data: bytes, side: int, fast: bool = False) -> NDArray[np.uint8]:
    """Decode one image, resize and crop it: :func:`square` of :func:`decode`.

    Parameters
    ----------
    data : bytes
        A complete image file.
    side : int
        Of the result, in pixels.
    fast : bool
        Use torchvision for plain JPEG files; pixel values differ by at most 1.

    Returns
    -------
    uint8 ndarray of shape (side, side, 3)
    """
    if fast and data[:2] == b"\xff\xd8" and (pixels := _fast_square(data, side)) is not None:
        return pixels
    return square(decode(data), side)


def _fast_square(data: bytes, side: int) -> NDArray[np.uint8] | None:
    """Decode and resize in torch; None for rotated, very long, bad or neither RGB nor L images."""
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
    except Exception:  # Pillow raises many types; :func:`decode` reports the reason
        return None
    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # has_fast_jpeg notices a removal
        try:
            pixels = decode_jpeg(encoded, mode=ImageReadMode.RGB)  # (3, height, width)
        except RuntimeError:
            return None
    height, width = pixels.shape[1:]
    scaled = [int(side * length / min(height, width)) for length in (height, width)]
    if scaled != [height, width]:
        batch = pixels[None].contiguous(memory_format=torch.channels_last)
        pixels = interpolate(batch, scaled, mode="bilinear", antialias=True)[0]
    top, left = (round((length - side) / 2) for length in scaled)
    centre: NDArray[np.uint8] = pixels[:, top : top + side, left : left + side].numpy()
    return np.ascontiguousarray(centre.transpose(1, 2, 0))


def header(data: bytes) -> tuple[int, int, str]:
    """Return width and height (pixels, as stored) and the pixel mode, without decoding."""
    with _open(data) as image:
        return image.width, image.height, image.mode


def square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """Resize the shorter side to ``side`` (bilinear with antialiasing) and crop the centre.

    The pixels are those of torchvision's ``Resize(side)`` and ``CenterCrop(side)`` on a Pillow
    image, but only the centre is computed, so that a 4000 x 1 image costs no memory.

    Parameters
    ----------
    image : PIL.Image.Image
    side : int
        Pixels.

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
