"""State of a run: everything that a step changes, and what a snapshot must hold.

Random state is not part of it: the draws of an epoch are a function of (seed, epoch). A snapshot
within an epoch needs the state of the dropout stream too; ``checkpointing`` adds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..config import Recipe
from ..devices import seed_torch
from ..distributed.batch_norm import synchronise_batch_norm
from ..distributed.process_group import world_size
from ..errors import DamagedError
from ..evaluation.metrics import Scores
from ..models.registry import build_model, head_names
from ..storage.snapshots import Snapshot
from .optimization import build_optimizer

Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """What a step changes. One state serves all runs of a recipe, one after another."""

    recipe: Recipe
    num_classes: int
    model: nn.Module
    optimizer: Optimizer
    sums: Tensor  # float64 (3,): loss in nats, top-1 and top-5 errors of the epoch, on the device
    body: Mapping[str, Tensor] = field(default_factory=dict)  # pretrained; empty: fresh weights
    num_images: int = 0  # that the sums are over
    epoch: int = 0  # epochs finished so far
    step: int = 0  # steps made in the epoch under way
    seconds: float = 0.0  # of training in it
    best_epoch: int = 0  # 0: none yet
    best_score: float = math.inf  # the validation score that ``select_by`` names; lower is better
    best_weights: Weights = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        recipe: Recipe,
        num_classes: int,
        device: torch.device,
        body: Mapping[str, Tensor] | None = None,
    ) -> TrainState:
        """Make the model and its optimiser; :meth:`restart` draws the weights.

        With ``--freeze body`` the optimiser holds the parameters of the head alone.

        Parameters
        ----------
        recipe : Recipe
        num_classes : int
        device : torch.device
        body : mapping of str to Tensor, or None
            Weights that every run starts from, but for its head; None: all are fresh.
        """
        model = _fresh_model(recipe, num_classes).to(memory_format=torch.channels_last).to(device)
        if world_size() > 1:
            synchronise_batch_norm(model)
        if recipe.freeze == "body":
            head = head_names(recipe.model, recipe.image_size)
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name in head)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = build_optimizer(trained, recipe, device)
        _make_buffers(optimizer)
        dtype = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
        sums = torch.zeros(3, dtype=dtype, device=device)
        return cls(recipe, num_classes, model, optimizer, sums, body or {})

    def restart(self, seed: int) -> None:
        """Start a run: fresh weights, drawn on the CPU, a function of the seed alone.

        Pretrained weights then replace all but those of the head. Every tensor keeps its memory, so
        that recorded CUDA graphs stay valid.
        """
        seed_torch(seed, 0)
        weights = _fresh_model(self.recipe, self.num_classes).state_dict()
        weights.update(self.body)
        self.model.load_state_dict(weights)
        for moment in self._moments():
            moment.zero_()
        self.epoch = self.step = self.best_epoch = 0
        self.seconds = 0.0
        self.reset_sums()
        self.best_score, self.best_weights = math.inf, {}

    def set_training_mode(self) -> None:
        """Put the model into training mode, or with a frozen body into evaluation mode.

        In evaluation mode, batch normalisation uses the statistics of the pretrained weights and
        leaves them unchanged, and no dropout disturbs the features that the head learns from.
        """
        self.model.train(self.recipe.freeze == "none")

    def tensors(self) -> list[Tensor]:
        """Return weights, buffers and moments: what makes two ranks agree."""
        return [*self.model.state_dict().values(), *self._moments()]

    def is_finite(self) -> bool:
        """Tell whether weights, moments and sums are finite; synchronises with the device."""
        floats = [t for t in (*self.tensors(), self.sums) if t.is_floating_point()]
        return bool(torch.stack([t.isfinite().all() for t in floats]).all())

    def _moments(self) -> list[Tensor]:
        states = self.optimizer.state.values()
        return [v for values in states for v in values.values() if isinstance(v, Tensor)]

    def set_learning_rate(self, value: float | Tensor) -> None:
        """Set the learning rate of the next step; a tensor of shape () within a CUDA graph."""
        for group in self.optimizer.param_groups:
            rate = group["lr"]
            if not isinstance(rate, Tensor):
                group["lr"] = float(value)
            elif isinstance(value, Tensor):
                rate.copy_(value)
            else:
                rate.fill_(value)

    def reset_sums(self) -> None:
        """Start the running scores of an epoch."""
        self.sums.zero_()
        self.num_images = 0

    def running_scores(self) -> Scores:
        """Return the mean scores of the epoch so far; synchronises with the device."""
        loss, top_1, top_5 = (self.sums / self.num_images).tolist()
        return Scores(self.num_images, loss, top_1, top_5 if self.num_classes > 5 else None)

    def end_epoch(self) -> None:
        """Count the current epoch as finished."""
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    def keep_if_best(self, score: float) -> None:
        """Keep a copy of the weights if the epoch just finished has the lowest score so far."""
        if score < self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best_weights = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def snapshot(self) -> Snapshot:
        """Copy the state to CPU memory, as tensors and plain types.

        Copies on the CPU too: training continues while a snapshot is written.
        """
        return {
            "tally": self.sums.to("cpu", copy=True),
            "num_images": self.num_images,
            "model": _copies(self.model.state_dict()),
            "optimizer": [moment.to("cpu", copy=True) for moment in self._moments()],
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
            "best_weights": {k: v.to("cpu") for k, v in self.best_weights.items()},  # never changed
        }

    def check(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot that is not one of this recipe: tensors, counts and what they imply.

        Raises
        ------
        DamagedError
            Naming what does not fit.
        """
        weights, counts = self.model.state_dict(), ("num_images", "epoch", "step", "best_epoch")
        own: dict[str, object] = {name: getattr(self, name) for name in counts}
        own |= {"tally": self.sums, "model": weights, "optimizer": self._moments()}
        own |= {"seconds": 0.0, "best_score": 0.0, "random": torch.zeros(0, dtype=torch.uint8)}
        own["best_weights"] = weights if snapshot.get("best_weights") else {}
        for key, value in own.items():
            stored = snapshot.get(key)
            if key == "random" and isinstance(stored, Tensor) and stored.ndim in (1, 2):
                stored = stored.flatten()[:0]  # as many as there were ranks
            if _kind(stored) != _kind(value):
                raise DamagedError(f"a snapshot does not fit {self.recipe.model}: its {key}")
        num_images, epoch, step, best_epoch = (snapshot[name] for name in counts)
        is_possible = 0 <= best_epoch <= epoch <= self.recipe.epochs and step >= 0
        is_counted = (step == 0 or num_images > 0) and 0 <= snapshot["seconds"] < math.inf
        has_best = len({epoch == 0, best_epoch == 0, not snapshot["best_weights"]}) == 1
        if not (is_possible and is_counted and has_best):
            raise DamagedError(
                f"a snapshot is of no moment of a run of {self.recipe.epochs} epochs"
            )

    def load(self, snapshot: Snapshot) -> None:
        """Restore the state of a snapshot."""
        self.sums.copy_(snapshot["tally"])
        self.model.load_state_dict(snapshot["model"])
        for moment, saved in zip(self._moments(), snapshot["optimizer"], strict=True):
            moment.copy_(saved)
        for name in ("num_images", "epoch", "step", "seconds", "best_epoch", "best_score"):
            setattr(self, name, snapshot[name])
        device = next(self.model.parameters()).device
        self.best_weights = {k: v.to(device) for k, v in snapshot["best_weights"].items()}


def _fresh_model(recipe: Recipe, num_classes: int) -> nn.Module:
    return build_model(recipe.model, num_classes, recipe.image_size, recipe.dropout)


def _make_buffers(optimizer: Optimizer) -> None:
    """Allocate the optimiser's moments as zeros, by a step with zero gradients and rate 0.

    Momentum that starts at 0 gives the same updates as torch's lazily created one.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0 * group["lr"]
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _kind(value: Any) -> Any:
    """Return what a stored value must have in common with the one that it replaces."""
    if isinstance(value, Tensor):
        return value.shape, "floating" if value.is_floating_point() else value.dtype
    if isinstance(value, dict):
        return {key: _kind(inner) for key, inner in value.items()}
    return [_kind(inner) for inner in value] if isinstance(value, list) else type(value)


def _copies(weights: Weights) -> Weights:
    return {key: value.detach().to("cpu", copy=True) for key, value in weights.items()}
