"""Normalisation: channel means and standard deviations, measured exactly and applied in batches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .subsets import Indices

ChannelStats = tuple[tuple[float, ...], tuple[float, ...]]  # mean, std of each channel in [0, 1]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET: ChannelStats = (IMAGENET_MEAN, IMAGENET_STD)  # of ImageNet's training set
CHANNEL_STATS: dict[str, ChannelStats] = {  # by --normalise; the names are those of timm
    "imagenet": IMAGENET,
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # pixels in [-1, 1]
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # pixels in [0, 1]
}

CHUNK = 256  # images counted at a time


def parse_channel_stats(mean: Iterable[Any], std: Iterable[Any]) -> ChannelStats:
    """Return stored channel means and deviations as numbers.

    Raises
    ------
    ValueError
        If they are not three finite numbers each, deviations above 0.
    """
    try:
        stats = tuple(map(float, mean)), tuple(map(float, std))
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if (
        [len(part) for part in stats] != [3, 3]
        or not np.isfinite(stats).all()
        or min(stats[1]) <= 0
    ):
        raise ValueError("no three finite means and deviations above 0")
    return stats


def channel_stats(pixels: NDArray[np.uint8], rows: Indices) -> ChannelStats:
    """Measure mean and standard deviation of each channel, exactly: by integer histograms.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (n, side, side, 3)
    rows : int64 ndarray of shape (m,)
        The images to measure.

    Returns
    -------
    pair of tuples of 3 floats
        Mean and standard deviation of each channel, for pixels in [0, 1].
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(rows), CHUNK):
        chunk = pixels[rows[start : start + CHUNK]].reshape(-1, 3)
        counts += [np.bincount(channel, minlength=256) for channel in chunk.T]
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    variance = counts @ values**2 / counts.sum(axis=1) - mean**2
    # A constant channel has deviation 0, by which nothing can be divided: 1 leaves it unscaled.
    std = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def normalise(pixels: Tensor, stats: ChannelStats = IMAGENET) -> Tensor:
    """Subtract the channel means of a batch and divide by the standard deviations.

    Parameters
    ----------
    pixels : uint8 or float32 Tensor of shape (b, s, s, 3), values in [0, 255]
        Floats are overwritten.
    stats : pair of tuples of 3 floats
        Mean and standard deviation of each channel, for pixels in [0, 1].

    Returns
    -------
    float32 Tensor of shape (b, 3, s, s), channels last in memory
    """
    b, height, width, _ = pixels.shape
    scale, shift = _scale_and_shift(width, pixels.device, stats)
    # Whole rows at once: broadcasting over 3 channels alone takes twice as long on a CPU.
    rows = pixels.view(b, height, width * 3).to(torch.float32).mul_(scale).sub_(shift)
    return rows.view(b, height, width, 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _scale_and_shift(
    width: int, device: torch.device, stats: ChannelStats
) -> tuple[Tensor, Tensor]:
    """Scale and shift of one row of pixels, cached on the device: a copy would synchronise."""
    with torch.inference_mode(False):  # inference tensors could not be used in training
        mean, std = (torch.tensor(values, device=device) for values in stats)
        return (1 / (255 * std)).repeat(width), (mean / std).repeat(width)
