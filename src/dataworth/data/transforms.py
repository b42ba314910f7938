"""From uint8 pixels to what the network sees, on whatever device they are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# Channel means and deviations of ImageNet's training set, for pixels in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Moments = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation of each channel
IMAGENET: Moments = (IMAGENET_MEAN, IMAGENET_STD)
UNIT: Moments = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # leaves pixels in [0, 1]


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


def resample(pixels: Tensor, size: int, *columns: Tensor) -> Tensor:
    """Cut one box out of each image and scale it (antialiased bilinear, as Pillow's).

    Parameters
    ----------
    pixels : uint8 Tensor of shape (b, side, side, 3)
    size : int
        Side of the result, in pixels.
    *columns : int64 Tensors of shape (b,)
        top, left, mirrored, height and width: the box in pixels; 1 for a mirror image.

    Returns
    -------
    float32 Tensor of shape (b, size, size, 3), values in [0, 255]
    """
    top, left, mirrored, height, width = columns
    side = pixels.shape[1]
    with torch.autocast(pixels.device.type, enabled=False):  # 8 bits of bf16 would blur 8 of colour
        down = _weights(top, height, size, side)  # (b, size, side)
        across = _weights(left, width, size, side)
        across = torch.where(mirrored[:, None, None] == 1, across.flip(1), across)
        rows = torch.einsum("bys,bstc->bytc", down, pixels.to(torch.float32))
        return torch.einsum("bxt,bytc->byxc", across, rows).contiguous()


def _weights(start: Tensor, length: Tensor, size: int, side: int) -> Tensor:
    """How much each pixel of a line counts for each pixel of the scaled box, (b, size, side)."""
    steps, line = (torch.arange(n, device=start.device) for n in (size, side))
    scale = (length / size)[:, None, None]
    centre = start[:, None, None] + (steps[:, None] + 0.5) * scale - 0.5  # (b, size, 1)
    triangle = 1 - (line - centre).abs() / scale.clamp(min=1)
    first = start[:, None, None]
    inside = (line >= first) & (line < first + length[:, None, None])
    weights = triangle.clamp(min=0) * inside
    return weights / weights.sum(-1, keepdim=True)


def normalise(pixels: Tensor, moments: Moments = IMAGENET) -> Tensor:
    """Scale a batch by channel means and deviations.

    Parameters
    ----------
    pixels : uint8 or float32 Tensor of shape (b, s, s, 3), values in [0, 255]
        Floats are overwritten.
    moments : pair of tuples of 3 floats
        Mean and deviation of each channel, for pixels in [0, 1].

    Returns
    -------
    float32 Tensor of shape (b, 3, s, s), channels last in memory
    """
    b, height, width, _ = pixels.shape
    scale, shift = _rows(width, pixels.device, moments)
    # Whole rows at once: a broadcast over 3 channels alone takes twice as long on a CPU.
    rows = pixels.view(b, height, width * 3).to(torch.float32).mul_(scale).sub_(shift)
    return rows.view(b, height, width, 3).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _rows(width: int, device: torch.device, moments: Moments) -> tuple[Tensor, Tensor]:
    """Scale and shift of one row of pixels, kept on the device: copying makes the host wait."""
    with torch.inference_mode(False):  # else they could not be used in training
        mean, std = (torch.tensor(values, device=device) for values in moments)
        return (1 / (255 * std)).repeat(width), (mean / std).repeat(width)
