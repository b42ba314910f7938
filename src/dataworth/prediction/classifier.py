"""A trained model that answers: read from a run's directory, or from a file of weights alone."""

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
from ..data.augmentation import EpochPlan
from ..data.transforms import IMAGENET, Moments, normalise
from ..errors import InputError
from ..models.registry import build_model
from ..storage.files import read_digest
from ..storage.run_directory import RunDirectory

MEND = "python eval.py sets it aside, then python train.py --resume trains the run again"


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, and what it was trained to tell apart."""

    name: str  # of the run or the file, for whoever reads the answers
    model: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    device: torch.device
    path: Path  # of the weights
    belongs: dict[str, Any]  # what thresholds for these weights must be bound to
    moments: Moments = IMAGENET  # channel means and deviations that inputs are normalised by
    num_images: int | None = None  # it was trained on, if known

    def seen(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop as in evaluation: (b, side, side, 3) -> (b, size, size, 3)."""
        size = self.recipe.image_size
        start = int(EpochPlan.plain(1, pixels.shape[1] - size).top[0])
        return pixels[:, start : start + size, start : start + size]

    def inputs(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Crop and normalise as in evaluation: (b, side, side, 3) -> float (b, 3, size, size)."""
        return normalise(torch.tensor(self.seen(pixels), device=self.device), self.moments)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answer squares of shape (b, side, side, 3) with logits (b, classes)."""
        with torch.inference_mode():
            answer: NDArray[np.float32] = self.model(self.inputs(pixels)).float().cpu().numpy()
        return answer


def from_run(directory: RunDirectory, classes: list[str], device: torch.device) -> Classifier:
    """Read the best weights of a finished run.

    Parameters
    ----------
    classes : list of str
        Of the run's study.

    Raises
    ------
    InputError
        If the weights are missing, damaged, or those of another model or other classes.
    """
    run, path = directory.run(), directory.path / "best.safetensors"
    weights, metadata, digest = read_weights(path)
    if "run" in metadata:  # absent where an earlier version wrote the file
        recipe, own, _ = _described(path, metadata)
        if (recipe.model, own) != (run.recipe.model, tuple(classes)):
            raise InputError(
                f"{path} holds {recipe.model} for {len(own)} classes, its run is "
                f"{run.recipe.model} for {len(classes)}: not the weights of this run"
            )
    model = _fitted(path, weights, run.recipe, len(classes)).to(device)
    if (promised := read_digest(path)) is None:
        raise InputError(f"{path} has no SHA-256 beside it; --weights {path} takes it as it is")
    if digest != promised:
        raise InputError(f"{path} is damaged: its SHA-256 is not the one beside it; {MEND}")
    belongs = {"weights_sha256": digest, "data_sha256": directory.config()["data_sha256"]}
    return Classifier(
        str(run.path),
        model,
        run.recipe,
        tuple(classes),
        device,
        path,
        belongs,
        _moments(directory.config()),
        len(directory.subset()),
    )


def from_file(path: Path, device: torch.device) -> Classifier:
    """Read a file of weights that says in its metadata what it is.

    Raises
    ------
    InputError
        If it does not say so, or its tensors do not fit what it says.
    """
    weights, metadata, digest = read_weights(path)
    recipe, classes, moments = _described(path, metadata)
    model, belongs = _fitted(path, weights, recipe, len(classes)), {"weights_sha256": digest}
    return Classifier(path.name, model.to(device), recipe, classes, device, path, belongs, moments)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Read tensors, metadata and SHA-256 of a safetensors file.

    Raises
    ------
    InputError
        If there is no such file.
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


def _described(path: Path, metadata: dict[str, str]) -> tuple[Recipe, tuple[str, ...], Moments]:
    """Read recipe, class names and moments from the metadata of a file of weights."""
    try:
        described = json.loads(metadata["run"])
        recipe, classes = dict(described["recipe"]), [str(name) for name in described["classes"]]
        moments = _moments(described)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(
            f"{path} does not name its recipe and classes; give the run instead, by --experiment-id"
        ) from None
    try:
        return Recipe(**recipe), tuple(classes), moments
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _moments(described: Mapping[str, Any]) -> Moments:
    """Read the normalisation; of files that came before there was a choice, ImageNet's."""
    found = described.get("pixel_moments")
    if found is None:
        return IMAGENET
    return tuple(map(float, found["mean"])), tuple(map(float, found["std"]))


def _fitted(path: Path, weights: dict[str, Tensor], recipe: Recipe, num_classes: int) -> nn.Module:
    """Build the model and load weights that must fit it exactly."""
    model = build_model(recipe.model, num_classes, recipe.image_size)
    asked = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    there = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    for key in sorted(asked.keys() | there.keys()):
        if asked.get(key) != there.get(key):
            raise InputError(
                f"{path} does not fit {recipe.model} with {num_classes} classes: {key} is "
                f"{there.get(key, 'absent')} in the file, {asked.get(key, 'absent')} in the model"
            )
    model.load_state_dict(weights)
    return model.eval().to(memory_format=torch.channels_last)
