"""Benchmarked workloads: generators that a spawned process can import by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def ours(kind: str, images: Path, size: int, batch: int, cache: Path) -> Iterator[int]:
    """Run this project's training, validation, evaluation or loading.

    Parameters
    ----------
    kind : str
        training, validation, evaluation or loading.
    images : Path
        One folder of images per class.
    size : int
        Input size, in pixels.
    batch : int
        Images per batch.
    cache : Path
        Folder for the cache of decoded pixels.
    """
    from . import ours as steps

    trainer, loader = steps.open_trainer(images, size, batch, cache)
    if kind == "loading":
        return steps.loading(loader)
    work = {
        "training": steps.training,
        "validation": steps.validation,
        "evaluation": steps.evaluation,
    }
    return work[kind](trainer, loader)


def baseline(kind: str, name: str, images: Path, size: int, batch: int) -> Iterator[int]:
    """Run a baseline on the CPU.

    Parameters
    ----------
    kind : str
        training, validation, evaluation or loading.
    name : str
        torchvision or datasets.
    images : Path
        One folder of images per class.
    size : int
        Input size, in pixels.
    batch : int
        Images per batch.
    """
    import torch
    from torchvision.models import alexnet

    from . import baselines

    make = {"torchvision": baselines.torchvision_loader, "datasets": baselines.datasets_loader}
    loader = make[name](images, size, batch, kind in ("training", "loading"))
    device, classes = torch.device("cpu"), sum(path.is_dir() for path in images.iterdir())
    if kind == "loading":
        return baselines.loading(loader, device)
    work = baselines.training if kind == "training" else baselines.evaluation
    torch.manual_seed(0)
    return work(loader, device, alexnet(num_classes=classes).to(device))


def on_cores(cores: int, make: Callable[[], Iterator[int]]) -> Iterator[int]:
    """Restrict this process, its threads and its loader's workers to some cores; make the work.

    Parameters
    ----------
    cores : int
    make : callable
        Another function of this module, with its arguments.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import torch

    torch.set_num_threads(cores)
    return make()


def decode_ours(images: Path, side: int) -> Iterator[int]:
    """Decode images as the cache does, on one core."""
    import torch

    from dataworth.data.images import decode_square, has_fast_jpeg

    torch.set_num_threads(1)
    contents, fast = read_files(images), has_fast_jpeg()
    while True:
        for data in contents:
            decode_square(data, side, fast)
            yield 1


def decode_plain(images: Path, side: int) -> Iterator[int]:
    """Decode, resize and crop with Pillow and torchvision, on one core."""
    import io

    import numpy as np
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    transform, contents = v2.Compose([v2.Resize(side), v2.CenterCrop(side)]), read_files(images)
    while True:
        for data in contents:
            np.asarray(transform(Image.open(io.BytesIO(data)).convert("RGB")))
            yield 1


def read_files(images: Path) -> list[bytes]:
    """Return the contents of all files in the class folders."""
    return [path.read_bytes() for path in sorted(images.glob("*/*")) if path.is_file()]
