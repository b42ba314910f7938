"""How weights move: the optimiser and its learning-rate schedule. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..config import Recipe


def step_schedule(progress: float) -> float:
    """Divide by 10 at one and two thirds of training."""
    return 10.0 ** -math.floor(3 * progress + 1e-9)


def cosine_schedule(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant_schedule(_: float) -> float:
    """Stay at 1."""
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "step": step_schedule,
    "cosine": cosine_schedule,
    "constant": constant_schedule,
}


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate after a share ``progress`` in [0, 1) of training."""
    return recipe.learning_rate * SCHEDULES[recipe.schedule](progress)


def build_optimizer(
    parameters: Iterable[Parameter], recipe: Recipe, device: torch.device
) -> Optimizer:
    """Build the recipe's update rule; all parameters decay, as in Krizhevsky et al. (2012).

    On CUDA the learning rate is a tensor there, so that a recorded step reads its current value.
    """
    on_cuda, decay = device.type == "cuda", recipe.weight_decay
    lr = torch.tensor(recipe.learning_rate, device=device) if on_cuda else recipe.learning_rate
    if recipe.optimizer == "sgd":
        return SGD(parameters, lr, recipe.momentum, weight_decay=decay, fused=True)
    rule: type[Adam] = {"adam": Adam, "adamw": AdamW}[recipe.optimizer]
    return rule(parameters, lr, weight_decay=decay, fused=True, capturable=on_cuda)
