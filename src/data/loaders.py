"""From a split's rows and a source of pixels to batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..config import Recipe
from .plans import EpochPlan
from .sources import Batch, Source, Sources
from .splits import Split
from .subsets import Indices


@dataclass(frozen=True)
class Loader:
    """Batches of a split, spread evenly over as few batches as ``batch_size`` allows.

    So no step sees a tiny last batch, whose gradient (and batch statistics) would be mostly noise.
    """

    source: Source
    split: Split
    size: int  # of the input, in pixels
    batch_size: int

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.split) // self.batch_size)

    @property
    def margin(self) -> int:
        """Pixels by which a crop can move."""
        return self.source.side - self.size

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self.source.device

    def plan(self, seed: int, epoch: int) -> EpochPlan:
        """Draw the plan of an epoch of training."""
        return EpochPlan.draw(len(self.split), self.margin, seed, epoch)

    def images_before(self, batch: int) -> int:
        """Images in the batches of an epoch before ``batch``."""
        return batch * len(self.split) // self.num_batches

    def inputs(self, plan: EpochPlan, start: int = 0) -> Iterator[Batch]:
        """Yield batches from ``start`` on before they are images, for a step that makes them."""
        bounds = [self.images_before(batch) for batch in range(start, self.num_batches + 1)]
        slices = [slice(*pair) for pair in pairwise(bounds)]
        return self.source.batches(self.split, plan, self.size, slices) if slices else iter(())

    def images(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Make float32 images (b, 3, size, size), channels last, of a batch's inputs."""
        return self.source.images(inputs, self.size)

    def train_epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of augmented images and labels, decided by (seed, epoch) alone."""
        for inputs, labels in self.inputs(self.plan(seed, epoch)):
            yield self.images(inputs), labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation."""
        for inputs, labels in self.inputs(EpochPlan.plain(len(self.split), self.margin)):
            yield self.images(inputs), labels


def get_loader(sources: Sources, split: Split, recipe: Recipe) -> Loader:
    """Build the loader of any split, or part of one."""
    source = sources.by_name[split.source]
    return Loader(source, split, recipe.image_size, recipe.batch_size)


def get_train_loader(sources: Sources, indices: Indices, recipe: Recipe) -> Loader:
    """Build the loader of a subset of the training split; ``indices`` has shape (n,)."""
    return get_loader(sources, sources.data.dataset.splits["train"].take(indices), recipe)


def get_val_loader(sources: Sources, recipe: Recipe) -> Loader:
    """Build the loader of the validation split."""
    return get_loader(sources, sources.data.dataset.splits["validation"], recipe)


def get_test_loader(sources: Sources, recipe: Recipe) -> Loader:
    """Build the loader of the test split."""
    return get_loader(sources, sources.data.dataset.splits["test"], recipe)
