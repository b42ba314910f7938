"""From a name to a freshly initialised classifier.

To add a model that torchvision lacks, write a function (``alexnets`` has three) and list it in
:data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, nearest
from .alexnets import alexnet_bn, alexnet_paper, alexnet_small

WITH_DROPOUT = ("alexnet", "vgg")  # torchvision families whose dropout the recipe sets
LARGEST_TRIED = 512  # pixels, in the search for the smallest valid input


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
