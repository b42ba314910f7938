"""Weights to start from (``--init``): the body of a run's weights file, or of torchvision's.

The head, which is the last layer, depends on the classes and is always fresh. Nothing is
downloaded, and nothing that could run code is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor

from ..config import Recipe
from ..data.normalisation import ChannelStats
from ..errors import InputError, did_you_mean, os_error_message
from ..storage.files import WEIGHT_BYTES, read_stored
from ..storage.identity import InitFile
from .registry import build_on_meta, head_names
from .weights import first_difference, parse_metadata, read_weights

TORCHVISION_NAME = re.compile(r"\w+_Weights\.\w+")
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")  # heads of Inception and GoogLeNet for training alone
CENTRED: ChannelStats = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # [0, 1] to [-1, 1]
DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.")  # as of 2017, in its files


@dataclass(frozen=True)
class Pretrained:
    """Trained weights without their head, and how their inputs were normalised."""

    path: Path  # of the file
    digest: str  # SHA-256 of the file
    model: str  # that the weights are of
    body: Mapping[str, Tensor]
    channel_stats: ChannelStats
    data_digest: str = ""  # of the images that they were trained on, where the file says it


def check_inits(recipes: Iterable[Recipe], num_classes: int) -> dict[str, InitFile]:
    """Return the files of weights that recipes start from, by ``recipe.init``, checked to fit.

    Raises
    ------
    InputError
        As :func:`read_pretrained`; or if a recipe would freeze fresh weights.
    """
    files: dict[str, InitFile] = {}
    for recipe in recipes:
        if recipe.init is not None:
            pretrained = read_pretrained(recipe, find_weights(recipe.init), num_classes)
            source = (pretrained.path, pretrained.digest, pretrained.data_digest)
            files[recipe.init] = InitFile(*source)
        elif recipe.freeze != "none":
            raise InputError(
                f"--freeze {recipe.freeze}: needs --init; fresh weights are no features"
            )
    return files


def find_weights(init: str) -> Path:
    """Return the absolute path of the file that ``--init`` means, which may be missing.

    Raises
    ------
    InputError
        If torchvision has no weights of this name, or it cannot be a path.
    """
    if "\0" in init:
        raise InputError(f"--init: {init!r} is not a path")
    if TORCHVISION_NAME.fullmatch(init):
        url = _torchvision_weights(init).url
        return Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name).absolute()
    return Path(init).expanduser().absolute()


def read_pretrained(
    recipe: Recipe, path: Path, num_classes: int, expected_digest: str | None = None
) -> Pretrained:
    """Read the weights that a recipe starts from.

    Parameters
    ----------
    recipe : Recipe
        Its ``init`` says what the file is.
    path : Path
        From :func:`find_weights`, perhaps of another machine.
    num_classes : int
        Of the model to train.
    expected_digest : str or None
        SHA-256 of the file, where it is known.

    Raises
    ------
    InputError
        In one line, if the file is missing, damaged, of another kind, of another model, or changed.
    """
    assert recipe.init is not None, "the caller checks"
    is_named = TORCHVISION_NAME.fullmatch(recipe.init)
    try:
        whole = _read_torchvision(recipe.init, path) if is_named else _read_run(path)
    except InputError as error:
        raise InputError(f"--init: {error}") from None
    if expected_digest not in (None, whole.digest):
        raise InputError(f"--init: {path} has changed since the study was planned; restore it")
    model = build_on_meta(recipe.model, num_classes, recipe.image_size).state_dict()
    head = head_names(recipe.model, recipe.image_size)
    expected = {key: value for key, value in model.items() if key not in head}
    body = {key: value for key, value in whole.body.items() if key not in head}
    for key in expected.keys() - body.keys():
        if key.endswith("num_batches_tracked"):  # old files lack it, and no model here uses it
            body[key] = torch.zeros((), dtype=torch.int64)
    if difference := first_difference(expected, body):
        raise InputError(
            f"--init: {path}, the weights of {whole.model}, does not fit --model {recipe.model} at "
            f"--image-size {recipe.image_size}: {difference}"
        )
    if not all(value.isfinite().all() for value in body.values()):
        raise InputError(f"--init: {path} holds infinite or NaN weights")
    return replace(whole, body=body)


def _read_run(path: Path) -> Pretrained:
    """Read a weights file of a run."""
    weights, metadata, digest = read_weights(path)
    if "run" not in metadata:
        raise InputError(
            f"{path} does not say how its inputs were normalised; give a weights file that "
            "train.py or dataworth export wrote"
        )
    recipe, _, stats = parse_metadata(path, metadata)
    data_digest = str(json.loads(metadata["run"]).get("data_sha256", ""))
    return Pretrained(path, digest, recipe.model, weights, stats, data_digest)


def _torchvision_weights(name: str) -> Any:
    """Return the entry of torchvision's weights of a classifier.

    Raises
    ------
    InputError
        If there is none of this name; the message suggests similar ones.
    """
    from torchvision import models

    entries = {
        str(weights): weights
        for model in models.list_models(module=models)
        for weights in models.get_model_weights(model)
    }
    if name not in entries:
        raise InputError(f"--init: torchvision has no weights {name}{did_you_mean(name, entries)}")
    return entries[name]


def _read_torchvision(name: str, path: Path) -> Pretrained:
    """Read torchvision's weights from a file in the cache of torch.hub."""
    entry = _torchvision_weights(name)
    try:
        content = read_stored(path, WEIGHT_BYTES)
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; download {entry.url} and put it there (nothing is downloaded here)"
        ) from None
    except OSError as error:
        raise InputError(os_error_message(error)) from None
    digest = hashlib.sha256(content).hexdigest()
    named = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)  # torch.hub names files by their SHA-256
    if named and not digest.startswith(named[1]):
        raise InputError(
            f"{path} is damaged: its SHA-256 begins with {digest[:8]}, not {named[1]}; download "
            f"{entry.url} again"
        )
    try:
        weights = dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # torch and pickle raise a dozen types on hostile bytes
        raise InputError(f"{path} holds no weights ({type(error).__name__})") from None
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path} holds no weights: not a mapping of names to tensors")
    weights = {
        DENSENET_KEY.sub(r"\1\2.", key): value
        for key, value in weights.items()
        if not key.startswith(AUXILIARY)
    }
    transforms = entry.transforms()
    # torchvision's Inception and GoogLeNet undo ImageNet's normalisation when they have weights.
    is_centred = name.startswith(("GoogLeNet", "Inception"))
    stats = CENTRED if is_centred else (tuple(transforms.mean), tuple(transforms.std))
    return Pretrained(path, digest, name, weights, stats)
