"""Classifier: a trained model for inference, loaded from a run or from a weights file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import Recipe
from ..data.augmentation import AugmentedEpoch
from ..data.normalisation import IMAGENET, ChannelStats, normalise
from ..errors import InputError
from ..models.registry import build_model
from ..storage.files import read_digest
from ..storage.run_directory import RunDirectory

REMEDY = "python eval.py sets it aside, then python train.py --resume trains the run again"
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
    """
    run, path = directory.run(), directory.path / "best.safetensors"
    weights, metadata, digest = read_weights(path)
    if "run" in metadata:  # absent in files of earlier versions
        recipe, file_classes, _ = _parse_metadata(path, metadata)
        if (recipe.model, file_classes) != (run.recipe.model, tuple(classes)):
            raise InputError(
                f"{path} holds {recipe.model} for {len(file_classes)} classes, its run is "
                f"{run.recipe.model} for {len(classes)}: not the weights of this run"
            )
    model = _load_model(path, weights, run.recipe, len(classes)).to(device)
    if (stored_digest := read_digest(path)) is None:
        raise InputError(f"{path} has no SHA-256 beside it; --weights {path} loads it unverified")
    if digest != stored_digest:
        raise InputError(f"{path} is damaged: its SHA-256 is not the one beside it; {REMEDY}")
    config = directory.config()
    return Classifier(
        name=str(run.path),
        model=model,
        recipe=run.recipe,
        classes=tuple(classes),
        device=device,
        path=path,
        digests={"weights_sha256": digest, "data_sha256": config["data_sha256"]},
        channel_stats=_read_channel_stats(config),
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
    recipe, classes, stats = _parse_metadata(path, metadata)
    model = _load_model(path, weights, recipe, len(classes)).to(device)
    digests = {"weights_sha256": digest}
    return Classifier(path.name, model, recipe, classes, device, path, digests, stats)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Return tensors, metadata and SHA-256 of a safetensors file.

    Raises
    ------
    InputError
        If there is no such file, or it is not a safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}, digest
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise InputError(f"{path} is no safetensors file: {error}") from None


def _parse_metadata(
    path: Path, metadata: Mapping[str, str]
) -> tuple[Recipe, tuple[str, ...], ChannelStats]:
    """Parse recipe, class names and normalisation from the metadata of a weights file."""
    try:
        run = json.loads(metadata["run"])
        recipe, classes = dict(run["recipe"]), [str(name) for name in run["classes"]]
        stats = _read_channel_stats(run)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(
            f"{path} does not name its recipe and classes; give the run instead, by --experiment-id"
        ) from None
    try:
        return Recipe(**recipe), tuple(classes), stats
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read_channel_stats(config: Mapping[str, Any]) -> ChannelStats:
    """Read the normalisation from a run's config; ImageNet's where an earlier version wrote it."""
    stats = config.get("pixel_moments")
    if stats is None:
        return IMAGENET
    return tuple(map(float, stats["mean"])), tuple(map(float, stats["std"]))


def _load_model(
    path: Path, weights: Mapping[str, Tensor], recipe: Recipe, num_classes: int
) -> nn.Module:
    """Build the model and load weights, whose names and shapes must match exactly."""
    model = build_model(recipe.model, num_classes, recipe.image_size)
    model_shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    file_shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    for key in sorted(model_shapes.keys() | file_shapes.keys()):
        in_model, in_file = (shapes.get(key, "absent") for shapes in (model_shapes, file_shapes))
        if in_model != in_file:
            raise InputError(
                f"{path} does not fit {recipe.model} with {num_classes} classes: {key} is "
                f"{in_file} in the file, {in_model} in the model"
            )
    model.load_state_dict(weights)
    return model.eval().to(memory_format=torch.channels_last)
