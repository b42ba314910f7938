"""What a data set looks like, as tables and figures for eda.ipynb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import Machine, Recipe, Study
from ..figures import save_printed
from ..scaling.plots import plain
from ..studies import asked_before, newest_study, pinned, read_study
from .datasets import ImageDataset
from .images import decode, header
from .loaders import get_train_loader
from .prepare import PreparedData, open_data
from .sources import Sources
from .subsets import Indices, composition
from .transforms import Moments

BLUE, GREY = "#0072B2", "#999999"
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


def save(ax: Axes, name: str, folder: Path = Path("results/eda")) -> None:
    """Save a figure as PNG and PDF."""
    save_printed(ax, folder / f"{name}.png")


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


def plot_class_balance(ax: Axes, dataset: ImageDataset) -> Axes:
    """Draw the number of training images of each class, largest first."""
    counts = sorted(Counter(dataset.splits["train"].labels.tolist()).values(), reverse=True)
    ax.bar(range(1, len(counts) + 1), counts, width=1.0, color=BLUE, edgecolor="white", lw=0.3)
    ax.set(xlabel="class, largest first", ylabel="training images", xlim=(0.4, len(counts) + 0.6))
    return ax


def plot_image_sizes(ax: Axes, facts: pd.DataFrame) -> Axes:
    """Draw each distinct image size as a disc whose area is its number of images."""
    sizes = facts.groupby(["width", "height"]).size().reset_index(name="images")
    area = 400 * sizes["images"] / sizes["images"].max() + 8
    ax.scatter(sizes["width"], sizes["height"], area, color=BLUE, alpha=0.5, lw=0)
    top = 1.15 * max(sizes["width"].max(), sizes["height"].max())
    ax.plot([0, top], [0, top], color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, top), ylim=(0, top))
    return ax


def plot_transforms(data: PreparedData, recipe: Recipe, columns: int = 6) -> Figure:
    """Draw random training images: as published, as cached, and in two epochs of training."""
    split = data.dataset.splits["train"]
    chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:columns])
    single = recipe.replace(batch_size=columns, budget="epochs")
    loader = get_train_loader(Sources(data, torch.device("cpu")), chosen, single)
    rows: list[list[object]] = [[], []]
    for row in split.rows[chosen]:
        rows[0].append(decode(data.dataset.encoded(split.source, int(row))))
        rows[1].append(data.images[split.source][row])
    figure = Figure(figsize=(1.5 * columns, 6.4), layout="constrained", dpi=80)
    axes = figure.subplots(4, columns, squeeze=False)
    for epoch in (0, 1):
        plan = loader.plan(seed=1, epoch=epoch)
        (batch, _), *_ = loader.train_epoch(seed=1, epoch=epoch)
        shown = [batch[np.flatnonzero(plan.order == i)[0]] for i in range(columns)]
        rows.append([_visible(image, loader.moments) for image in shown])
    for line, images in zip(axes, rows, strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
    for ax, label in zip(axes[0], split.labels[chosen], strict=True):
        ax.set_title(plain(data.dataset.classes[label]), fontsize=9)
    names = ("as published", "in the cache", "epoch 1", "epoch 2")
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name)
    return figure


def _visible(image: torch.Tensor, moments: Moments) -> torch.Tensor:
    mean, std = (torch.tensor(values) for values in moments)
    return (image.permute(1, 2, 0) * std + mean).clamp(0, 1)
