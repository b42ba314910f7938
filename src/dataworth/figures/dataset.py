"""Figures of a data set: class balance, image sizes, transforms (for eda.ipynb)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .files import save_printed
from .style import BLUE, GREY, plain


def save(ax: Axes, name: str, folder: Path = Path("results/eda")) -> None:
    """Save a figure as PNG and PDF.

    Parameters
    ----------
    ax : Axes
    name : str
        File name without a suffix.
    folder : Path
    """
    save_printed(ax, folder / f"{name}.png")


def plot_class_balance(ax: Axes, labels: NDArray[np.int64]) -> Axes:
    """Draw the number of images of each class, largest class first; ``labels`` has shape (n,)."""
    counts = sorted(Counter(labels.tolist()).values(), reverse=True)
    ax.bar(range(1, len(counts) + 1), counts, width=1.0, color=BLUE, edgecolor="white", lw=0.3)
    ax.set(xlabel="class, largest first", ylabel="training images", xlim=(0.4, len(counts) + 0.6))
    return ax


def plot_image_sizes(ax: Axes, facts: pd.DataFrame) -> Axes:
    """Draw each distinct image size as a disc with an area proportional to its image count."""
    sizes = facts.groupby(["width", "height"]).size().reset_index(name="images")
    area = 400 * sizes["images"] / sizes["images"].max() + 8
    ax.scatter(sizes["width"], sizes["height"], area, color=BLUE, alpha=0.5, lw=0)
    top = 1.15 * max(sizes["width"].max(), sizes["height"].max())
    ax.plot([0, top], [0, top], color=GREY, lw=0.8, ls=":")
    ax.set(xlabel="width (pixels)", ylabel="height (pixels)", xlim=(0, top), ylim=(0, top))
    return ax


def plot_transforms(
    classes: Sequence[str], stages: Mapping[str, Sequence[NDArray[np.generic]]]
) -> Figure:
    """Draw images at each stage of the input pipeline, one row per stage.

    Parameters
    ----------
    classes : sequence of str
        Class of each image.
    stages : mapping of str to sequence of ndarray of shape (height, width, 3)
        From :func:`dataworth.data.overview.augmentation_examples`.
    """
    columns = len(classes)
    figure = Figure(figsize=(1.5 * columns, 1.6 * len(stages)), layout="constrained", dpi=80)
    axes = figure.subplots(len(stages), columns, squeeze=False)
    for row, (name, images) in zip(axes, stages.items(), strict=True):
        row[0].set_ylabel(name)
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
    for ax, name in zip(axes[0], classes, strict=True):
        ax.set_title(plain(name), fontsize=9)
    return figure


def plot_pairs(
    titles: Sequence[str], images: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
) -> Figure:
    """Draw pairs of images side by side, four pairs in a row.

    Parameters
    ----------
    titles : sequence of str
        Of each pair.
    images : sequence of pairs of ndarray of shape (side, side, 3)
        One pair or more.
    """
    columns = 4
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.55 * rows), layout="constrained", dpi=80)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, title, (first, second) in zip(axes, titles, images, strict=False):
        gap = np.full((len(first), max(1, len(first) // 16), 3), 255, np.uint8)
        ax.imshow(np.concatenate([first, gap, second], axis=1), interpolation="nearest")
        ax.set_title(title, fontsize=8)
    return figure
