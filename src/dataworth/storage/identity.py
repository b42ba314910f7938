"""Identity of a run: what must agree before its files are resumed, extended or evaluated.

config.json, the snapshots and the weights of a run all hold it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import Recipe, Run
from ..errors import DamagedError, InputError, short_repr

ADDED = ("label_noise", "init", "freeze")  # settings that 0.2.0 lacks: stored where they are used
SCHEMA = 1  # of config.json, study.json and the snapshots
RESTORE = "; restore it, or remove its folder and train.py --resume trains the run again"


class InitFile(NamedTuple):
    """The file of weights that ``--init`` names, as it was when the runs were planned."""

    path: Path  # absolute: the runs may train on other machines
    digest: str  # SHA-256
    data_digest: str = ""  # of the data that the weights were trained on, where the file says it


def describe_run(run: Run) -> Mapping[str, Any]:
    """Return the part of a run's identity that can be told without its data.

    Settings of :data:`ADDED` are left out where they have no effect: weights and metrics of such
    runs have the bytes that 0.2.0 writes, and 0.2.0 reads them.
    """
    defaults = {name: Recipe.model_fields[name].default for name in ADDED}
    unused = {name for name, default in defaults.items() if getattr(run.recipe, name) == default}
    return {
        "schema_version": SCHEMA,
        "recipe": run.recipe.model_dump(mode="json", exclude=unused),
        "subset_size": run.subset_size,
        "seed": run.seed,
        **({"variant": run.variant} if run.variant else {}),
    }


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
        **describe_run(run),
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
    if texts := _differences(stored, requested, "requested"):
        raise InputError(f"{path} belongs to another study: {texts}; use another --experiment-id")


def check_origin(
    path: Path | str, origin: Any, identity: Mapping[str, Any], remedy: str = RESTORE
) -> None:
    """Refuse a file that another run wrote.

    Parameters
    ----------
    path : Path or str
        The file, for the message.
    origin : mapping
        Identity in the file; files of earlier versions lack some or all of it.
    identity : mapping
        Of the run that the file should belong to.
    remedy : str
        What to do next, after a semicolon; empty if the caller does it.

    Raises
    ------
    DamagedError
        Naming each field that differs, its value in the file and the expected one.
    """
    try:
        stored, expected = _by_field(origin), _by_field(identity)
    except InputError as error:
        raise DamagedError(f"{path} has a damaged identity: {error}{remedy}") from None
    common = {key: expected[key] for key in stored if key in expected}
    if texts := _differences(stored, common, "expected"):
        raise DamagedError(f"{path} belongs to another run: {texts}{remedy}")


def _by_field(identity: Any) -> dict[str, Any]:
    """Return the settings of the recipe and the other fields in one mapping."""
    if not isinstance(identity, Mapping):
        raise InputError("no identity")
    fields = dict(identity)
    recipe = with_defaults(fields.pop("recipe")) if "recipe" in fields else {}
    variant = {"variant": ""} if "seed" in fields else {}  # stored where there are several
    return {**variant, **fields, **recipe}


def _differences(stored: Mapping[str, Any], expected: Mapping[str, Any], word: str) -> str:
    return "; ".join(
        f"{key}: {short_repr(stored.get(key))} stored, {short_repr(value)} {word}"
        for key, value in expected.items()
        if stored.get(key) != value or (stored[key] is True) != (value is True)  # True == 1
    )
