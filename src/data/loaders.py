"""From cached pixels and rows to batches. All randomness is a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import Recipe
from .datasets import Split
from .prepare import PreparedData
from .transforms import normalise

STREAM = 0x5EED_0002  # keeps these draws apart from every other use of the same seed


@dataclass(frozen=True)
class EpochPlan:
    """Which image comes when, and how it is cropped and mirrored; shapes (n,)."""

    order: NDArray[np.int64]
    top: NDArray[np.int64]  # pixels
    left: NDArray[np.int64]  # pixels
    mirrored: NDArray[np.bool_]

    @classmethod
    def draw(cls, n: int, margin: int, seed: int, epoch: int) -> EpochPlan:
        """Draw an epoch of training: shuffled, randomly cropped and mirrored."""
        rng = np.random.default_rng([STREAM, seed, epoch])
        top, left = rng.integers(0, margin + 1, (2, n))
        return cls(rng.permutation(n), top, left, rng.random(n) < 0.5)

    @classmethod
    def plain(cls, n: int, margin: int) -> EpochPlan:
        """Plan every image once, in order, its centre cropped."""
        centre = np.full(n, margin // 2)
        return cls(np.arange(n), centre, centre, np.zeros(n, dtype=bool))


@dataclass(frozen=True)
class Loader:
    """Batches of a split: images float32 (b, 3, size, size), labels int64 (b,), on ``device``.

    The images are spread evenly over as few batches as ``batch_size`` allows, so that no step
    sees a tiny last batch, whose gradient (and batch statistics) would be mostly noise.
    """

    images: NDArray[np.uint8]  # (n of the source, side, side, 3)
    split: Split
    size: int
    batch_size: int
    device: torch.device

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.split) // self.batch_size)

    @property
    def margin(self) -> int:
        """Pixels by which a crop can move."""
        return int(self.images.shape[1]) - self.size

    def train_epoch(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one epoch of augmented batches, decided by (seed, epoch) alone."""
        return self._batches(self.plan(seed, epoch))

    def plan(self, seed: int, epoch: int) -> EpochPlan:
        """Draw the plan of an epoch of training."""
        return EpochPlan.draw(len(self.split), self.margin, seed, epoch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every image once, in order, without augmentation."""
        return self._batches(EpochPlan.plain(len(self.split), self.margin))

    def _batches(self, plan: EpochPlan) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in self._slices():
            positions = plan.order[chosen]
            pixels = self._crops(
                self.split.rows[positions],
                plan.top[chosen],
                plan.left[chosen],
                plan.mirrored[chosen],
            )
            labels = torch.from_numpy(self.split.labels[positions])
            yield normalise(torch.from_numpy(pixels).to(self.device)), labels.to(self.device)

    def _slices(self) -> Iterator[slice]:
        n, batches = len(self.split), self.num_batches
        for i in range(batches):
            yield slice(i * n // batches, (i + 1) * n // batches)

    def _crops(
        self,
        rows: NDArray[np.int64],
        top: NDArray[np.int64],
        left: NDArray[np.int64],
        mirrored: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        # One slice per image: four times faster than one fancy index over the memory map.
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for i, (row, y, x, flip) in enumerate(zip(rows, top, left, mirrored, strict=True)):
            crop = self.images[row, y : y + self.size, x : x + self.size]
            out[i] = crop[:, ::-1] if flip else crop
        return out


def get_train_loader(
    data: PreparedData, indices: NDArray[np.int64], recipe: Recipe, device: torch.device
) -> Loader:
    """Build the loader of a subset of the training split; ``indices`` has shape (n,)."""
    return get_loader(data, data.dataset.splits["train"].take(indices), recipe, device)


def get_val_loader(data: PreparedData, recipe: Recipe, device: torch.device) -> Loader:
    """Build the loader of the validation split."""
    return get_loader(data, data.dataset.splits["validation"], recipe, device)


def get_test_loader(data: PreparedData, recipe: Recipe, device: torch.device) -> Loader:
    """Build the loader of the test split."""
    return get_loader(data, data.dataset.splits["test"], recipe, device)


def get_loader(data: PreparedData, split: Split, recipe: Recipe, device: torch.device) -> Loader:
    """Build the loader of any split, or part of one."""
    images = data.images[split.source]
    return Loader(images, split, recipe.image_size, recipe.batch_size, device)
