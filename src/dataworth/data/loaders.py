"""Loaders: batches of a split for training and evaluation, made from a pixel store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from ..config import Recipe
from ..distributed.process_group import shard
from .augmentation import AugmentedEpoch
from .normalisation import ChannelStats, normalise
from .pixels import Batch, PixelStore, PixelStores
from .splits import Split
from .subsets import Indices


@dataclass(frozen=True)
class Loader:
    """Batches of a split, of even size: as few as ``batch_size`` allows.

    Even batches avoid a tiny last one, whose gradient (and batch statistics) would be mostly noise.
    In training each rank gets its shard of every batch. A *pass* goes through the split once; an
    *epoch* has ``steps_per_epoch`` steps, which is one pass unless ``--budget steps`` asks for
    another number.
    """

    store: PixelStore
    split: Split
    size: int  # of the input, in pixels
    batch_size: int  # maximum, over all ranks together
    steps_per_epoch: int  # see Recipe.steps_per_epoch
    augment: str
    channel_stats: ChannelStats

    @property
    def num_batches(self) -> int:
        """Batches in a pass."""
        return -(-len(self.split) // self.batch_size)

    @property
    def margin(self) -> int:
        """Side of a cached image less that of the input, in pixels."""
        return self.store.side - self.size

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self.store.device

    def augmentation(self, seed: int, number: int) -> AugmentedEpoch:
        """Draw the augmentation of pass ``number`` over the split."""
        n = len(self.split)
        return AugmentedEpoch.draw(n, self.store.side, self.size, seed, number, self.augment)

    def global_batch_size(self, step: int) -> int:
        """Images in the batch of a step, over all ranks; steps are counted through all epochs."""
        batch = step % self.num_batches
        return self._first_image(batch + 1) - self._first_image(batch)

    def epoch_batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step ``start`` on; :meth:`images` makes their images.

        Passes follow one another without a gap: an epoch longer or shorter than a pass starts
        where the previous epoch ended.

        Parameters
        ----------
        seed : int
            Of the run.
        epoch : int
            From 0.
        start : int
            First step within the epoch, from 0.
        """
        step, end = epoch * self.steps_per_epoch + start, (epoch + 1) * self.steps_per_epoch
        while step < end:
            number, batch = divmod(step, self.num_batches)
            stop = min(self.num_batches, batch + end - step)
            yield from self.batches(self.augmentation(seed, number), batch, stop)
            step += stop - batch

    def batches(
        self, augmented: AugmentedEpoch, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Yield this rank's shard of some batches of a pass.

        Parameters
        ----------
        augmented : AugmentedEpoch
            From :meth:`augmentation`.
        start, stop : int
            First batch, and the one after the last (default: to the end of the pass).
        """
        slices = [shard(*bounds) for bounds in self.batch_bounds(start, stop)]
        return self.store.batches(self.split, augmented, self.size, slices) if slices else iter(())

    def batch_bounds(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """Return first and last image (excluded) of batches ``start`` to ``stop`` of a pass."""
        end = self.num_batches if stop is None else stop
        return list(pairwise(self._first_image(batch) for batch in range(start, end + 1)))

    def _first_image(self, batch: int) -> int:
        return batch * len(self.split) // self.num_batches

    def images(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Make the images of a batch, float32 (b, 3, size, size), channels last, on the device."""
        return normalise(self.store.crops(inputs, self.size), self.channel_stats)

    def epoch_images(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield augmented images and labels of one epoch, a function of (seed, epoch)."""
        for inputs, labels in self.epoch_batches(seed, epoch):
            yield self.images(inputs), labels

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of the split once, in order, without augmentation."""
        return self.eval_batches(0, 1)

    def eval_batches(self, first: int, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every ``stride``-th batch from ``first`` on, in order, without augmentation."""
        centred = AugmentedEpoch.unaugmented(len(self.split), self.margin)
        slices = [slice(*bounds) for bounds in self.batch_bounds()[first::stride]]
        for inputs, labels in self.store.batches(self.split, centred, self.size, slices):
            yield self.images(inputs), labels


def get_loader(
    stores: PixelStores, split: Split, recipe: Recipe, channel_stats: ChannelStats | None = None
) -> Loader:
    """Build the loader of any split, or part of one.

    Parameters
    ----------
    stores : PixelStores
        Of the recipe's data set.
    split : Split
    recipe : Recipe
        Input size, batch size, augmentation and normalisation.
    channel_stats : pair of tuples of 3 floats, or None
        Normalisation of pretrained weights; None: that of the recipe.
    """
    data = stores.data
    steps = recipe.steps_per_epoch(len(split), len(data.dataset.splits["train"]))
    return Loader(
        stores.by_source[split.source],
        split,
        recipe.image_size,
        recipe.batch_size,
        steps,
        recipe.augment,
        channel_stats or data.channel_stats(recipe.normalise),
    )


def get_train_loader(stores: PixelStores, indices: Indices, recipe: Recipe) -> Loader:
    """Build the loader of a subset of the training split.

    Parameters
    ----------
    stores : PixelStores
    indices : int64 ndarray of shape (n,)
        Positions within the training split.
    recipe : Recipe
    """
    return get_loader(stores, stores.data.dataset.splits["train"].take(indices), recipe)


def get_eval_loader(
    name: str, stores: PixelStores, recipe: Recipe, channel_stats: ChannelStats | None = None
) -> Loader:
    """Build the loader of a whole split: validation or test.

    Parameters
    ----------
    name : str
        Of the split.
    stores, recipe, channel_stats
        As in :func:`get_loader`.
    """
    return get_loader(stores, stores.data.dataset.splits[name], recipe, channel_stats)


get_val_loader = partial(get_eval_loader, "validation")
get_test_loader = partial(get_eval_loader, "test")
