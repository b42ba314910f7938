"""What makes a run this run and no other: whoever asks for another one is told the difference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Recipe, Run
from ..errors import InputError

SCHEMA = 1  # of config.json, study.json and the snapshots


def identify(run: Run, indices: NDArray[np.int64], data: str) -> dict[str, Any]:
    """Say what makes a run this run and no other: what config.json holds, but for the machine.

    Parameters
    ----------
    indices : int64 ndarray of shape (n,)
        Its training images.
    data : str
        SHA-256 of the data set.
    """
    return {
        "schema_version": SCHEMA,
        "recipe": run.recipe.model_dump(mode="json"),
        "subset_size": run.subset_size,
        "seed": run.seed,
        **({"variant": run.variant} if run.variant else {}),
        "data_sha256": data,
        "subset_sha256": fingerprint(indices),
    }


def fingerprint(indices: NDArray[np.int64]) -> str:
    """SHA-256 of the indices of a subset."""
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def completed(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a stored recipe with today's defaults for settings that it is too old to name."""
    return Recipe(**recipe).model_dump(mode="json")


def check_same(path: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse a directory that belongs to something else.

    Raises
    ------
    InputError
        Naming each field, its value there and the value asked.
    """
    if found := differences(there, asked):
        raise InputError(
            f"{path} belongs to another study: {'; '.join(found)}; use another --experiment-id"
        )


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name each field of ``asked`` whose value ``there`` is another."""
    return [
        f"{key}: {there.get(key)!r} there, {value!r} asked"
        for key, value in asked.items()
        if there.get(key) != value
    ]
