"""Registry of models: classifiers of torchvision, of timm and our own, with fresh weights.

To add a model that torchvision lacks, write a function (``alexnets`` has three) and list it in
:data:`MODELS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import InputError, did_you_mean, short_repr
from .alexnets import alexnet_bn, alexnet_paper, alexnet_small
from .timm_models import PREFIX, build_timm

WITH_DROPOUT = ("alexnet", "vgg")  # torchvision families whose dropout the recipe sets
MAX_SEARCHED_SIZE = 512  # pixels, in the search for the smallest valid input
MAX_REAL_BYTES, MAX_REAL_SIZE = 2**28, 256  # weights and pixels of a model that is run for shapes
COMPILER = "torch._dynamo"  # a module that the first pass on the meta device imports

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
        return _pool_first(MODELS[name](num_classes, dropout))
    if name.startswith(PREFIX):
        return build_timm(name, num_classes, image_size)
    return _pool_first(_build_torchvision(name, num_classes, image_size, dropout))


def _build_torchvision(name: str, num_classes: int, image_size: int, dropout: float) -> nn.Module:
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


def _pool_first(model: nn.Module) -> nn.Module:
    """Put each max pooling before the ReLU that precedes it, which then reads fewer values.

    A maximum and ReLU commute: logits, gradients and the names of the weights stay the same.
    On one thread AlexNet's training step takes 6 % less time at 227 pixels, that of
    ``alexnet-small`` 9 % less (LOG.md).
    """
    for module in model.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index, (layer, following) in enumerate(pairwise(list(module))):
            if isinstance(layer, nn.ReLU) and isinstance(following, nn.MaxPool2d):
                module[index], module[index + 1] = following, layer
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


class _Shapes(TorchFunctionMode):
    """Draw no weights, which imports torch's compiler on the meta device; know ranges and lists.

    These keep their values on the CPU under ``torch.device("meta")``: RegNet reads them.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.__name__ in ("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
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
    return _build_shapes(name, num_classes, image_size, "meta")


def _build_shapes(name: str, num_classes: int, image_size: int, device: str) -> nn.Module:
    """Build the model with arbitrary weights."""
    with torch.device(device), _Shapes():
        return build_model(name, num_classes, image_size).to(device)


def _forward(
    name: str,
    num_classes: int,
    image_size: int,
    prepare: Callable[[nn.Module], object],
) -> Any:
    """Pass one image through the model for its shapes; return the output.

    The first pass on the meta device imports torch's compiler, which takes as long as importing
    torch. Until it is imported, a small model takes zeros on the CPU; where that fails, the meta
    device decides.

    Parameters
    ----------
    name : str
        As in :func:`build_model`.
    num_classes : int
    image_size : int
        Pixels.
    prepare : callable
        Called with each model that is built, to set its mode and hooks.
    """
    is_small = weight_bytes(name, num_classes, image_size) <= MAX_REAL_BYTES
    if is_small and image_size <= MAX_REAL_SIZE and COMPILER not in sys.modules:
        with suppress(Exception), torch.random.fork_rng(devices=[]), torch.no_grad():
            model = _build_shapes(name, num_classes, image_size, "cpu")
            for parameter in model.parameters():
                parameter.zero_()
            prepare(model)
            return model(torch.zeros(1, 3, image_size, image_size))
    model = build_on_meta(name, num_classes, image_size)
    prepare(model)
    with torch.device("meta"):
        return model(torch.empty(1, 3, image_size, image_size))


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
    kept, held = list[int](), list[int]()

    def measure(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        sizes = [value.numel() for value in (*inputs, output) if isinstance(value, Tensor)]
        is_new = isinstance(output, Tensor) and output is not inputs[0]
        held.append(sum(sizes))
        kept.append(sizes[-1] if is_new and not getattr(layer, "inplace", False) else 0)

    def watch(model: nn.Module) -> None:
        kept.clear()
        held.clear()
        for layer in model.eval().modules():
            if not list(layer.children()):
                layer.register_forward_hook(measure)

    _forward(name, num_classes, image_size, watch)
    return sum(kept), max(held, default=0)


@lru_cache(maxsize=1024)
def needs_two_images(name: str, image_size: int) -> bool:
    """Whether a training step on a single image fails: batch normalisation of 1 x 1 maps."""
    try:
        _forward(name, 2, image_size, nn.Module.train)
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
    """Check, by passing one image, whether the model accepts this input size."""
    try:
        return isinstance(_forward(name, 2, image_size, nn.Module.eval), Tensor)
    except (RuntimeError, ValueError, AssertionError):
        return False
