"""Optimisers and learning-rate schedules. Pure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..config import Recipe


def step_schedule(progress: float) -> float:
    """Step decay: a factor of 0.1 at one third and at two thirds of training."""
    return 10.0 ** -math.floor(3 * progress + 1e-9)


def cosine_schedule(progress: float) -> float:
    """Cosine annealing from 1 to 0 (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant_schedule(_: float) -> float:
    """Return 1: no decay."""
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "step": step_schedule,
    "cosine": cosine_schedule,
    "constant": constant_schedule,
}


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate after a share ``progress`` in [0, 1) of training."""
    return recipe.learning_rate * SCHEDULES[recipe.schedule](progress)


def build_optimizer(
    parameters: Iterable[Parameter], recipe: Recipe, device: torch.device
) -> Optimizer:
    """Build the recipe's optimiser; weight decay applies to all parameters (Krizhevsky 2012).

    Parameters
    ----------
    parameters : iterable of Parameter
    recipe : Recipe
    device : torch.device
        On CUDA the learning rate is a tensor, so that a CUDA graph reads its current value.
    """
    on_cuda, decay = device.type == "cuda", recipe.weight_decay
    lr = torch.tensor(recipe.learning_rate, device=device) if on_cuda else recipe.learning_rate
    if recipe.optimizer == "sgd":
        sgd = _without_compiler(SGD)
        return sgd(parameters, lr, recipe.momentum, weight_decay=decay, fused=True)
    adam = _without_compiler({"adam": Adam, "adamw": AdamW}[recipe.optimizer])
    return adam(parameters, lr, weight_decay=decay, fused=True, capturable=on_cuda)


@cache
def _without_compiler(kind: type[Optimizer]) -> Callable[..., Optimizer]:
    """Return the optimiser without torch.compile's wrappers of three of its methods.

    They import torch's compiler, which takes as long as importing torch, in every process.
    """
    names = ("add_param_group", "step", "zero_grad")
    methods: Any = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)
