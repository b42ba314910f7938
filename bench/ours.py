"""The project's own steps, driven as ``train.py`` and ``eval.py`` drive them."""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as dataworth.commands.cli does

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from dataworth.config import Machine, Recipe
from dataworth.data.loaders import Loader, get_train_loader
from dataworth.data.prepare import open_data
from dataworth.devices import autocast
from dataworth.training.workbench import Workbench

from .baselines import REPEATS


def workbench(folder: Path, size: int, batch: int, cache: Path) -> tuple[Workbench, Loader]:
    """Open a folder of images through the cache, with AlexNet and all images repeated."""
    recipe = Recipe(dataset=str(folder), image_size=size, batch_size=batch)
    machine = Machine(cache_dir=cache)
    bench = Workbench.build(recipe, machine, open_data(recipe, machine))
    images = len(bench.sources.data.dataset.splits["train"])
    indices = np.tile(np.arange(images), REPEATS)
    return bench, get_train_loader(bench.sources, indices, recipe)


def training(bench: Workbench, loader: Loader) -> Iterator[int]:
    """Train; yield the images of each step."""
    bench.state.restart(seed=1)
    bench.state.model.train()
    step = bench.step_for(loader)
    epoch = 0
    while True:
        for inputs, labels in loader.inputs(loader.plan(1, epoch)):
            step(inputs, labels)
            yield len(labels)
        epoch += 1


def evaluation(bench: Workbench, loader: Loader) -> Iterator[int]:
    """Evaluate in fp32, as ``eval.py``; yield the images of each batch."""
    bench.state.restart(seed=1)
    model = bench.state.model.eval()
    while True:
        for images, labels in loader:
            with torch.inference_mode():
                model(images).argmax(1).eq(labels).sum().item()
            yield len(labels)


def validation(bench: Workbench, loader: Loader) -> Iterator[int]:
    """Evaluate at the precision of training, as after every epoch."""
    with autocast(loader.device, bench.machine.precision):
        yield from evaluation(bench, loader)


def loading(loader: Loader) -> Iterator[int]:
    """Make batches ready for the network, without a network; yield their images."""
    while True:
        for inputs, labels in loader.inputs(loader.plan(1, 0)):
            loader.images(inputs)
            yield len(labels)
