"""Duration of the default study at mini-ImageNet's size, on synthetic pixels."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Study
from dataworth.data.datasets import ImageDataset
from dataworth.data.prepare import PreparedData, cache_side
from dataworth.data.splits import Split
from dataworth.data.subsets import num_images
from dataworth.devices import pick_device
from dataworth.storage.epoch_log import EpochRow
from dataworth.training.trainer import Trainer

from . import baselines

CLASSES, PER_CLASS = 100, {"train": 500, "validation": 100, "test": 50}  # mini-ImageNet
FLOP_PER_IMAGE, PEAK_FLOPS, BYTES_PER_SECOND = 4.13e9, 790e12, 4.3e12  # AlexNet; one H200
FLOP_FORWARD, BYTES_PER_STEP = 1.43e9, 1.15e9


def synthetic(image_size: int, scale: float) -> PreparedData:
    """Return random uint8 pixels in mini-ImageNet's shapes, ``scale`` times as many images."""
    side, rng = cache_side(image_size), np.random.default_rng(0)
    splits, images, digests = {}, {}, {}
    for name, count in PER_CLASS.items():
        labels = np.repeat(np.arange(CLASSES), max(1, round(count * scale)))
        splits[name] = Split(name, np.arange(len(labels)), labels)
        pixels = np.empty((len(labels), side, side, 3), np.uint8)
        for image in pixels:  # one at a time: no second copy in memory
            image[:] = np.frombuffer(rng.bytes(image.nbytes), np.uint8).reshape(image.shape)
        images[name], digests[name] = pixels, np.zeros((len(labels), 32), np.uint8)
    names = tuple(str(i) for i in range(CLASSES))
    dataset = ImageDataset("synthetic", "synthetic", None, names, splits, {}, None, ())
    return PreparedData(dataset, images, digests)


def measure_study(
    device_name: str,
    images: str,
    scale: float,
    epochs: int,
    model: str,
    image_size: int,
    baseline: bool,
) -> dict[str, object]:
    """Measure training of the five sizes, with validation and checkpoints.

    Parameters
    ----------
    device_name : str
        auto, cpu, cuda, ...
    images : str
        For the plain recipe: synthetic, or a folder with one folder of JPEG files per class.
    scale : float
        Number of images relative to mini-ImageNet's.
    epochs : int
    model : str
    image_size : int
        Input size, in pixels.
    baseline : bool
        Measure part of the plain recipe too, and extrapolate it to the same study.
    """
    recipe = Recipe(dataset="synthetic", model=model, image_size=image_size, epochs=epochs)
    device, data = pick_device(device_name), synthetic(image_size, scale)
    start = time.perf_counter()
    trainer = Trainer.build(recipe, Machine(device=device_name), data)
    content: dict[str, object] = {"command": "study", "scale": scale, "epochs": epochs}
    content["place_seconds"] = time.perf_counter() - start
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run in Study().runs(recipe):
            run_start, epoch_rows = time.perf_counter(), list[EpochRow]()
            trainer.train(plan_run(run, trainer.data, Path(folder)), epoch_rows.append)
            seconds = time.perf_counter() - run_start
            epoch_seconds = [row.seconds for row in epoch_rows]
            n = num_images(run.subset_size, len(data.dataset.splits["train"]))
            row = {
                "size": run.subset_size,
                "images": n,
                "seconds": seconds,
                "training_seconds": sum(epoch_seconds),
                "first_epoch_seconds": epoch_seconds[0],
                "images_per_second": n * (epochs - 1) / max(1e-9, sum(epoch_seconds[1:])),
            }
            rows.append(row)
            print("  ".join(f"{k} {v:,.4g}" for k, v in row.items()), flush=True)
    total = time.perf_counter() - start
    content |= {"runs": rows, "seconds": total}
    print(f"whole study: {total:.1f} s on {device} ({scale:g} of mini-ImageNet, {epochs} epochs)")
    if model == "alexnet" and image_size == 227:
        content |= _roofline(rows, epochs, len(data.dataset.splits["validation"]), total)
    if baseline:
        content["plain_recipe"] = _plain(images, device, recipe, rows, data)
    if device.type == "cuda":
        content["profile"] = _profile(trainer)
    return content


def _roofline(
    rows: list[dict[str, float]], epochs: int, validation: int, seconds: float
) -> dict[str, object]:
    """Compare with the roofline of one H200: its peak arithmetic and memory throughput."""
    trained = sum(row["images"] for row in rows) * epochs
    steps = sum(-(-row["images"] // 128) for row in rows) * epochs
    flop = trained * FLOP_PER_IMAGE + validation * len(rows) * epochs * FLOP_FORWARD
    best = flop / PEAK_FLOPS + steps * BYTES_PER_STEP / BYTES_PER_SECOND
    print(
        f"{flop / seconds / 1e12:.2f} TFLOP/s; {100 * best / seconds:.1f} % of one H200's roofline"
    )
    return {"tflops": flop / seconds / 1e12, "roofline_seconds_h200": best}


def _plain(
    images: str,
    device: torch.device,
    recipe: Recipe,
    rows: list[dict[str, float]],
    data: PreparedData,
) -> dict[str, object]:
    """Measure some steps of the plain recipe on JPEG files; extrapolate to the same study."""
    from torchvision.models import alexnet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) if images == "synthetic" else Path(images)
        if images == "synthetic":
            _write_jpegs(path)
        loader = baselines.torchvision_loader(path, recipe.image_size, recipe.batch_size, True)
        work = baselines.training(loader, device, alexnet(num_classes=CLASSES).to(device))
        for _ in range(5):
            next(work)
        started, count = time.perf_counter(), 0
        steps = 40 if device.type == "cuda" else 2
        for _ in range(steps):
            count += next(work)
        if device.type == "cuda":
            torch.cuda.synchronize()
        rate = count / (time.perf_counter() - started)
    trained = sum(row["images"] for row in rows) * recipe.epochs
    validated = len(data.dataset.splits["validation"]) * len(rows) * recipe.epochs
    seconds = (trained + validated / 3) / rate  # a forward pass is a third of a step
    print(f"plain recipe: {rate:.0f} images/s on {images} JPEGs, extrapolated {seconds:,.0f} s")
    return {"images_per_second": rate, "extrapolated_seconds": seconds, "images": images}


def _write_jpegs(folder: Path, count: int = 512) -> None:
    """Write noisy JPEG files of 500 x 375 pixels, about 110 kB each, in two classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / str(i % 2) / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        small = rng.integers(0, 256, (94, 125, 3), dtype=np.uint8)
        Image.fromarray(small).resize((500, 375)).save(path, quality=92)


def _profile(trainer: Trainer) -> list[dict[str, float | str]]:
    """Profile 20 steps: time per step of the 25 slowest CUDA kernels."""
    from dataworth.data.loaders import get_train_loader

    train = get_train_loader(trainer.pixels, np.arange(20 * 128), trainer.recipe)
    trainer.state.model.train()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for inputs, labels in train.inputs(train.plan(1, 0)):
            trainer.step(inputs, labels, len(labels), trainer.recipe.learning_rate)
        torch.cuda.synchronize()
    events = sorted(profile.key_averages(), key=lambda e: -e.self_device_time_total)[:25]
    rows = [{"kernel": e.key[:120], "ms_per_step": e.self_device_time_total / 20e3} for e in events]
    for row in rows:
        print(f"{row['ms_per_step']:8.4f} ms  {row['kernel']}")
    return rows
