"""From uint8 pixels to what the network sees, on whatever device they are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Channel means and deviations of ImageNet's training set, for pixels in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def gather(
    pixels: Tensor, size: int, rows: Tensor, top: Tensor, left: Tensor, mirrored: Tensor
) -> Tensor:
    """Cut one crop out of each chosen image.

    Parameters
    ----------
    pixels : uint8 Tensor of shape (n, side, side, 3)
    size : int
        Side of the crop, in pixels.
    rows, top, left, mirrored : int64 Tensors of shape (b,)
        Which image; the crop's first row and column; 1 for a mirror image.

    Returns
    -------
    uint8 Tensor of shape (b, size, size, 3)
    """
    steps = torch.arange(size, device=pixels.device)
    y = top[:, None] + steps  # (b, size)
    x = left[:, None] + torch.where(mirrored[:, None] == 1, size - 1 - steps, steps)
    return pixels[rows[:, None, None], y[:, :, None], x[:, None, :]]


def normalise(pixels: Tensor) -> Tensor:
    """Scale a batch to zero mean and unit deviation of ImageNet.

    Parameters
    ----------
    pixels : uint8 Tensor of shape (b, s, s, 3)

    Returns
    -------
    float32 Tensor of shape (b, 3, s, s), channels last in memory
    """
    b, height, width, _ = pixels.shape
    scale, shift = _rows(width, pixels.device)
    # Whole rows at once: a broadcast over 3 channels alone takes twice as long on a CPU.
    rows = pixels.view(b, height, width * 3).to(torch.float32).mul_(scale).sub_(shift)
    return rows.view(b, height, width, 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _rows(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift of one row of pixels, kept on the device: copying makes the host wait."""
    with torch.inference_mode(False):  # else they could not be used in training
        mean, std = (torch.tensor(v, device=device) for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (1 / (255 * std)).repeat(width), (mean / std).repeat(width)
