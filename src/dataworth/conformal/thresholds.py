"""conformal.json beside a run's weights: thresholds, and what they hold for.

A threshold means something only for the weights, the calibration images and the alpha that it was
made with; each is named in the file, and another pairing is refused.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..console import warn
from ..data.prepare import PreparedData
from ..errors import InputError
from ..storage.files import read_digest, read_json, write_json
from ..storage.identity import SCHEMA
from .scores import FREE_RANKS, METHODS, MODES, PENALTY, Array, Labels

FILE = "conformal.json"
STREAM = 0x5EED_0006  # keeps these draws apart from every other use of the same seed


def check_apart(data: PreparedData) -> None:
    """Refuse to calibrate on images that are also tested.

    Raises
    ------
    InputError
        With their number.
    """
    if shared := data.duplicates("validation", "test"):
        raise InputError(
            f"--conformal: {shared} images are in validation and in test; sets calibrated on what "
            "they are tested on would look better than they are; give the data a test split apart"
        )


def binding(run_dir: Path, data: PreparedData) -> dict[str, Any]:
    """Name the weights and the calibration images that thresholds belong to."""
    split, digest = data.dataset.splits["validation"], hashlib.sha256()
    digest.update(data.digests[split.source][split.rows].tobytes())
    digest.update(split.labels.astype("<i8").tobytes())
    return {
        "schema_version": SCHEMA,
        "weights_sha256": read_digest(run_dir / "best.safetensors"),
        "data_sha256": data.digest,
        "calibration": {
            "split": "validation",
            "num_images": len(split),
            "sha256": digest.hexdigest(),
        },
        "raps": {"penalty": PENALTY, "free_ranks": FREE_RANKS},
    }


def draws(part: int, n: int) -> Array:
    """Uniform numbers in [0, 1) that randomise APS; ``part`` tells the splits apart."""
    return np.random.default_rng([STREAM, part]).random(n)


def calibrate(
    run_dir: Path, bound: dict[str, Any], shares: Array, labels: Labels, alphas: tuple[float, ...]
) -> dict[str, Any]:
    """Compute the thresholds of a run, write them beside its weights and return the content.

    Thresholds for other alphas stay if they belong to the same weights and images.

    Parameters
    ----------
    bound : dict
        From :func:`binding`.
    shares : ndarray of shape (n, classes)
        Probabilities of the calibration images.
    labels : ndarray of shape (n,)
    """
    content = {**bound, "alphas": {}}
    if (run_dir / FILE).exists():
        there = read_json(run_dir / FILE)
        if not _mismatch(there, bound):
            content["alphas"] = there.get("alphas", {})
    scores = {name: method(shares, draws(0, len(labels))) for name, method in METHODS.items()}
    for alpha in alphas:
        content["alphas"][repr(alpha)] = {
            name: {mode: _plain(find(found, labels, alpha)) for mode, find in MODES.items()}
            for name, found in scores.items()
        }
    write_json(run_dir / FILE, content)
    return content


def warn_of_few(labels: Labels, num_classes: int, alpha: float) -> None:
    """Say where calibration images are too few for alpha, so that sets are full."""
    least = math.ceil(round(1 / alpha - 1, 9))
    few = int((np.bincount(labels, minlength=num_classes) < least).sum())
    if len(labels) < least:
        warn(
            f"warning: --alpha {alpha} takes {least:,} calibration images, there are "
            f"{len(labels):,}: every set holds every class"
        )
    elif few:
        warn(
            f"warning: --alpha {alpha} within each class takes {least:,} calibration images of it, "
            f"{few} of {num_classes} classes have fewer: every class-conditional set holds those"
        )


def read_thresholds(run_dir: Path, bound: dict[str, Any], alpha: float, method: str) -> Array:
    """Read the marginal threshold, shape (1,), that belong to these weights.

    Parameters
    ----------
    bound : dict
        What they must belong to: some or all fields of :func:`binding`.

    Raises
    ------
    InputError
        If there are none, or they belong to other weights, images or alphas.
    """
    path = run_dir / FILE
    if not path.exists():
        raise InputError(f"no {path}; python eval.py --conformal --alpha {alpha} writes it")
    content = read_json(path)
    if wrong := _mismatch(content, bound):
        raise InputError(f"{path} {wrong}; python eval.py --conformal --alpha {alpha} mends it")
    known = content.get("alphas", {})
    if repr(alpha) not in known:
        raise InputError(
            f"{path} holds alpha {', '.join(known)}, not {alpha}; "
            f"python eval.py --conformal --alpha {alpha} adds it"
        )
    return from_plain(known[repr(alpha)][method]["marginal"])


def _mismatch(content: dict[str, Any], bound: dict[str, Any]) -> str:
    """Say which field of the file is not that of ``bound``."""
    for key, value in bound.items():
        if content.get(key) != value:
            found = content.get(key)
            return f"was made for another {key}: {found!r:.99} there, {value!r:.99} here"
    return ""


def _plain(thresholds: Array) -> list[float | None]:
    """Spell thresholds in JSON, which knows no infinity: None is a full set."""
    return [None if math.isinf(value) else float(value) for value in thresholds]


def from_plain(values: list[float | None]) -> Array:
    """Read what :func:`_plain` spelled."""
    return np.array([math.inf if value is None else value for value in values])
