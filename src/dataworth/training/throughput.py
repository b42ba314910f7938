"""Throughput of this machine, on random pixels, and the duration of runs; memory of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ..config import Machine, Recipe, Run
from ..data.datasets import ImageDataset
from ..data.decoding import num_cores
from ..data.images import BadImageError, decode_square
from ..data.loaders import get_train_loader
from ..data.prepare import PreparedData, cache_side, missing_splits
from ..data.splits import Split
from ..data.subsets import num_images
from ..devices import autocast, available_memory
from ..distributed.collectives import all_reduce_max
from ..evaluation.evaluator import predict
from .trainer import Trainer

SAMPLED = 8  # images that are decoded
MEMORY_SHARE = 0.9  # of the free memory that a batch is advised to take: some is lost in fragments


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
    whole = len(splits["train"])
    n = num_images(run.subset_size, whole)  # whole groups differ by half of one at most
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
        trainer.state.set_training_mode()
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
        # All ranks do the same work as often, or they would wait for each other without end.
        while not count or all_reduce_max(time.perf_counter() - began < seconds)[0]:
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


def describe_lack_of_memory(trainer: Trainer, num_images: int) -> str:
    """Say which batch size did not fit into the device's memory, and which would.

    Parameters
    ----------
    trainer : Trainer
    num_images : int
        Of the run's subset: a batch has no more.
    """
    batch_size, device = min(trainer.recipe.batch_size, num_images), trainer.device
    text = f"{device} is out of memory with --batch-size {trainer.recipe.batch_size}; try"
    if device.type != "cuda":
        return f"{text} --batch-size {max(1, batch_size // 2)}"
    torch.cuda.empty_cache()
    available = available_memory(device) + torch.cuda.memory_allocated(device)
    return f"{text} {fitting_batch_size(batch_size, available, partial(_peak_bytes, trainer))}"


def fitting_batch_size(batch_size: int, available: float, peak: Callable[[int], int]) -> str:
    """Estimate which batch size fits, from the memory that two smaller ones take.

    Parameters
    ----------
    batch_size : int
        Did not fit.
    available : float
        Bytes that a step may take, with the weights.
    peak : callable
        Maps a number of images to the bytes that a step of as many takes.

    Returns
    -------
    str
        Advice, with the measured memory.
    """
    few, more = max(1, batch_size // 16), max(2, batch_size // 8)
    try:
        small, large = peak(few), peak(more)
    except RuntimeError:  # torch.OutOfMemoryError, or what a library makes of it
        return f"a smaller --model or --image-size: not even {more} images fit"
    per_image = max(1.0, (large - small) / (more - few))
    fixed = small - few * per_image
    fits = min(int((MEMORY_SHARE * available - fixed) / per_image), batch_size - 1)
    flag = f"--batch-size {fits}" if fits > 0 else "a smaller --model or --image-size"
    return (
        f"{flag}: an image takes {per_image / 1e6:,.1f} MB beside {fixed / 1e9:.2f} GB, "
        f"of {available / 1e9:.2f} GB"
    )


def _peak_bytes(trainer: Trainer, n: int) -> int:
    """Make a step of ``n`` images; return the most memory that was allocated."""
    loader = get_train_loader(trainer.pixels, np.arange(n), trainer.recipe.replace(batch_size=n))
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(trainer.device)
    for inputs, labels in loader.batches(loader.augmentation(0, 0)):
        trainer.train_step(inputs, labels, len(labels), trainer.recipe.learning_rate)
    return torch.cuda.max_memory_allocated(trainer.device)
