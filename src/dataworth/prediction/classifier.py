"""Classifier: a trained model for inference, loaded from a run or from a weights file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import Recipe
from ..data.augmentation import AugmentedEpoch
from ..data.class_names import readable_names
from ..data.normalisation import IMAGENET, ChannelStats, normalise
from ..errors import InputError
from ..models.registry import accepts_image_size, build_model, build_on_meta, head_names
from ..models.weights import first_difference, parse_metadata, read_channel_stats, read_weights
from ..storage.files import read_digest
from ..storage.identity import check_origin
from ..storage.run_directory import RunDirectory

REMEDY = "python eval.py sets it aside, then python train.py --resume trains the run again"
MAX_IMAGE_SIZE = 4096  # pixels, of models that files describe: an input then takes 200 MB
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, with its recipe and class names."""

    name: str  # of the run or the file, for display
    model: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    device: torch.device
    path: Path  # of the weights
    digests: Mapping[str, str]  # SHA-256 of weights and data, which conformal thresholds must match
    channel_stats: ChannelStats = IMAGENET  # for the normalisation of inputs
    num_images: int | None = None  # training images, if known

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes as people read them."""
        return readable_names(self.classes)

    def centre_crop(self, pixels: Pixels) -> Pixels:
        """Crop images as in evaluation: (b, side, side, 3) -> (b, size, size, 3)."""
        size = self.recipe.image_size
        start = int(AugmentedEpoch.unaugmented(1, pixels.shape[1] - size).top[0])
        return pixels[:, start : start + size, start : start + size]

    def inputs(self, pixels: Pixels) -> Tensor:
        """Crop and normalise as in evaluation: (b, side, side, 3) -> float (b, 3, size, size)."""
        crops = torch.tensor(self.centre_crop(pixels), device=self.device)
        return normalise(crops, self.channel_stats)

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return the logits (b, classes) of images (b, side, side, 3)."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.model(self.inputs(pixels)).float().cpu().numpy()
        return logits

    def features(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return what the last layer sees of images (b, side, side, 3): (b, width).

        The mean over positions, of models whose last layer is a convolution.
        """
        seen: list[Tensor] = []
        heads = {
            name.rpartition(".")[0]
            for name in head_names(self.recipe.model, self.recipe.image_size)
        }
        with ExitStack() as stack:
            for head in heads:
                layer = self.model.get_submodule(head)
                hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
                stack.callback(hook.remove)
            self.logits(pixels)
        last = seen[-1].float()
        means = last.flatten(2).mean(2) if last.dim() > 2 else last
        features: NDArray[np.float32] = means.cpu().numpy()
        return features


def from_run(directory: RunDirectory, classes: list[str], device: torch.device) -> Classifier:
    """Load the best weights of a finished run.

    Parameters
    ----------
    directory : RunDirectory
    classes : list of str
        Class names of the run's study.
    device : torch.device

    Raises
    ------
    InputError
        If the weights are missing, damaged, or of another model or other classes.
    DamagedError
        If they are of another run, or the file of its training images is damaged.
    """
    run, path = directory.run(), directory.path / "best.safetensors"
    config = directory.config
    stats = read_channel_stats(directory.path / "config.json", config)
    weights, metadata, digest = read_weights(path)
    if "run" in metadata:  # absent in files of earlier versions
        recipe, file_classes, _ = parse_metadata(path, metadata)
        if (recipe.model, file_classes) != (run.recipe.model, tuple(classes)):
            raise InputError(
                f"{path} holds {recipe.model} for {len(file_classes)} classes, its run is "
                f"{run.recipe.model} for {len(classes)}: not the weights of this run"
            )
        check_origin(path, json.loads(metadata["run"]), config)
    model = _load_model(path, weights, run.recipe, len(classes)).to(device)
    if (stored_digest := read_digest(path)) is None:
        raise InputError(f"{path} has no SHA-256 beside it; --weights {path} loads it unverified")
    if digest != stored_digest:
        raise InputError(f"{path} is damaged: its SHA-256 is not the one beside it; {REMEDY}")
    return Classifier(
        name=str(run.path),
        model=model,
        recipe=run.recipe,
        classes=tuple(classes),
        device=device,
        path=path,
        digests={"weights_sha256": digest, "data_sha256": str(config.get("data_sha256"))},
        channel_stats=stats,
        num_images=len(directory.subset()),
    )


def from_file(path: Path, device: torch.device) -> Classifier:
    """Load a weights file whose metadata hold its recipe and class names.

    Raises
    ------
    InputError
        If the metadata are missing or invalid, or the tensors do not fit the model.
    """
    weights, metadata, digest = read_weights(path)
    recipe, classes, stats = parse_metadata(path, metadata)
    model = _load_model(path, weights, recipe, len(classes)).to(device)
    digests = {"weights_sha256": digest}
    return Classifier(path.name, model, recipe, classes, device, path, digests, stats)


def _load_model(
    path: Path, weights: Mapping[str, Tensor], recipe: Recipe, num_classes: int
) -> nn.Module:
    """Build the model and load weights, whose names and shapes must match exactly.

    A file may describe a model that takes far more memory than the file itself: nothing is
    allocated before the shapes agree.
    """
    _check_fit(path, weights, recipe, num_classes)
    model = build_model(recipe.model, num_classes, recipe.image_size)
    model.load_state_dict(weights)
    return model.eval().to(memory_format=torch.channels_last)


def _check_fit(path: Path, weights: Mapping[str, Tensor], recipe: Recipe, num_classes: int) -> None:
    """Compare the tensors of a file with those of the model that it describes."""
    size = recipe.image_size
    if size > MAX_IMAGE_SIZE:
        raise InputError(f"{path}: image_size {size} is above {MAX_IMAGE_SIZE} pixels")
    try:
        model = build_on_meta(recipe.model, num_classes, size).state_dict()
    except InputError as error:  # no such model
        raise InputError(f"{path}: {error}") from None
    except (RuntimeError, ValueError, AssertionError):
        raise InputError(f"{path}: no {recipe.model} for images of {size} pixels") from None
    if difference := first_difference(model, weights):
        raise InputError(
            f"{path} does not fit {recipe.model} with {num_classes} classes: {difference}"
        )
    if not accepts_image_size(recipe.model, size):
        raise InputError(f"{path}: {recipe.model} does not accept images of {size} pixels")
