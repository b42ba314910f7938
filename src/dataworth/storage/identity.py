"""Identity of a run: the values that must agree before a directory is resumed or extended."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import Recipe, Run
from ..errors import InputError, short_repr

SCHEMA = 1  # of config.json, study.json and the snapshots


def identify(run: Run, indices: NDArray[np.int64], data_digest: str) -> Mapping[str, Any]:
    """Return the identity of a run: the content of its config.json without the machine.

    Parameters
    ----------
    run : Run
    indices : int64 ndarray of shape (n,)
        Training images.
    data_digest : str
        SHA-256 of the data set.
    """
    return {
        "schema_version": SCHEMA,
        "recipe": run.recipe.model_dump(mode="json"),
        "subset_size": run.subset_size,
        "seed": run.seed,
        **({"variant": run.variant} if run.variant else {}),
        "data_sha256": data_digest,
        "subset_sha256": fingerprint(indices),
    }


def fingerprint(indices: NDArray[np.int64]) -> str:
    """SHA-256 of the indices of a subset."""
    return hashlib.sha256(indices.astype("<i8").tobytes()).hexdigest()


def with_defaults(recipe: Any) -> Mapping[str, Any]:
    """Return a stored recipe with the defaults of settings that were added after it was written.

    Raises
    ------
    InputError
        If it is no recipe.
    """
    if not isinstance(recipe, Mapping):
        raise InputError(f"recipe: expected a mapping of settings, found {short_repr(recipe)}")
    return Recipe(**recipe).model_dump(mode="json")


def check_same(path: Path, stored: Mapping[str, Any], requested: Mapping[str, Any]) -> None:
    """Refuse a directory whose stored values differ from the requested ones.

    Parameters
    ----------
    path : Path
        The directory, for the message.
    stored, requested : mapping
        Values by field; only the fields of ``requested`` are compared.

    Raises
    ------
    InputError
        Naming each field that differs, its stored and its requested value.
    """
    differences = [
        f"{key}: {stored.get(key)!r:.300} stored, {value!r:.300} requested"
        for key, value in requested.items()
        if stored.get(key) != value or (stored[key] is True) != (value is True)  # True == 1
    ]
    if differences:
        raise InputError(
            f"{path} belongs to another study: {'; '.join(differences)}; "
            "use another --experiment-id"
        )
