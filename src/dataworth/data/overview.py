"""Exploratory data analysis: tables and example images of a data set, for eda.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..config import Machine, Recipe, Study
from ..storage.study_directory import STUDY_FILE, StudyDirectory
from .datasets import ImageDataset
from .groups import PAIRS
from .images import decode, header
from .loaders import get_train_loader
from .normalisation import ChannelStats
from .pixels import PixelStores
from .prepare import PreparedData, open_data
from .subsets import Indices, composition

MAX_SAMPLED = 2000  # images whose headers are read


def newest_data(
    checkpoint_dir: Path = Path("checkpoints"),
) -> tuple[Recipe, PreparedData, list[float | int]]:
    """Open the data of the newest study; the digits if there is no study yet.

    Returns
    -------
    recipe : Recipe
    data : PreparedData
    sizes : list of float or int
        Subset sizes of the study.
    """
    if not any(checkpoint_dir.glob(f"*/{STUDY_FILE}")):
        recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32)
        return recipe, open_data(recipe, Machine()), list(Study().subset_sizes)
    study = StudyDirectory.find(checkpoint_dir)
    recipe = study.pinned(study.record.recipe)
    sizes = list(study.requested[-1].subset_sizes)
    return recipe, open_data(recipe, study.machine(lambda stored: stored, "cache_dir")), sizes


def describe(dataset: ImageDataset) -> str:
    """Describe classes, splits and notes of a data set in Markdown."""
    splits = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    examples = ", ".join(f"`{name}`" for name in dataset.class_names[:5])
    notes = "".join(f"\n- {note}" for note in dataset.notes)
    text = (
        f"**{dataset.name}: {len(dataset.classes)} classes**, such as {examples}; {splits} images."
    )
    return f"{text}\n{notes}"


def splits_table(dataset: ImageDataset) -> pd.DataFrame:
    """Return images, classes and the smallest and largest class of each split."""
    rows = []
    for name, split in dataset.splits.items():
        counts = np.bincount(split.labels, minlength=len(dataset.classes))
        present = counts[counts > 0]
        rows.append(
            {
                "split": name,
                "taken from": split.source,
                "images": len(split),
                "classes": len(present),
                "smallest class": present.min(),
                "largest class": present.max(),
            }
        )
    return pd.DataFrame(rows).set_index("split")


def composition_table(labels: Indices, sizes: Sequence[float | int], seed: int = 0) -> pd.DataFrame:
    """Return images and images per class of each subset of a training split.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    sizes : sequence of float or int
        Shares or counts.
    seed : int
    """
    return pd.DataFrame(composition(labels, sizes, seed)).set_index("size")


def mini_imagenet_labels() -> Indices:
    """Labels of mini-ImageNet's training split as published: 100 classes of 500 images."""
    return np.repeat(np.arange(100), 500)


def image_facts(dataset: ImageDataset, seed: int = 0) -> pd.DataFrame:
    """Return width, height (pixels) and mode of up to ``MAX_SAMPLED`` random training images."""
    split = dataset.splits["train"]
    rows = np.random.default_rng(seed).permutation(split.rows)[:MAX_SAMPLED]
    facts = [header(dataset.encoded(split.source, int(row))) for row in rows]
    return pd.DataFrame(facts, columns=["width", "height", "mode"])


def modes_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Count images per mode (RGB, L: grey, ...), with their range of sizes."""
    groups = facts.groupby("mode")
    table = groups.agg(
        {"width": ["min", "median", "max"], "height": ["min", "median", "max"]}
    ).astype(int)
    table.insert(0, ("images", ""), groups.size())
    return table


def duplicates_table(data: PreparedData) -> pd.DataFrame:
    """Count the images that two splits share, byte for byte."""
    rows = [{"splits": f"{a}, {b}", "shared images": data.duplicates(a, b)} for a, b in PAIRS]
    return pd.DataFrame(rows).set_index("splits")


def augmentation_examples(
    data: PreparedData, recipe: Recipe, count: int = 6
) -> tuple[list[str], dict[str, list[NDArray[np.generic]]]]:
    """Return random training images at each stage of preprocessing and augmentation.

    Parameters
    ----------
    data : PreparedData
    recipe : Recipe
    count : int
        Number of images.

    Returns
    -------
    classes : list of str
        Class of each image.
    stages : dict of str to list of ndarray of shape (height, width, 3)
        As published, in the cache (uint8), and in two epochs of training (float in [0, 1]).
    """
    split = data.dataset.splits["train"]
    indices = np.sort(np.random.default_rng(0).permutation(len(split))[:count])
    one_batch = recipe.replace(batch_size=count, budget="epochs")
    loader = get_train_loader(PixelStores(data, torch.device("cpu")), indices, one_batch)
    stages: dict[str, list[NDArray[np.generic]]] = {"as published": [], "in the cache": []}
    for row in split.rows[indices]:
        encoded = data.dataset.encoded(split.source, int(row))
        stages["as published"].append(np.asarray(decode(encoded)))
        stages["in the cache"].append(data.images[split.source][row])
    for epoch in (0, 1):
        order = loader.augmentation(seed=1, number=epoch).order
        (batch, _), *_ = loader.epoch_images(seed=1, epoch=epoch)
        images = [batch[np.flatnonzero(order == i)[0]] for i in range(count)]
        stages[f"epoch {epoch + 1}"] = [
            _denormalise(image, loader.channel_stats) for image in images
        ]
    return [data.dataset.class_names[label] for label in split.labels[indices]], stages


def _denormalise(image: torch.Tensor, stats: ChannelStats) -> NDArray[np.float32]:
    """Undo the normalisation of an image (3, size, size)."""
    mean, std = (torch.tensor(values) for values in stats)
    pixels: NDArray[np.float32] = (image.permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()
    return pixels
