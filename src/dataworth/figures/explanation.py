"""Figures that explain a model: Grad-CAM maps and first-layer filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..findings.sentences import percent
from .style import new_axes, plain


def plot_grad_cam(
    pixels: NDArray[np.uint8],
    maps: NDArray[np.float64],
    classes: Sequence[str],
    probabilities: Sequence[float],
) -> Axes:
    """Draw a picture as the model input, and the Grad-CAM map of each class over it.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (size, size, 3)
    maps : ndarray of shape (classes, size, size)
        Values in [0, 1].
    classes : sequence of str
        Name of each class.
    probabilities : sequence of float
        Predicted probability of each class.
    """
    figure = Figure(figsize=(2.6 * (len(classes) + 1), 3), layout="constrained", dpi=120)
    first, *others = figure.subplots(1, len(classes) + 1)
    first.imshow(pixels)
    first.set_title("model input", fontsize=9)
    for ax, name, probability, values in zip(others, classes, probabilities, maps, strict=True):
        ax.imshow(pixels.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        image = ax.imshow(values, cmap="inferno", alpha=0.75 * values, vmin=0, vmax=1)
        ax.set_title(f"{plain(name)}: {percent(probability)}", fontsize=9)
    for ax in (first, *others):
        ax.axis("off")
    bar = figure.colorbar(image, ax=others, shrink=0.7, ticks=[0, 1])
    bar.ax.set_yticklabels(["none", "highest"], fontsize=8)
    bar.set_label("evidence for the class", fontsize=8)
    input_axes: Axes = first
    return input_axes


def plot_filters(weights: NDArray[np.float32]) -> Axes:
    """Draw the filters of the first convolution as RGB images.

    Parameters
    ----------
    weights : ndarray of shape (n, height, width, 3)
    """
    low, high = (ends((1, 2, 3), keepdims=True) for ends in (weights.min, weights.max))
    scaled = (weights - low) / (high - low + 1e-12)
    n, height, width, _ = scaled.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i, tile in enumerate(scaled):
        y, x = (i // columns) * (height + 1), (i % columns) * (width + 1)
        grid[y : y + height, x : x + width] = tile
    ax = new_axes(5, 5.2 * rows / columns + 0.3)
    ax.imshow(grid, interpolation="nearest")
    ax.axis("off")
    ax.set_title(
        f"{n} first-layer filters of {height} x {width} pixels, each normalised to its range"
    )
    ax.title.set_fontsize(9)
    return ax
