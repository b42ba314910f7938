"""From a name to a freshly initialised classifier.

To add a model that torchvision lacks, write a function and list it in :data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from .config import InputError, nearest

WITH_DROPOUT = ("alexnet", "vgg")  # torchvision families whose dropout the recipe sets
LARGEST_TRIED = 512  # pixels, in the search for the smallest valid input


def alexnet_small(num_classes: int, dropout: float) -> nn.Module:
    """AlexNet's plan for 32-pixel images: five convolutions, three poolings, three linear layers.

    Narrower than Krizhevsky et al. (2012), with a smaller first kernel, one dropout instead of
    two, batch normalisation (Ioffe and Szegedy 2015) and He et al.'s initialisation (2015): it
    leaves chance within the tens of steps that a small subset gives, where AlexNet needs hundreds.
    """

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    def linear(inputs: int, outputs: int, deviation: float) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
        return layer

    return nn.Sequential(
        *conv(3, 32, 5, stride=2),
        nn.MaxPool2d(3, 2, padding=1),
        *conv(32, 64, 5),
        nn.MaxPool2d(3, 2, padding=1),
        *conv(64, 96, 3),
        *conv(96, 64, 3),
        *conv(64, 64, 3),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        linear(64 * 4, 512, 0.07),
        nn.ReLU(inplace=True),
        linear(512, 512, 0.05),
        nn.ReLU(inplace=True),
        linear(512, num_classes, 0.02),
    )


MODELS: dict[str, Callable[[int, float], nn.Module]] = {"alexnet-small": alexnet_small}


def build_model(name: str, num_classes: int, image_size: int, dropout: float = 0.5) -> nn.Module:
    """Build ``name`` with fresh weights drawn from torch's global generator.

    Parameters
    ----------
    name : str
        A key of :data:`MODELS`, or a classifier of torchvision.
    num_classes : int
    image_size : int
        Pixels; only vision transformers are built for one size.
    dropout : float in [0, 1)
        Used by AlexNet and VGG; other models keep their own.

    Raises
    ------
    InputError
        If the name is unknown; the nearest ones are offered.
    """
    if name in MODELS:
        return MODELS[name](num_classes, dropout)
    import torchvision.models

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise InputError(f"--model: no model {name!r}{nearest(name, [*MODELS, *known])}")
    options: dict[str, Any] = {"num_classes": num_classes}
    if name.startswith(WITH_DROPOUT):
        options["dropout"] = dropout
    if name in ("googlenet", "inception_v3"):  # auxiliary heads need a loss of their own
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    model: nn.Module = torchvision.models.get_model(name, **options)
    if name == "alexnet" and _alexnet_map(image_size) == 6:
        model.avgpool = nn.Identity()  # a 6 x 6 average of a 6 x 6 map: nothing but work
    return model


def _alexnet_map(image_size: int) -> int:
    """Side of the last feature map of torchvision's AlexNet."""
    side = (image_size - 7) // 4 + 1  # the first convolution
    for _ in range(3):  # the poolings
        side = (side - 3) // 2 + 1
    return side


def weight_bytes(name: str, num_classes: int, image_size: int) -> int:
    """Bytes of a model's weights and buffers, without making them."""
    with torch.device("meta"):
        weights = build_model(name, num_classes, image_size).state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in weights)


def check_image_size(name: str, image_size: int) -> None:
    """Refuse an input that the model cannot take.

    Raises
    ------
    InputError
        With the smallest size that it takes.
    """
    if accepts(name, image_size):
        return
    sizes = range(image_size + 1, LARGEST_TRIED + 1)
    smallest = next((size for size in sizes if accepts(name, size)), None)
    hint = f"{name} needs >= {smallest} pixels" if smallest else f"{name} cannot take this size"
    raise InputError(f"--image-size {image_size}: {hint}")


@lru_cache(maxsize=1024)
def accepts(name: str, image_size: int) -> bool:
    """Tell whether the model takes square images of this size, by shapes alone."""
    with torch.device("meta"):
        try:
            model = build_model(name, 2, image_size).eval()
            return isinstance(model(torch.empty(1, 3, image_size, image_size)), Tensor)
        except (RuntimeError, ValueError, AssertionError):
            return False
