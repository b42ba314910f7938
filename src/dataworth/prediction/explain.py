"""Where a model looks (Grad-CAM), and what its first layer looks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError
from .classifier import Classifier

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


def first_filters(classifier: Classifier) -> NDArray[np.float32]:
    """Return the weights of the first convolution, shape (n, height, width, 3).

    Raises
    ------
    InputError
        If the model has no convolution of colours.
    """
    convolutions = (m for m in classifier.model.modules() if isinstance(m, nn.Conv2d))
    first = next((m for m in convolutions if m.in_channels == 3), None)
    if first is None:
        raise InputError(f"--filters: {classifier.recipe.model} has no convolution of colours")
    weights: NDArray[np.float32] = first.weight.detach().cpu().numpy().transpose(0, 2, 3, 1)
    return weights
