"""What must survive a crash. Randomness need not: it is a function of (seed, epoch).

Within an epoch the number of steps and the dropout stream are needed too; ``saving`` adds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import Recipe
from ..devices import seed_torch
from ..distributed.batch_norm import synchronise_batch_norm
from ..distributed.process_group import world_size
from ..models.registry import build_model
from .optimization import build_optimizer

Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """What changes during a run. One state serves all runs of a study, one after another."""

    recipe: Recipe
    num_classes: int
    model: nn.Module
    optimizer: Optimizer
    epoch: int = 0  # epochs finished so far
    step: int = 0  # steps made in the epoch under way
    seconds: float = 0.0  # of training in it
    best_epoch: int = 0  # 0: none yet
    best_score: float = math.inf  # the validation score that ``select_by`` names; lower is better
    best_weights: Weights = field(default_factory=dict)

    @classmethod
    def build(cls, recipe: Recipe, num_classes: int, device: torch.device) -> TrainState:
        """Make the model and its optimiser; :meth:`restart` gives them their weights."""
        model = _fresh_model(recipe, num_classes).to(memory_format=torch.channels_last).to(device)
        if world_size() > 1:
            synchronise_batch_norm(model)
        optimizer = build_optimizer(model.parameters(), recipe, device)
        _make_buffers(optimizer)
        return cls(recipe, num_classes, model, optimizer)

    def restart(self, seed: int) -> None:
        """Begin a run: fresh weights, drawn on the CPU and decided by the seed alone.

        Every tensor keeps its place, so that recorded steps stay valid.
        """
        seed_torch(seed, 0)
        fresh = _fresh_model(self.recipe, self.num_classes)
        self.model.load_state_dict(fresh.state_dict())
        for moment in self._moments():
            moment.zero_()
        self.epoch = self.step = self.best_epoch = 0
        self.seconds = 0.0
        self.best_score, self.best_weights = math.inf, {}

    def tensors(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        return [*self.model.state_dict().values(), *self._moments()]

    def is_finite(self) -> bool:
        """Whether no weight and no moment is infinite or NaN; the host waits for the answer."""
        floats = [t for t in self.tensors() if t.is_floating_point()]
        return bool(torch.stack([t.isfinite().all() for t in floats]).all())

    def _moments(self) -> list[Tensor]:
        states = self.optimizer.state.values()
        return [v for values in states for v in values.values() if isinstance(v, Tensor)]

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)  # recorded steps read it from there
            else:
                group["lr"] = value

    def end_epoch(self) -> None:
        """Count the epoch under way as finished."""
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    def keep_if_best(self, score: float) -> None:
        """Remember the current weights if the epoch just finished has the lowest score."""
        if score < self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def snapshot(self) -> dict[str, Any]:
        """Copy to CPU memory what :meth:`load` needs, as plain types."""
        return {
            "model": _copies(self.model.state_dict()),
            "optimizer": [moment.to("cpu", copy=True) for moment in self._moments()],
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_weights": {k: v.to("cpu") for k, v in self.best_weights.items()},  # never changed
        }

    def load(self, snapshot: dict[str, Any]) -> None:
        """Go on exactly where the snapshot was taken."""
        self.model.load_state_dict(snapshot["model"])
        for moment, saved in zip(self._moments(), snapshot["optimizer"], strict=True):
            moment.copy_(saved)
        for name in ("epoch", "step", "seconds", "best_epoch", "best_score"):
            setattr(self, name, snapshot[name])
        device = next(self.model.parameters()).device
        self.best_weights = {k: v.to(device) for k, v in snapshot["best_weights"].items()}


def _fresh_model(recipe: Recipe, num_classes: int) -> nn.Module:
    return build_model(recipe.model, num_classes, recipe.image_size, recipe.dropout)


def _make_buffers(optimizer: Optimizer) -> None:
    """Let the optimiser make its moments now, as zeros: momentum that starts at 0 is the same."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0 * group["lr"]
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _copies(weights: Weights) -> Weights:
    return {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
