"""How long a study will take, from a few steps on random pixels. Nothing is read or written."""

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
from .workbench import Workbench

REPEATS = 3  # timed, after one that is not
SAMPLED = 8  # images that are decoded


@dataclass(frozen=True)
class Speed:
    """Images per second."""

    training: float
    validation: float
    decoding: float

    def __str__(self) -> str:
        rates = (f"{kind} {rate:,.0f}" for kind, rate in vars(self).items())
        return f"images/s: {', '.join(rates)}"


def estimate_seconds(
    runs: Sequence[Run], recipe: Recipe, dataset: ImageDataset, machine: Machine, speed: Speed
) -> float:
    """Estimate how long ``runs`` of one recipe take, decoding included."""
    splits = dataset.splits
    whole, batch = len(splits["train"]), recipe.batch_size
    sizes = [num_images(run.subset_size, whole) for run in runs]
    trained = sum(recipe.epoch_steps(n, whole) * n / -(-n // batch) for n in sizes)
    validated = len(runs) * len(splits["validation"])
    epoch = trained / speed.training + validated / speed.validation
    undecoded = sum(len(dataset.tables[s]) for s in missing_splits(dataset, recipe, machine))
    return recipe.epochs * epoch + undecoded / speed.decoding


def measure_speed(recipe: Recipe, machine: Machine, dataset: ImageDataset) -> Speed:
    """Time a few steps, a validation batch and a few decodings on this machine."""
    data = _random_pixels(recipe, len(dataset.classes))
    bench = Workbench.build(recipe, machine, data)
    loader = get_train_loader(bench.sources, np.arange(recipe.batch_size), recipe)
    bench.state.restart(seed=0)
    step = bench.step_for(loader)
    bench.state.model.train()

    def train() -> None:
        for inputs, labels in loader.inputs(loader.plan(0, 0)):
            step(inputs, labels, recipe.batch_size)
        step.tally.means()  # waits for the device

    def validate() -> None:
        with autocast(bench.device, machine.precision):
            predict(bench.state.model, loader)

    return Speed(_rate(train, loader), _rate(validate, loader), _decoding(recipe, machine, dataset))


def _rate(work: Callable[[], None], loader: Loader) -> float:
    work()  # kernels are chosen, buffers are made
    began = time.perf_counter()
    for _ in range(REPEATS):
        work()
    return REPEATS * len(loader.split) / (time.perf_counter() - began)


def _decoding(recipe: Recipe, machine: Machine, dataset: ImageDataset) -> float:
    """Time the decoding of a few training images; what is wrong with one is said later."""
    split, side, count = dataset.splits["train"], cache_side(recipe.image_size), 0
    began = time.perf_counter()
    for row in split.rows[:SAMPLED]:
        with suppress(BadImageError):
            decode_square(dataset.encoded(split.source, int(row)), side)
        count += 1
    return (machine.workers or num_cores()) * count / (time.perf_counter() - began)


def _random_pixels(recipe: Recipe, num_classes: int) -> PreparedData:
    """Make one batch of noise; labels that repeat, so that every model can be built."""
    n, side = recipe.batch_size, cache_side(recipe.image_size)
    pixels = np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    split = Split("noise", np.arange(n), np.arange(n) % num_classes)
    splits = {"train": split, "validation": split, "test": split}
    classes = tuple(str(i) for i in range(num_classes))
    dataset = ImageDataset("noise", "noise", None, classes, splits, {}, None, ())
    return PreparedData(dataset, {"noise": pixels}, {"noise": np.zeros((n, 32), np.uint8)})
