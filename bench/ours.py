"""The project's training, evaluation and loading, as ``train.py`` and ``eval.py`` run them."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the commands do

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dataworth.config import Machine, Recipe
from dataworth.data.loaders import Loader, get_train_loader
from dataworth.data.prepare import open_data
from dataworth.devices import autocast
from dataworth.training.trainer import Trainer

from .baselines import REPEATS


def open_trainer(folder: Path, size: int, batch: int, cache: Path) -> tuple[Trainer, Loader]:
    """Open a folder of images through the cache: a trainer of AlexNet, every image repeated."""
    recipe = Recipe(dataset=str(folder), image_size=size, batch_size=batch)
    machine = Machine(cache_dir=cache)
    trainer = Trainer.build(recipe, machine, open_data(recipe, machine))
    images = len(trainer.pixels.data.dataset.splits["train"])
    indices = np.tile(np.arange(images), REPEATS)
    return trainer, get_train_loader(trainer.pixels, indices, recipe)


def training(trainer: Trainer, loader: Loader) -> Iterator[int]:
    """Train; yield the images of each step."""
    trainer.state.restart(seed=1)
    trainer.state.model.train()
    epoch = 0
    while True:
        for inputs, labels in loader.batches(loader.augmentation(1, epoch)):
            trainer.step(inputs, labels, len(labels), trainer.recipe.learning_rate)
            yield len(labels)
        epoch += 1


def evaluation(trainer: Trainer, loader: Loader) -> Iterator[int]:
    """Evaluate in fp32, as ``eval.py``; yield the images of each batch."""
    trainer.state.restart(seed=1)
    model = trainer.state.model.eval()
    while True:
        for images, labels in loader:
            with torch.inference_mode():
                model(images).argmax(1).eq(labels).sum().item()
            yield len(labels)


def validation(trainer: Trainer, loader: Loader) -> Iterator[int]:
    """Evaluate at the precision of training, as after every epoch."""
    with autocast(loader.device, trainer.machine.precision):
        yield from evaluation(trainer, loader)


def loading(loader: Loader) -> Iterator[int]:
    """Load batches without a network; yield the images of each batch."""
    while True:
        for inputs, labels in loader.batches(loader.augmentation(1, 0)):
            loader.images(inputs)
            yield len(labels)
