"""From uint8 pixels to what the network sees."""

from __future__ import annotations

import torch
from torch import Tensor

# Channel means and deviations of ImageNet's training set, for pixels in [0, 1].
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """Scale a batch to zero mean and unit deviation of ImageNet.

    Parameters
    ----------
    pixels : uint8 Tensor of shape (b, s, s, 3)

    Returns
    -------
    float32 Tensor of shape (b, 3, s, s), channels last in memory
    """
    mean, std = (torch.tensor(v, device=pixels.device) for v in (IMAGENET_MEAN, IMAGENET_STD))
    scaled = pixels.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std)
    return scaled.permute(0, 3, 1, 2)
