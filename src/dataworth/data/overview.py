"""What a data set looks like: tables and example images for eda.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..config import Machine, Recipe, Study
from ..storage.study_directory import asked_before, newest_study, pinned, read_study
from .datasets import ImageDataset
from .images import decode, header
from .loaders import get_train_loader
from .pixels import Sources
from .prepare import PreparedData, open_data
from .subsets import Indices, composition
from .transforms import Moments

MAX_SAMPLED = 2000  # images opened to tell sizes and modes


def newest_data(
    checkpoint_dir: Path = Path("checkpoints"),
) -> tuple[Recipe, PreparedData, list[float | int]]:
    """Open the data of the newest study and its sizes, or the digits before there is one."""
    recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32)
    machine, sizes = Machine(), list(Study().subset_sizes)
    if any(checkpoint_dir.glob("*/study.json")):
        path = checkpoint_dir / newest_study(checkpoint_dir)
        study = read_study(path)
        recipe, machine = Recipe(**study["recipe"]), Machine(**study["machine"])
        sizes = list(asked_before(path)[-1].subset_sizes)
        recipe = pinned(path, recipe)
    return recipe, open_data(recipe, machine), sizes


def describe(dataset: ImageDataset) -> str:
    """Say in Markdown what the data are, and what was done to them."""
    splits = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    examples = ", ".join(f"`{name}`" for name in dataset.classes[:5])
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
    """Return images and images per class of each subset of a training split."""
    return pd.DataFrame(composition(labels, sizes, seed)).set_index("size")


def mini_imagenet_labels() -> Indices:
    """Labels of mini-ImageNet's training split as published: 100 classes of 500 images."""
    return np.repeat(np.arange(100), 500)


def image_facts(dataset: ImageDataset, seed: int = 0) -> pd.DataFrame:
    """Return width, height (pixels) and mode of up to 2,000 random training images."""
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
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    rows = [{"splits": f"{a}, {b}", "shared images": data.duplicates(a, b)} for a, b in pairs]
    return pd.DataFrame(rows).set_index("splits")


def augmentation_examples(
    data: PreparedData, recipe: Recipe, count: int = 6
) -> tuple[list[str], dict[str, list[NDArray[np.generic]]]]:
    """Show what happens to random training images on their way to the network.

    Returns
    -------
    classes : list of str
        Class of each image.
    stages : dict of str to list of ndarray of shape (height, width, 3)
        As published, in the cache (uint8), and in two epochs of training (float in [0, 1]).
    """
    split = data.dataset.splits["train"]
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:count])
    single = recipe.replace(batch_size=count, budget="epochs")
    loader = get_train_loader(Sources(data, torch.device("cpu")), chosen, single)
    stages: dict[str, list[NDArray[np.generic]]] = {"as published": [], "in the cache": []}
    for row in split.rows[chosen]:
        encoded = data.dataset.encoded(split.source, int(row))
        stages["as published"].append(np.asarray(decode(encoded)))
        stages["in the cache"].append(data.images[split.source][row])
    for epoch in (0, 1):
        plan = loader.plan(seed=1, epoch=epoch)
        (batch, _), *_ = loader.train_epoch(seed=1, epoch=epoch)
        shown = [batch[np.flatnonzero(plan.order == i)[0]] for i in range(count)]
        stages[f"epoch {epoch + 1}"] = [_visible(image, loader.moments) for image in shown]
    return [data.dataset.classes[label] for label in split.labels[chosen]], stages


def _visible(image: torch.Tensor, moments: Moments) -> NDArray[np.float32]:
    """Undo the normalisation of an image (3, size, size)."""
    mean, std = (torch.tensor(values) for values in moments)
    pixels: NDArray[np.float32] = (image.permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()
    return pixels
