"""Memory that a batch takes, by lower bounds; refused where there is less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from ..config import Recipe
from ..devices import available_memory, has_bf16
from ..errors import InputError
from .registry import activation_sizes, weight_bytes

VALUES_PER_PIXEL = 1000  # of the input: more than the layers of any model hold at a time


@dataclass(frozen=True)
class BatchMemory:
    """Lower bounds of the bytes that a model and its batches take."""

    weights: int
    kept: int  # of an image, for the gradients
    held: int  # of an image, in the forward pass
    copies: int  # of the weights in training: with gradients and moments

    @classmethod
    def of(cls, recipe: Recipe, num_classes: int, value_bytes: int) -> Self:
        """Return the bounds of a recipe's model.

        Parameters
        ----------
        recipe : Recipe
        num_classes : int
        value_bytes : int
            Of an activation: 2 under autocast, else 4.
        """
        model = (recipe.model, num_classes, recipe.image_size)
        kept, held = (value_bytes * values for values in activation_sizes(*model))
        pixels = 2 * 3 * recipe.image_size**2 * 4  # cropped, normalised, in fp32
        if recipe.freeze == "body":
            return cls(weight_bytes(*model), 0, held + pixels, copies=1)
        return cls(weight_bytes(*model), kept, held + pixels, copies=3)

    def training(self, num_images: int) -> int:
        """Bytes of a step: weights, their gradients and moments, activations."""
        return self.copies * self.weights + num_images * (self.kept + self.held)

    def inference(self, num_images: int) -> int:
        """Bytes of a forward pass."""
        return self.weights + num_images * self.held


def check_training_memory(
    recipe: Recipe,
    num_classes: int,
    num_images: int,
    num_validated: int,
    device: torch.device,
    precision: str,
) -> None:
    """Refuse a run that needs more memory than the device has.

    Parameters
    ----------
    recipe : Recipe
    num_classes : int
    num_images, num_validated : int
        Images of a step, and of a forward pass of the validation, in this process.
    device : torch.device
    precision : str

    Raises
    ------
    InputError
        Naming both, and what would fit.
    """
    available = available_memory(device)
    value_bytes = 2 if precision != "fp32" and has_bf16(device) else 4
    memory = BatchMemory.of(recipe, num_classes, value_bytes)
    trained, validated = memory.training(num_images), memory.inference(num_validated)
    needed = max(trained, validated)
    fixed = memory.training(0) if needed == trained else memory.inference(0)
    fitting = (available - memory.training(0)) // (memory.kept + memory.held)
    if validated <= available and fitting > 0:
        hint = f"about --batch-size {fitting} would fit"
    elif available > fixed:
        side = int(recipe.image_size * ((available - fixed) / max(needed - fixed, 1)) ** 0.5)
        hint = f"about --image-size {side} would fit"
    else:
        hint = "use a smaller --model"
    _check(recipe, needed, available, device, hint)


def check_inference_memory(
    recipe: Recipe, num_classes: int, num_images: int, device: torch.device
) -> None:
    """Refuse a forward pass that needs more memory than the device has.

    Parameters
    ----------
    recipe : Recipe
        Of a trained model.
    num_classes : int
    num_images : int
        Of a batch.
    device : torch.device

    Raises
    ------
    InputError
        Naming both, and what would fit.
    """
    available = available_memory(device)
    if 4 * VALUES_PER_PIXEL * recipe.image_size**2 * num_images < available:
        return  # shape inference imports torch's compiler, which takes seconds
    memory = BatchMemory.of(recipe, num_classes, value_bytes=4)
    fitting = (available - memory.weights) // memory.held
    hint = f"about --batch-size {fitting} would fit" if fitting > 0 else "give another --device"
    _check(recipe, memory.inference(num_images), available, device, hint)


def _check(recipe: Recipe, needed: int, available: int, device: torch.device, hint: str) -> None:
    if needed > available:
        raise InputError(
            f"{recipe.model} at {recipe.image_size} pixels needs more than {needed / 1e9:.1f} GB "
            f"of memory for a batch, and {available / 1e9:.1f} GB are available on {device}; {hint}"
        )
