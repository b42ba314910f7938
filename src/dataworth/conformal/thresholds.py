"""conformal.json in a run's directory: calibrated thresholds, and the weights they belong to.

A threshold is valid only for the weights, the calibration images and the alpha that it was
calibrated with; the file names them all, and read_thresholds refuses any other combination.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..console import warn
from ..data.prepare import PreparedData
from ..errors import InputError
from ..storage.files import read_digest, read_json, write_json
from ..storage.identity import SCHEMA
from ..storage.study_directory import study_flags
from .scores import FREE_RANKS, METHODS, MODES, PENALTY, Array, Labels

FILE = "conformal.json"
STREAM = 0x5EED_0006  # separates these draws from every other use of the same seed

Stored = list[float | None]  # thresholds in JSON; None is infinity, a full set
Thresholds = dict[str, dict[str, Stored]]  # method -> mode


def check_calibration_images(data: PreparedData) -> None:
    """Warn of validation images that are also in test: they calibrate nothing.

    Raises
    ------
    InputError
        If no other image is left.
    """
    distinct = data.distinct_validation
    if not distinct.any():
        raise InputError(
            f"--conformal: all {len(distinct)} validation images are also in test; the coverage of "
            "sets calibrated on test images would be overestimated; give the data a separate test "
            "split"
        )
    if shared := int((~distinct).sum()):
        are, they = ("is", "it is") if shared == 1 else ("are", "they are")
        warn(
            f"--conformal: {shared} of {len(distinct)} validation images {are} also in test; "
            f"{they} left out of the calibration"
        )


def calibration_identity(run_dir: Path, data: PreparedData) -> dict[str, object]:
    """Return digests of the weights and the calibration images that thresholds belong to."""
    split, kept = data.dataset.splits["validation"], data.distinct_validation
    digest = hashlib.sha256()
    digest.update(data.digests[split.source][split.rows][kept].tobytes())
    digest.update(split.labels[kept].astype("<i8").tobytes())
    return {
        "schema_version": SCHEMA,
        "weights_sha256": read_digest(run_dir / "best.safetensors"),
        "data_sha256": data.digest,
        "calibration": {
            "split": "validation",
            "num_images": int(kept.sum()),
            "sha256": digest.hexdigest(),
        },
        "raps": {"penalty": PENALTY, "free_ranks": FREE_RANKS},
    }


def uniform_draws(part: int, n: int) -> Array:
    """Uniform numbers in [0, 1) that randomise APS, shape (n,).

    Parameters
    ----------
    part : int
        0 for the calibration images, 1 for the test images.
    n : int
    """
    return np.random.default_rng([STREAM, part]).random(n)


def calibrate(
    run_dir: Path,
    identity: Mapping[str, object],
    shares: Array,
    labels: Labels,
    alphas: Sequence[float],
) -> dict[str, Thresholds]:
    """Compute the thresholds of a run and write them to its conformal.json.

    Thresholds for other alphas are kept if they belong to the same weights and images.

    Parameters
    ----------
    run_dir : Path
    identity : mapping
        From :func:`calibration_identity`.
    shares : ndarray of shape (n, classes)
        Probabilities of the calibration images.
    labels : ndarray of shape (n,)
    alphas : sequence of float

    Returns
    -------
    dict
        ``repr(alpha)`` -> method -> mode -> thresholds.
    """
    by_alpha: dict[str, Thresholds] = {}
    if (run_dir / FILE).exists():
        stored = read_json(run_dir / FILE)
        if not _mismatch(stored, identity):
            by_alpha = _alphas(stored)
    draws = uniform_draws(0, len(labels))
    scores = {name: method(shares, draws) for name, method in METHODS.items()}
    for alpha in alphas:
        by_alpha[repr(alpha)] = {
            method: {mode: _to_json(find(values, labels, alpha)) for mode, find in MODES.items()}
            for method, values in scores.items()
        }
    write_json(run_dir / FILE, {**identity, "alphas": by_alpha})
    return by_alpha


def warn_small_calibration_set(labels: Labels, num_classes: int, alpha: float) -> None:
    """Warn where calibration images are too few for alpha, so that sets are full.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        Of the calibration images.
    num_classes : int
    alpha : float
    """
    needed = math.ceil(round(1 / alpha - 1, 9))
    num_small = int((np.bincount(labels, minlength=num_classes) < needed).sum())
    if len(labels) < needed:
        warn(
            f"warning: --alpha {alpha} takes {needed:,} calibration images, there are "
            f"{len(labels):,}: every set holds every class"
        )
    elif num_small:
        warn(
            f"warning: --alpha {alpha} within each class takes {needed:,} calibration images of "
            f"it, {num_small} of {num_classes} classes have fewer: every class-conditional set "
            "holds those"
        )


def read_thresholds(
    run_dir: Path, identity: Mapping[str, object], alpha: float, method: str
) -> Array:
    """Read the marginal threshold of a run, shape (1,).

    Parameters
    ----------
    run_dir : Path
    identity : mapping
        Some or all fields of :func:`calibration_identity` that the file must agree with.
    alpha : float
    method : str
        A key of ``METHODS``.

    Raises
    ------
    InputError
        If there are no thresholds, or they belong to other weights, images or alphas.
    """
    path = run_dir / FILE
    remedy = " ".join(
        filter(None, ["python eval.py", study_flags(run_dir), f"--conformal --alpha {alpha}"])
    )
    if not path.exists():
        raise InputError(f"no {path}; {remedy} writes it")
    stored = read_json(path)
    if mismatch := _mismatch(stored, identity):
        raise InputError(f"{path} {mismatch}; {remedy} mends it")
    by_alpha = _alphas(stored)
    if repr(alpha) not in by_alpha:
        raise InputError(f"{path} holds alpha {', '.join(by_alpha)}, not {alpha}; {remedy} adds it")
    try:
        (threshold,) = from_json(by_alpha[repr(alpha)][method]["marginal"])
        if math.isnan(threshold):
            raise ValueError("NaN")
        return np.array([float(threshold)])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{path} is damaged at alpha {alpha}; {remedy} mends it") from None


def _alphas(stored: Mapping[str, Any]) -> dict[str, Any]:
    alphas = stored.get("alphas")
    return dict(alphas) if isinstance(alphas, dict) else {}


def _mismatch(stored: Mapping[str, object], identity: Mapping[str, object]) -> str:
    """Name the first field of the file that differs from ``identity``; empty if none does."""
    for key, value in identity.items():
        if stored.get(key) != value:
            return f"was made for another {key}: {stored.get(key)!r:.99} there, {value!r:.99} here"
    return ""


def _to_json(thresholds: Array) -> Stored:
    return [None if math.isinf(value) else float(value) for value in thresholds]


def from_json(values: Stored) -> Array:
    """Return stored thresholds as an array, infinity where the set is full."""
    return np.array([math.inf if value is None else value for value in values])
