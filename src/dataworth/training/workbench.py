"""What all runs of a study share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ..config import Machine, Recipe
from ..data.loaders import Loader
from ..data.pixels import Sources
from ..data.prepare import PreparedData
from ..devices import prepare_process
from ..distributed.process_group import own_device
from .state import TrainState
from .steps import Step, build_step


@dataclass
class Workbench:
    """Made on first use: placed pixels, a model, its step."""

    recipe: Recipe
    machine: Machine
    data: PreparedData
    device: torch.device
    step: Step | None = None
    spent: float = 0.0  # preparing the steps of recipes before, in seconds

    @classmethod
    def build(cls, recipe: Recipe, machine: Machine, data: PreparedData) -> Workbench:
        """Settle the device and prepare the process for it.

        Raises
        ------
        InputError
            If the device is missing.
        """
        device = own_device(machine.device)
        prepare_process(device)
        return cls(recipe, machine, data, device)

    def for_recipe(self, recipe: Recipe) -> Workbench:
        """Return the bench of another recipe on the same pixels; this one is done with."""
        other = Workbench(
            recipe, self.machine, self.data, self.device, spent=self.preparing_seconds
        )
        if "sources" in vars(self):
            other.sources = self.sources
        return other

    @property
    def preparing_seconds(self) -> float:
        """Time that compiling and recording took so far."""
        return self.spent + (self.step.preparing_seconds if self.step else 0.0)

    @cached_property
    def sources(self) -> Sources:
        """The pixels, where ``--residency`` wants them."""
        return Sources(self.data, self.device, self.machine.residency)

    @cached_property
    def state(self) -> TrainState:
        """The model and its optimiser; runs take turns on them."""
        return TrainState.build(self.recipe, len(self.data.dataset.classes), self.device)

    def step_for(self, train: Loader) -> Step:
        """Return the step, built on the first call: compiling is paid once per study."""
        if self.step is None:
            smoothing, machine = self.recipe.label_smoothing, self.machine
            self.step = build_step(self.state, train, smoothing, machine.precision, machine.compile)
        return self.step
