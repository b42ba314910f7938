"""Throughput of this machine, measured on random pixels, and the duration of runs that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..config import Machine, Recipe, Run
from ..data.datasets import ImageDataset
from ..data.decoding import num_cores
from ..data.images import BadImageError, decode_square
from ..data.loaders import Loader, get_train_loader
from ..data.prepare import PreparedData, cache_side, missing_splits
from ..data.splits import Split
from ..data.subsets import num_images
from ..devices import autocast
from ..evaluation.evaluator import predict
from .trainer import Trainer

REPEATS = 3  # timed repetitions, after one warm-up
SAMPLED = 8  # images that are decoded


@dataclass(frozen=True)
class Throughput:
    """Images per second."""

    training: float
    validation: float
    decoding: float

    def __str__(self) -> str:
        rates = (f"{kind} {rate:,.0f}" for kind, rate in vars(self).items())
        return f"images/s: {', '.join(rates)}"


def estimate_seconds(
    runs: Sequence[Run],
    recipe: Recipe,
    dataset: ImageDataset,
    machine: Machine,
    throughput: Throughput,
) -> float:
    """Estimate how many seconds runs of one recipe take, decoding included.

    Parameters
    ----------
    runs : sequence of Run
    recipe : Recipe
        Of all these runs.
    dataset : ImageDataset
    machine : Machine
    throughput : Throughput
        From :func:`measure_throughput`.
    """
    splits = dataset.splits
    whole, batch = len(splits["train"]), recipe.batch_size
    sizes = [num_images(run.subset_size, whole) for run in runs]
    trained = sum(recipe.steps_per_epoch(n, whole) * n / -(-n // batch) for n in sizes)
    validated = len(runs) * len(splits["validation"])
    epoch = trained / throughput.training + validated / throughput.validation
    undecoded = sum(len(dataset.tables[s]) for s in missing_splits(dataset, recipe, machine))
    return recipe.epochs * epoch + undecoded / throughput.decoding


def measure_throughput(recipe: Recipe, machine: Machine, dataset: ImageDataset) -> Throughput:
    """Time a few training steps, validation batches and image decodings on this machine.

    Parameters
    ----------
    recipe : Recipe
    machine : Machine
    dataset : ImageDataset
        Its training images are decoded.
    """
    batch_size = min(recipe.batch_size, len(dataset.splits["train"]))
    recipe = recipe.replace(batch_size=batch_size)
    trainer = Trainer.build(recipe, machine, _random_pixels(recipe, len(dataset.classes)))
    loader = get_train_loader(trainer.pixels, np.arange(recipe.batch_size), recipe)
    trainer.state.restart(seed=0)
    trainer.state.model.train()

    def train() -> None:
        trainer.state.reset_sums()
        for inputs, labels in loader.batches(loader.augmentation(0, 0)):
            trainer.step(inputs, labels, recipe.batch_size, recipe.learning_rate)
            trainer.state.num_images += recipe.batch_size
        trainer.state.running_scores()  # waits for the device

    def validate() -> None:
        with autocast(trainer.device, machine.precision):
            predict(trainer.state.model, loader)

    training, validation = _rate(train, loader), _rate(validate, loader)
    return Throughput(training, validation, _decoding_rate(recipe, machine, dataset))


def _rate(work: Callable[[], None], loader: Loader) -> float:
    """Return images per second of a function that handles the loader's images once."""
    work()  # warm-up: kernels are chosen, buffers are allocated
    began = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return REPEATS * len(loader.split) / (time.perf_counter() - began)


def _decoding_rate(recipe: Recipe, machine: Machine, dataset: ImageDataset) -> float:
    """Time the decoding of a few training images; bad ones are reported when the cache is built."""
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
