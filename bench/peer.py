"""The same three-size study end to end, by this project's commands and by the usual recipe.

``python -m bench study --peer`` starts both; ``python -m bench.peer FOLDER EPOCHS SIZE BATCH`` is
the usual recipe alone: ImageFolder, DataLoader and torchvision's AlexNet, trained from the files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable
from copy import deepcopy
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from . import baselines
from .measure import ROOT, Sample, report, timed

SHARES = (1.0, 0.5, 0.25)  # of the training images
PARTS = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}  # of ten images
NAMES = ("ours", "torchvision recipe")


def measure_peer(
    images: Path, rounds: int, epochs: int, size: int, batch: int
) -> dict[str, object]:
    """Measure both in turn: decoding, training, validation after every epoch, evaluation.

    Parameters
    ----------
    images : Path
        One folder of JPEG files per class.
    rounds : int
        Studies of each.
    epochs : int
    size : int
        Input size, in pixels.
    batch : int
        Images per batch.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        split = Path(folder) / "images"
        num_train = _split(images, split)
        trained = epochs * sum(round(share * num_train) for share in SHARES)
        for index in range(rounds):
            place = Path(folder) / str(index)  # each round decodes and begins anew
            place.mkdir()
            for name, commands in zip(NAMES, _commands(split, epochs, size, batch), strict=True):
                samples[name].append(timed(commands, place, trained))
                print(f"{name}: {samples[name][-1]}", flush=True)
    title = f"study of {len(SHARES)} sizes, {num_train} images, {epochs} epochs, {size} pixels"
    # Wall time alone: the system does not count the CPU-seconds of workers.
    return {"wall": report(title, samples, "wall")}


def _commands(images: Path, epochs: int, size: int, batch: int) -> list[list[list[str]]]:
    numbers = [str(number) for number in (epochs, size, batch)]
    flags = ["--dataset", str(images), "--model", "alexnet", "--experiment-id", "s"]
    for flag, number in zip(("--epochs", "--image-size", "--batch-size"), numbers, strict=True):
        flags += [flag, number]
    sizes = ["--subset-sizes", *map(str, SHARES), "--seeds", "1"]
    return [
        [[str(ROOT / "train.py"), *flags, *sizes], [str(ROOT / "eval.py")]],
        [["-m", "bench.peer", str(images), *numbers]],
    ]


def _split(images: Path, target: Path) -> int:
    """Copy the files to folders of splits; return the number of training images."""
    for folder in sorted(path for path in images.iterdir() if path.is_dir()):
        for i, file in enumerate(sorted(path for path in folder.iterdir() if path.is_file())):
            part = next(name for name, digits in PARTS.items() if i % 10 in digits)
            (target / part / folder.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / part / folder.name)
    return sum(1 for _ in (target / "train").glob("*/*"))


def train_study(images: Path, epochs: int, size: int, batch: int) -> None:
    """Train, validate and evaluate a model per size; print the top-1 error on test.

    Parameters
    ----------
    images : Path
        Folders train, validation and test.
    epochs : int
    size : int
        Input size, in pixels.
    batch : int
        Images per batch.
    """
    from torchvision.models import alexnet

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes = sum(1 for _ in (images / "train").iterdir())
    validation, test = (
        baselines.torchvision_loader(images / part, size, batch, False, share=1.0)
        for part in ("validation", "test")
    )
    for share in SHARES:
        torch.manual_seed(0)
        model, best, weights = alexnet(num_classes=classes).to(device), 2.0, {}
        train = baselines.torchvision_loader(images / "train", size, batch, True, share)
        steps = baselines.training(train, device, model)
        for _ in range(epochs):
            model.train()
            list(islice(steps, len(train)))
            if (error := _top_1_error(model, validation, device)) < best:
                best, weights = error, deepcopy(model.state_dict())
        model.load_state_dict(weights)
        print(f"{share}: test top-1 error {_top_1_error(model, test, device):.3f}", flush=True)


@torch.no_grad()
def _top_1_error(
    model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> float:
    model.eval()
    wrong = [model(x.to(device)).argmax(1).cpu() != labels for x, labels in loader]
    return torch.cat(wrong).float().mean().item()


if __name__ == "__main__":
    train_study(Path(sys.argv[1]), *map(int, sys.argv[2:]))
