"""Registry of models: classifiers of torchvision, of timm and our own, with fresh weights.

To add a model that torchvision lacks, write a function (``alexnets`` has three) and list it in
:data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import InputError, did_you_mean, short_repr
from .alexnets import alexnet_bn, alexnet_paper, alexnet_small
from .timm_models import PREFIX, build_timm

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
        A key of :data:`MODELS`, of a torchvision classifier, or ``timm:`` and a name of timm's.
    num_classes : int
        Width of the last layer.
    image_size : int
        Side of the input, in pixels; only models for inputs of one size depend on it.
    dropout : float in [0, 1)
        Used by AlexNet and VGG; other models keep their defaults.

    Raises
    ------
    InputError
        If the name is unknown; the message suggests similar names.
    """
    if name in MODELS:
        return MODELS[name](num_classes, dropout)
    if name.startswith(PREFIX):
        return build_timm(name, num_classes, image_size)
    import torchvision.models

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise InputError(
            f"--model: no model {short_repr(name)}{did_you_mean(name, [*MODELS, *names])}"
        )
    options: dict[str, Any] = {"num_classes": num_classes}
    if name.startswith(WITH_DROPOUT):
        options["dropout"] = dropout
    if name in ("googlenet", "inception_v3"):  # auxiliary heads need a loss of their own
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = image_size
    model: nn.Module = torchvision.models.get_model(name, **options)
    if name.startswith("mnasnet"):
        _load_without_version(model)
    if name == "alexnet" and _alexnet_map(image_size) == 6:
        model.avgpool = nn.Identity()  # pooling 6 x 6 to 6 x 6 does nothing, at a cost
    return model


def _load_without_version(model: nn.Module) -> None:
    """Let torchvision's MNASNet load weights that name no version, as those of safetensors do.

    It loads nothing but a state dict whose metadata hold the version of its layers; a mapping of
    tensors, and the safetensors format, have no such metadata. Ours are always of this version.
    """
    torchvision_class: Any = type(model)

    class MNASNet(torchvision_class):  # type: ignore[misc]
        def _load_from_state_dict(
            self, state: Any, prefix: str, metadata: dict[str, Any], *rest: Any
        ) -> None:
            metadata = {"version": self._version} | metadata
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    model.__class__ = MNASNet


class _ValuesOnCpu(TorchFunctionMode):
    """Keep the values of ranges and lists under ``torch.device("meta")``: RegNet reads them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        holds_values = func is torch.tensor and isinstance(args[0], list)
        if (holds_values or func is torch.arange) and kwargs.get("device") is None:
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def build_on_meta(name: str, num_classes: int, image_size: int) -> nn.Module:
    """Build the model without memory for its weights, for the inference of shapes.

    Parameters
    ----------
    name : str
        As in :func:`build_model`.
    num_classes : int
    image_size : int
        Pixels.
    """
    with torch.device("meta"), _ValuesOnCpu():
        return build_model(name, num_classes, image_size).to("meta")


@lru_cache(maxsize=1024)
def head_names(name: str, image_size: int) -> frozenset[str]:
    """Return the names of the tensors of a model's head: those whose shape depends on the classes.

    Parameters
    ----------
    name : str
        As in :func:`build_model`.
    image_size : int
        Pixels.
    """
    one, other = (build_on_meta(name, n, image_size).state_dict() for n in (2, 3))
    return frozenset(key for key in one if one[key].shape != other[key].shape)


def _alexnet_map(image_size: int) -> int:
    """Side of the last feature map of torchvision's AlexNet."""
    side = (image_size - 7) // 4 + 1  # the first convolution
    for _ in range(3):  # the poolings
        side = (side - 3) // 2 + 1
    return side


@lru_cache(maxsize=1024)
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
    weights = build_on_meta(name, num_classes, image_size).state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in weights)


@lru_cache(maxsize=1024)
def activation_sizes(name: str, num_classes: int, image_size: int) -> tuple[int, int]:
    """Numbers of values per image that training keeps, and that inference holds at a time.

    Both are lower bounds, by shape inference: the outputs of all layers but those in place, and
    the largest input and output of a layer.

    Parameters
    ----------
    name : str
        As in :func:`build_model`.
    num_classes : int
    image_size : int
        Pixels.
    """
    model, kept, held = build_on_meta(name, num_classes, image_size).eval(), [0], [0]

    def measure(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        sizes = [value.numel() for value in (*inputs, output) if isinstance(value, Tensor)]
        is_new = isinstance(output, Tensor) and output is not inputs[0]
        held.append(sum(sizes))
        kept.append(sizes[-1] if is_new and not getattr(layer, "inplace", False) else 0)

    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(measure)
    with torch.device("meta"):
        model(torch.empty(1, 3, image_size, image_size))
    return sum(kept), max(held)


@lru_cache(maxsize=1024)
def needs_two_images(name: str, image_size: int) -> bool:
    """Whether a training step on a single image fails: batch normalisation of 1 x 1 maps."""
    model = build_on_meta(name, 2, image_size).train()
    try:
        with torch.device("meta"):
            model(torch.empty(1, 3, image_size, image_size))
    except ValueError as error:
        return "more than 1 value per channel" in str(error)
    return False


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
    try:
        model = build_on_meta(name, 2, image_size).eval()
        with torch.device("meta"):
            return isinstance(model(torch.empty(1, 3, image_size, image_size)), Tensor)
    except (RuntimeError, ValueError, AssertionError):
        return False
