"""From a split's rows and a source of pixels to batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..config import Recipe
from ..distributed.process_group import shard
from .augmentation import EpochPlan
from .pixels import Batch, Source, Sources
from .splits import Split
from .subsets import Indices
from .transforms import Moments, normalise


@dataclass(frozen=True)
class Loader:
    """Batches of a split, spread evenly over as few batches as ``batch_size`` allows.

    So no step sees a tiny last batch, whose gradient (and batch statistics) would be mostly noise.
    Of the batches of training, each process gets its share.
    """

    source: Source
    split: Split
    size: int  # of the input, in pixels
    batch_size: int
    steps: int  # between two validations; see Recipe.epoch_steps
    augment: str
    moments: Moments

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
        """Draw the plan of a pass over the subset."""
        n = len(self.split)
        return EpochPlan.draw(n, self.source.side, self.size, seed, epoch, self.augment)

    def images_before(self, batch: int) -> int:
        """Images in the batches of an epoch before ``batch``."""
        return batch * len(self.split) // self.num_batches

    def num_images(self, step: int) -> int:
        """Images in the batch of a step, counted through all epochs, for all processes."""
        batch = step % self.num_batches
        return self.images_before(batch + 1) - self.images_before(batch)

    def walk(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step ``start`` on, before they are images.

        Steps are counted through all epochs, passes over the subset follow one another: an epoch
        that is longer or shorter than a pass begins where the one before ended.
        """
        step, end = epoch * self.steps + start, (epoch + 1) * self.steps
        while step < end:
            number, batch = divmod(step, self.num_batches)
            stop = min(self.num_batches, batch + end - step)
            yield from self.inputs(self.plan(seed, number), batch, stop)
            step += stop - batch

    def inputs(self, plan: EpochPlan, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches ``start`` to ``stop`` of a pass before they are images."""
        slices = [shard(*pair) for pair in self.bounds(start, stop)]
        return self.source.batches(self.split, plan, self.size, slices) if slices else iter(())

    def bounds(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """Return first image and end of batches ``start`` to ``stop`` of a pass."""
        last = self.num_batches if stop is None else stop
        return list(pairwise(self.images_before(batch) for batch in range(start, last + 1)))

    def images(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Make float32 images (b, 3, size, size), channels last, of a batch's inputs."""
        return normalise(self.source.crops(inputs, self.size), self.moments)

    def train_epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of augmented images and labels, decided by (seed, epoch) alone."""
        for inputs, labels in self.walk(seed, epoch):
            yield self.images(inputs), labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation."""
        return self.whole(0, 1)

    def whole(self, first: int, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the same, of every ``stride``-th batch from ``first`` on."""
        plan = EpochPlan.plain(len(self.split), self.margin)
        slices = [slice(*pair) for pair in self.bounds()[first::stride]]
        for inputs, labels in self.source.batches(self.split, plan, self.size, slices):
            yield self.images(inputs), labels


def get_loader(sources: Sources, split: Split, recipe: Recipe) -> Loader:
    """Build the loader of any split, or part of one."""
    source, data = sources.by_name[split.source], sources.data
    steps = recipe.epoch_steps(len(split), len(data.dataset.splits["train"]))
    size, batch, moments = recipe.image_size, recipe.batch_size, data.moments(recipe.normalise)
    return Loader(source, split, size, batch, steps, recipe.augment, moments)


def get_train_loader(sources: Sources, indices: Indices, recipe: Recipe) -> Loader:
    """Build the loader of a subset of the training split; ``indices`` has shape (n,)."""
    return get_loader(sources, sources.data.dataset.splits["train"].take(indices), recipe)


def get_val_loader(sources: Sources, recipe: Recipe) -> Loader:
    """Build the loader of the validation split."""
    return get_loader(sources, sources.data.dataset.splits["validation"], recipe)


def get_test_loader(sources: Sources, recipe: Recipe) -> Loader:
    """Build the loader of the test split."""
    return get_loader(sources, sources.data.dataset.splits["test"], recipe)
