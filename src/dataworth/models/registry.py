"""Registry of models: torchvision's classifiers and our own, with fresh weights.

To add a model that torchvision lacks, write a function (``alexnets`` has three) and list it in
:data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, did_you_mean
from .alexnets import alexnet_bn, alexnet_paper, alexnet_small

WITH_DROPOUT = ("alexnet", "vgg")  # torchvision families whose dropout the recipe sets
MAX_SEARCHED_SIZE = 512  # pixels, in the search for the smallest valid input


MODELS: dict[str, Callable[[int, float], nn.Module]] = {
    "alexnet-small": alexnet_small,
    "alexnet-paper": alexnet_paper,
    "alexnet-bn": alexnet_bn,
}


def build_model(name: str, num_classes: int, image_size: int, dropout: float = 0.5) -> nn.Module:
    """Build ``name`` with fresh weights drawn from torch's global generator.

    Parameters
    ----------
    name : str
        A key of :data:`MODELS`, or of a torchvision classifier.
    num_classes : int
        Width of the last layer.
    image_size : int
        Side of the input, in pixels; only vision transformers depend on it.
    dropout : float in [0, 1)
        Used by AlexNet and VGG; other models keep their defaults.

    Raises
    ------
    InputError
        If the name is unknown; the message suggests similar names.
    """
    if name in MODELS:
        return MODELS[name](num_classes, dropout)
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise InputError(f"--model: no model {name!r}{did_you_mean(name, [*MODELS, *names])}")
    options: dict[str, Any] = {"num_classes": num_classes}
    if name.startswith(WITH_DROPOUT):
        options["dropout"] = dropout
    if name in ("googlenet", "inception_v3"):  # auxiliary heads need a loss of their own
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    model: nn.Module = torchvision.models.get_model(name, **options)
    if name == "alexnet" and _alexnet_map(image_size) == 6:
        model.avgpool = nn.Identity()  # pooling 6 x 6 to 6 x 6 does nothing, at a cost
    return model


def _alexnet_map(image_size: int) -> int:
    """Side of the last feature map of torchvision's AlexNet."""
    side = (image_size - 7) // 4 + 1  # the first convolution
    for _ in range(3):  # the poolings
        side = (side - 3) // 2 + 1
    return side


def weight_bytes(name: str, num_classes: int, image_size: int) -> int:
    """Bytes of a model's weights and buffers, without allocating them.

    Parameters
    ----------
    name : str
        As in :func:`build_model`.
    num_classes : int
    image_size : int
        Pixels.
    """
    with torch.device("meta"):
        weights = build_model(name, num_classes, image_size).state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in weights)


def check_image_size(name: str, image_size: int) -> None:
    """Refuse an input size that the model cannot process.

    Raises
    ------
    InputError
        With the smallest valid size.
    """
    if accepts_image_size(name, image_size):
        return
    sizes = range(image_size + 1, MAX_SEARCHED_SIZE + 1)
    smallest = next((size for size in sizes if accepts_image_size(name, size)), None)
    hint = f"{name} needs >= {smallest} pixels" if smallest else f"{name} does not accept this size"
    raise InputError(f"--image-size {image_size}: {hint}")


@lru_cache(maxsize=1024)
def accepts_image_size(name: str, image_size: int) -> bool:
    """Check, by shape inference on the meta device, whether the model accepts this input size."""
    with torch.device("meta"):
        try:
            model = build_model(name, 2, image_size).eval()
            return isinstance(model(torch.empty(1, 3, image_size, image_size)), Tensor)
        except (RuntimeError, ValueError, AssertionError):
            return False
