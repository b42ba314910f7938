"""Synchronised batch normalisation: statistics over the images of all ranks.

Torch's SyncBatchNorm does the same, on GPUs only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .collectives import all_reduce_sum


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Let every batch normalisation of a model use statistics of the whole batch, in place.

    Returns
    -------
    Module
        ``model`` itself; its weights are unchanged.
    """
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = partial(_normalise, layer, layer.forward)  # type: ignore[method-assign]
    return model


class _Sum(torch.autograd.Function):
    """All-reduce sum with its gradient: the sum enters the loss of every rank."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        all_reduce_sum([total])
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        all_reduce_sum([total])
        return total


def _normalise(
    layer: _BatchNorm, local_forward: Callable[[Tensor], Tensor], images: Tensor
) -> Tensor:
    """Normalise this rank's shard (b, channels, ...) by the statistics of the whole batch.

    Means and squares are combined in float64: variances of shards cannot be averaged, and the
    difference of two float32 sums would lose digits.
    """
    if not layer.training:
        return local_forward(images)
    assert layer.running_mean is not None, "no model lacks it"
    assert layer.running_var is not None, "no model lacks it"
    assert layer.momentum is not None, "no model lacks it"
    assert layer.num_batches_tracked is not None, "no model lacks it"
    values, n = images.float(), images.numel() // images.shape[1]
    var, mean = torch.var_mean(values, [0, *range(2, images.ndim)], correction=0)
    var, mean = var.double(), mean.double()  # (channels,)
    sums = torch.stack([mean, var + mean**2, torch.ones_like(mean)]) * n
    first, second, count = _Sum.apply(sums)
    mean = first / count
    var = (second / count - mean**2).clamp(min=0)
    with torch.no_grad():
        layer.num_batches_tracked.add_(1)
        unbiased = var * count / (count - 1)
        layer.running_mean.lerp_(mean.float(), layer.momentum)
        layer.running_var.lerp_(unbiased.float(), layer.momentum)
    shape = (1, -1, *(1 for _ in images.shape[2:]))
    scale = (layer.weight * (var + layer.eps).rsqrt()).float().view(shape)
    centred = values - mean.float().view(shape)
    return torch.addcmul(layer.bias.view(shape), centred, scale).to(images.dtype)
