"""What must survive a crash. Randomness need not: it is a function of (seed, epoch)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import Run
from ..devices import seed_torch
from ..models import build_model
from .optimization import build_optimizer

Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """What changes during a run."""

    model: nn.Module
    optimizer: Optimizer
    epoch: int = 0  # epochs finished so far
    best_epoch: int = 0  # 0: none yet
    best_score: float = math.inf  # the validation score that ``select_by`` names; lower is better
    best_weights: Weights = field(default_factory=dict)

    @classmethod
    def fresh(cls, run: Run, num_classes: int, device: torch.device) -> TrainState:
        """Random weights, drawn on the CPU and decided by the seed of ``run`` alone."""
        seed_torch(run.seed, 0)
        recipe = run.recipe
        model = build_model(recipe.model, num_classes, recipe.image_size, recipe.dropout)
        model = model.to(memory_format=torch.channels_last).to(device)
        return cls(model, build_optimizer(model.parameters(), recipe))

    def keep_if_best(self, score: float) -> None:
        """Remember the current weights if the epoch just finished has the lowest score."""
        if score < self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Snapshot of plain types, loadable with ``weights_only=True``."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where the snapshot was taken."""
        device = next(self.model.parameters()).device
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best_epoch = state["epoch"], state["best_epoch"]
        self.best_score = state["best_score"]
        self.best_weights = {k: v.to(device) for k, v in state["best_weights"].items()}
