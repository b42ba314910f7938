"""Weights files: tensors, metadata and SHA-256 of a safetensors file; comparison with a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import Recipe
from ..data.normalisation import IMAGENET, ChannelStats, parse_channel_stats
from ..errors import InputError, short_repr
from ..storage.files import WEIGHT_BYTES, read_stored

MAX_HEADER_BYTES = 16 * 2**20  # of a weights file; 20,000 class names take about 1 MB


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str], str]:
    """Return tensors, metadata and SHA-256 of a safetensors file.

    Raises
    ------
    InputError
        If there is no such file, it is not a safetensors file, or its header is too large.
    """
    from safetensors import SafetensorError, safe_open

    try:
        content = read_stored(path, WEIGHT_BYTES)
        header_bytes = int.from_bytes(content[:8], "little")
        if MAX_HEADER_BYTES < header_bytes < len(content):
            raise InputError(
                f"{path}: a header of {header_bytes:,} bytes exceeds {MAX_HEADER_BYTES:,}; "
                "files of this program are far below: not weights to load"
            )
        digest = hashlib.sha256(content).hexdigest()
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}, digest
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is no safetensors file: {reason}") from None


def parse_metadata(
    path: Path, metadata: Mapping[str, str]
) -> tuple[Recipe, tuple[str, ...], ChannelStats]:
    """Parse recipe, class names and normalisation from the metadata of a weights file.

    Raises
    ------
    InputError
        If they are missing or invalid.
    """
    try:
        run = json.loads(metadata["run"])
        recipe, classes = dict(**run["recipe"]), [str(name) for name in run["classes"]]
        if not classes:
            raise ValueError("no classes")
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(
            f"{path} does not name its recipe and classes; give the run instead, by --experiment-id"
        ) from None
    try:
        return Recipe(**recipe), tuple(classes), read_channel_stats(path, run)
    except InputError as error:
        raise InputError(_at(path, error)) from None


def _at(path: Path, error: Exception) -> str:
    """Put the path before a message that lacks it."""
    return str(error) if str(error).startswith(str(path)) else f"{path}: {error}"


def read_channel_stats(path: Path, config: Mapping[str, Any]) -> ChannelStats:
    """Return the normalisation in a run's config; ImageNet's where an earlier version wrote it.

    Raises
    ------
    InputError
        Naming ``path``, if it is not mean and deviation of three channels.
    """
    stats = config.get("pixel_moments")
    if stats is None:
        return IMAGENET
    try:
        return parse_channel_stats(stats["mean"], stats["std"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: pixel_moments must be mean and std, each of three finite numbers, std above "
            f"0; it is {short_repr(stats)}"
        ) from None


def first_difference(model: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Describe the first tensor, by name, that a model and a file do not have alike; empty if none.

    Parameters
    ----------
    model : mapping of str to Tensor
        Of the model; on the meta device, values take no memory.
    weights : mapping of str to Tensor
        Of the file.
    """
    for key in sorted(model.keys() | weights.keys()):
        in_model, in_file = (_describe(tensors.get(key)) for tensors in (model, weights))
        if in_model != in_file:
            name = key if key in model else short_repr(key)
            return f"{name} is {in_file} in the file, {in_model} in the model"
    return ""


def _describe(tensor: Tensor | None) -> str:
    """Return shape and, unless it is the usual one, kind of the numbers of a tensor."""
    if tensor is None:
        return "absent"
    kind = "" if tensor.is_floating_point() else " of integers"
    return f"{tuple(tensor.shape)}{' of complex numbers' if tensor.is_complex() else kind}"
