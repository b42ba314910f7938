"""Grad-CAM, and the filters of the first convolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError
from .classifier import Classifier

Array = NDArray[np.float64]


def last_convolution(model: nn.Module, name: str) -> nn.Conv2d:
    """Return the last convolution, whose feature map Grad-CAM weights.

    Raises
    ------
    InputError
        If the model has no convolution, or uses attention, which mixes image positions.
    """
    attention = any("Attention" in type(module).__name__ for module in model.modules())
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if attention or not convolutions:
        reason = "mixes image positions by attention" if attention else "has no convolution"
        raise InputError(
            f"--explain: {name} {reason}; Grad-CAM needs a convolutional model, such as alexnet "
            "or resnet50"
        )
    return convolutions[-1]


def grad_cam(classifier: Classifier, pixels: NDArray[np.uint8], classes: list[int]) -> Array:
    """Compute Grad-CAM heatmaps of an image (Selvaraju et al. 2017).

    Parameters
    ----------
    classifier : Classifier
    pixels : uint8 ndarray of shape (side, side, 3)
    classes : list of int
        A heatmap each.

    Returns
    -------
    ndarray of shape (len(classes), size, size)
        Each scaled to [0, 1]; all zero if no position increases the logit of the class.

    Raises
    ------
    InputError
        If the model is not convolutional, or its last feature map has a single position.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    layer = last_convolution(classifier.model, classifier.recipe.model)
    inputs, size = classifier.inputs(pixels[None]), classifier.recipe.image_size
    heatmaps = []
    for k in classes:
        attribution = LayerGradCam(classifier.model, layer).attribute(
            inputs, target=k, relu_attributions=True
        )  # (1, 1, h, w)
        if attribution.shape[-1] == 1:
            raise InputError(
                f"--explain: the last feature map of {classifier.recipe.model} at {size} pixels "
                "has a single position; use a model trained on larger images"
            )
        resized = LayerAttribution.interpolate(attribution, (size, size), "bilinear")[0, 0]
        values = resized.detach().cpu().numpy().astype(np.float64)
        heatmaps.append(values / max(values.max(), 1e-12))
    return np.stack(heatmaps)


def first_filters(classifier: Classifier) -> NDArray[np.float32]:
    """Return the weights of the first convolution, shape (n, height, width, 3).

    Raises
    ------
    InputError
        If the model has no convolution of RGB images.
    """
    convolutions = (m for m in classifier.model.modules() if isinstance(m, nn.Conv2d))
    first = next((m for m in convolutions if m.in_channels == 3), None)
    if first is None:
        raise InputError(f"--filters: {classifier.recipe.model} has no convolution of RGB images")
    weights: NDArray[np.float32] = first.weight.detach().cpu().numpy().transpose(0, 2, 3, 1)
    return weights
