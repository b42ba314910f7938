"""Baselines: PyTorch training loops as the documentation of torchvision and datasets has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset

from dataworth.data.decoding import num_cores

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REPEATS = 64  # of a small folder, so that an epoch lasts longer than the measurement


def torchvision_loader(
    folder: Path, size: int, batch: int, train: bool, share: float | None = None
) -> DataLoader[object]:
    """Build a DataLoader over ImageFolder and Pillow, as in PyTorch's ImageNet example.

    Parameters
    ----------
    folder : Path
        One folder of images per class.
    size : int
        Input size, in pixels.
    batch : int
        Images per batch.
    train : bool
        Shuffle and augment; otherwise centre crops in order.
    share : float, optional
        Of the images, each once in an epoch; default: all, often enough for a measurement.
    """
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augment = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    centre = [transforms.Resize(round(size * 256 / 227)), transforms.CenterCrop(size)]
    images = ImageFolder(
        str(folder), transforms.Compose([*(augment if train else centre), *normalise])
    )
    if share is None:
        return _loader(ConcatDataset([images] * REPEATS), batch, train)
    return _loader(Subset(images, range(0, len(images), round(1 / share))), batch, train)


def datasets_loader(folder: Path, size: int, batch: int, train: bool) -> DataLoader[object]:
    """Build a DataLoader over ``datasets.with_transform``; parameters as torchvision_loader."""
    from datasets import concatenate_datasets, load_dataset
    from torchvision import transforms

    normalise = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augment = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    centre = [transforms.Resize(256), transforms.CenterCrop(size)]
    transform = transforms.Compose([*(augment if train else centre), *normalise])

    def prepare(rows: dict[str, list[object]]) -> dict[str, list[object]]:
        pixels = [transform(image.convert("RGB")) for image in rows["image"]]  # type: ignore[attr-defined]
        return {"pixels": pixels, "label": rows["label"]}

    table = load_dataset("imagefolder", data_dir=str(folder), split="train")
    return _loader(concatenate_datasets([table] * REPEATS).with_transform(prepare), batch, train)


def _loader(images: Dataset[object], batch: int, train: bool) -> DataLoader[object]:
    return DataLoader(
        images,
        batch,
        shuffle=train,
        num_workers=num_cores(),
        pin_memory=torch.cuda.is_available(),
        persistent_workers=True,
        multiprocessing_context="fork",
    )


def batches(loader: DataLoader[object], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches on the device, endlessly."""
    while True:
        for batch in loader:
            images, labels = batch.values() if isinstance(batch, dict) else batch
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def training(loader: DataLoader[object], device: torch.device, model: nn.Module) -> Iterator[int]:
    """Train a model in fp32 and eager mode; yield the images of each step.

    Parameters
    ----------
    loader : DataLoader
    device : torch.device
    model : Module
        On the device, in training mode.
    """
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    for images, labels in batches(loader, device):
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield len(labels)


def evaluation(loader: DataLoader[object], device: torch.device, model: nn.Module) -> Iterator[int]:
    """Evaluate a model in fp32; yield the images of each batch, parameters as of training."""
    model.eval()
    for images, labels in batches(loader, device):
        with torch.no_grad():
            model(images).argmax(1).eq(labels).sum().item()
        yield len(labels)


def loading(loader: DataLoader[object], device: torch.device) -> Iterator[int]:
    """Load batches without a network; yield the images of each batch."""
    for _, labels in batches(loader, device):
        yield len(labels)
