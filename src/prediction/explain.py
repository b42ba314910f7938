"""Where a model looks (Grad-CAM), and what its first layer looks for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from ..config import InputError
from ..figures import save
from ..scaling.plots import new_axes, plain
from .classifier import Classifier

MOST_CLASSES = 3  # shown beside the picture
Array = NDArray[np.float64]


def convolution_map(model: nn.Module, name: str) -> nn.Conv2d:
    """Return the last convolution, whose map of features Grad-CAM weighs.

    Raises
    ------
    InputError
        If the model has none that says where something is.
    """
    attention = any("Attention" in type(module).__name__ for module in model.modules())
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if attention or not convolutions:
        reason = "mixes places by attention" if attention else "has no convolution"
        raise InputError(
            f"--explain: {name} {reason}: no convolution map says where it looks; Grad-CAM takes "
            "a convolutional model, such as alexnet or resnet50"
        )
    return convolutions[-1]


def grad_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: list[int]) -> Array:
    """Weigh the last convolution's map by what raises each class (Selvaraju et al. 2017).

    Parameters
    ----------
    pixels : uint8 ndarray of shape (side, side, 3)
    classes : list of int

    Returns
    -------
    ndarray of shape (len(classes), size, size)
        Each map is scaled to [0, 1]; all zero where nothing speaks for the class.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = convolution_map(classifier.model, classifier.recipe.model)
    inputs, size = classifier.inputs(pixels[None]), classifier.recipe.image_size
    maps = []
    for k in classes:
        found = LayerGradCam(classifier.model, layer).attribute(
            inputs, target=k, relu_attributions=True
        )  # (1, 1, h, w)
        if found.shape[-1] == 1:
            raise InputError(
                f"--explain: the last convolution of {classifier.recipe.model} sees {size} pixels "
                "as one place; take a model trained on larger images"
            )
        scaled = LayerAttribution.interpolate(found, (size, size), "bilinear")[0, 0]
        values = scaled.detach().cpu().numpy().astype(np.float64)
        maps.append(values / max(values.max(), 1e-12))
    return np.stack(maps)


def save_explanation(
    classifier: Classifier, pixels: NDArray[np.uint8], shares: Array, path: Path
) -> None:
    """Draw the picture as the model sees it, and where it finds its likeliest classes.

    Parameters
    ----------
    shares : ndarray of shape (classes,)
        Its probabilities.
    """
    top = np.argsort(-shares, kind="stable")[:MOST_CLASSES].tolist()
    maps, seen = grad_cam(classifier, pixels, top), classifier.seen(pixels[None])[0]
    figure = Figure(figsize=(2.6 * (len(top) + 1), 3), layout="constrained", dpi=120)
    first, *others = figure.subplots(1, len(top) + 1)
    first.imshow(seen)
    first.set_title("as the model sees it", fontsize=9)
    for ax, k, found in zip(others, top, maps, strict=True):
        ax.imshow(seen.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        image = ax.imshow(found, cmap="inferno", alpha=0.75 * found, vmin=0, vmax=1)
        ax.set_title(f"{plain(classifier.classes[k])}: {shares[k]:.1%}", fontsize=9)
    for ax in (first, *others):
        ax.axis("off")
    bar = figure.colorbar(image, ax=others, shrink=0.7, ticks=[0, 1])
    bar.ax.set_yticklabels(["nothing", "most"], fontsize=8)
    bar.set_label("speaks for the class", fontsize=8)
    save(first, path)


def save_filters(classifier: Classifier, path: Path) -> None:
    """Draw the filters of the first convolution as colours.

    Raises
    ------
    InputError
        If the model has no convolution of colours.
    """
    modules = (m for m in classifier.model.modules() if isinstance(m, nn.Conv2d))
    first = next((m for m in modules if m.in_channels == 3), None)
    if first is None:
        raise InputError(f"--filters: {classifier.recipe.model} has no convolution of colours")
    weights = first.weight.detach().cpu().numpy().transpose(0, 2, 3, 1)  # (n, h, w, 3)
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
    ax.set_title(f"{n} first filters of {height} x {width} pixels, each scaled to its own range")
    ax.title.set_fontsize(9)
    save(ax, path)
