"""Throughput of this machine, measured on random pixels, and the duration of runs that follows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..config import Machine, Recipe, Run
from ..data.datasets import ImageDataset
from ..data.decoding import num_cores
from ..data.images import BadImageError, decode_square
from ..data.loaders import get_train_loader
from ..data.prepare import PreparedData, cache_side, missing_splits
from ..data.splits import Split
from ..data.subsets import num_images
from ..devices import autocast
from ..evaluation.evaluator import predict
from .trainer import Trainer

SAMPLED = 8  # images that are decoded


@dataclass(frozen=True)
class Throughput:
    """Images per second of one run."""

    training: float
    validation: float


def decoding_seconds(
    recipe: Recipe, dataset: ImageDataset, machine: Machine, images_per_second: float
) -> float:
    """Estimate how many seconds the decoding of the splits takes that are not cached.

    Parameters
    ----------
    recipe : Recipe
    dataset : ImageDataset
    machine : Machine
    images_per_second : float
        From :func:`decoding_rate`.
    """
    missing = missing_splits(dataset, recipe, machine)
    return sum(len(dataset.tables[source]) for source in missing) / images_per_second


def training_seconds(run: Run, dataset: ImageDataset, throughput: Throughput) -> float:
    """Estimate how many seconds a run takes.

    Parameters
    ----------
    run : Run
    dataset : ImageDataset
    throughput : Throughput
        Of the run's recipe.
    """
    recipe, splits = run.recipe, dataset.splits
    n, whole = num_images(run.subset_size, len(splits["train"])), len(splits["train"])
    trained = recipe.steps_per_epoch(n, whole) * n / -(-n // recipe.batch_size)
    validated = len(splits["validation"])
    epoch = trained / throughput.training + validated / throughput.validation
    return recipe.epochs * epoch


class Probe:
    """A model that trains on one batch of random pixels, to be timed."""

    def __init__(self, recipe: Recipe, machine: Machine, num_classes: int) -> None:
        self.trainer = Trainer.build(recipe, machine, _random_pixels(recipe, num_classes))
        self.loader = get_train_loader(self.trainer.pixels, np.arange(recipe.batch_size), recipe)
        self.trainer.state.restart(seed=0)

    def train(self) -> None:
        """Make one step."""
        trainer, loader, recipe = self.trainer, self.loader, self.trainer.recipe
        trainer.state.model.train()
        trainer.state.reset_sums()
        for inputs, labels in loader.batches(loader.augmentation(0, 0)):
            trainer.step(inputs, labels, recipe.batch_size, recipe.learning_rate)
            trainer.state.num_images += recipe.batch_size
        trainer.state.running_scores()  # waits for the device

    def validate(self) -> None:
        """Make one forward pass."""
        with autocast(self.trainer.device, self.trainer.machine.precision):
            predict(self.trainer.state.model, self.loader)

    def throughput(self, seconds: float) -> Throughput:
        """Time steps for ``seconds`` and forward passes for half of it, at least one each."""
        return Throughput(self._rate(self.train, seconds), self._rate(self.validate, seconds / 2))

    def _rate(self, work: Callable[[], None], seconds: float) -> float:
        began, count = time.perf_counter(), 0
        while not count or time.perf_counter() - began < seconds:
            work()
            count += 1
        return count * len(self.loader.split) / (time.perf_counter() - began)


def decoding_rate(recipe: Recipe, machine: Machine, dataset: ImageDataset) -> float:
    """Return the images per second that all decoding processes take, timed on a few images.

    Parameters
    ----------
    recipe : Recipe
    machine : Machine
    dataset : ImageDataset
        Bad images of it are reported when the cache is built.
    """
    split, side, count = dataset.splits["train"], cache_side(recipe.image_size), 0
    began = time.perf_counter()
    for row in split.rows[:SAMPLED]:
        with suppress(BadImageError):
            decode_square(dataset.encoded(split.source, int(row)), side)
        count += 1
    return (machine.workers or num_cores()) * count / (time.perf_counter() - began)


def _random_pixels(recipe: Recipe, num_classes: int) -> PreparedData:
    """Return one batch of random pixels with labels of every class in turn."""
    n, side = recipe.batch_size, cache_side(recipe.image_size)
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    split = Split("noise", np.arange(n), np.arange(n) % num_classes)
    splits = {"train": split, "validation": split, "test": split}
    classes = tuple(str(i) for i in range(num_classes))
    dataset = ImageDataset("noise", "noise", None, classes, splits, {}, None, ())
    return PreparedData(dataset, {"noise": pixels}, {"noise": np.zeros((n, 32), np.uint8)})
