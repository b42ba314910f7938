"""Mean and deviation of each colour channel, exactly: integer sums over all pixels. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .subsets import Indices
from .transforms import Moments

CHUNK = 256  # images at a time


def channel_moments(pixels: NDArray[np.uint8], rows: Indices) -> Moments:
    """Measure the channels of some images.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (n, side, side, 3)
    rows : int64 ndarray of shape (m,)

    Returns
    -------
    pair of tuples of 3 floats
        Mean and deviation of each channel, for pixels in [0, 1].
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        part = pixels[rows[start : start + CHUNK]].reshape(-1, 3)
        counts += [np.bincount(channel, minlength=256) for channel in part.T]
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    variance = counts @ values**2 / counts.sum(axis=1) - mean**2
    # A channel of one colour has no deviation to divide by; 1 leaves it as it is.
    std = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
