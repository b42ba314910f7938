"""Crop, horizontal flip and resized crop of a batch of uint8 images, on any device."""

from __future__ import annotations

import torch
from torch import Tensor


def crop(
    pixels: Tensor, size: int, rows: Tensor, top: Tensor, left: Tensor, flipped: Tensor
) -> Tensor:
    """Crop each chosen image at its own position, and flip it horizontally where asked.

    Parameters
    ----------
    pixels : uint8 Tensor of shape (n, side, side, 3)
    size : int
        Side of the crop, in pixels.
    rows, top, left, flipped : int64 Tensors of shape (b,)
        Index of the image; first row and column of the crop; 1 for a horizontal flip.

    Returns
    -------
    uint8 Tensor of shape (b, size, size, 3)
    """
    offsets = torch.arange(size, device=pixels.device)
    y = top[:, None] + offsets  # (b, size)
    x = left[:, None] + torch.where(flipped[:, None] == 1, size - 1 - offsets, offsets)
    return pixels[rows[:, None, None], y[:, :, None], x[:, None, :]]


def resized_crop(pixels: Tensor, size: int, *boxes: Tensor) -> Tensor:
    """Crop one box of each image and resize it (bilinear with antialiasing, as Pillow does).

    Parameters
    ----------
    pixels : uint8 Tensor of shape (b, side, side, 3)
    size : int
        Side of the result, in pixels.
    *boxes : int64 Tensors of shape (b,)
        top, left, flipped, height and width: the box in pixels; flipped is 1 for a horizontal flip.

    Returns
    -------
    float32 Tensor of shape (b, size, size, 3), values in [0, 255]
    """
    top, left, flipped, height, width = boxes
    side = pixels.shape[1]
    with torch.autocast(pixels.device.type, enabled=False):  # bf16 has 8 bits: as few as the pixels
        down = _weights(top, height, size, side)  # (b, size, side)
        across = _weights(left, width, size, side)
        across = torch.where(flipped[:, None, None] == 1, across.flip(1), across)
        rows = torch.einsum("bys,bstc->bytc", down, pixels.to(torch.float32))
        return torch.einsum("bxt,bytc->byxc", across, rows).contiguous()


def _weights(start: Tensor, length: Tensor, size: int, side: int) -> Tensor:
    """Weight of each pixel of a line in each pixel of the resized box, (b, size, side)."""
    offsets, positions = (torch.arange(n, device=start.device) for n in (size, side))
    scale = (length / size)[:, None, None]
    centre = start[:, None, None] + (offsets[:, None] + 0.5) * scale - 0.5  # (b, size, 1)
    triangle = 1 - (positions - centre).abs() / scale.clamp(min=1)
    first = start[:, None, None]
    inside = (positions >= first) & (positions < first + length[:, None, None])
    weights = triangle.clamp(min=0) * inside
    return weights / weights.sum(-1, keepdim=True)
