"""Predictions for picture files: rows of plain values, and their encoding."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..conformal.scores import METHODS, Array, prediction_sets
from ..conformal.thresholds import read_thresholds
from ..data.prepare import cache_side
from ..errors import InputError
from ..evaluation.calibration import probabilities
from .classifier import Classifier
from .pictures import Picture, read_batches

OK = "ok"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Columns:
    """What a row says of a picture."""

    top_k: int  # classes, most probable first
    all_probabilities: bool
    conformal: str | None = None  # method of the prediction sets; None: no sets
    alpha: float = 0.1  # share of sets that may miss the true class


def predict_files(
    classifier: Classifier, paths: Sequence[Path], columns: Columns, batch_size: int
) -> Rows:
    """Predict files in batches: one row per file, also for one that cannot be read.

    Parameters
    ----------
    classifier : Classifier
    paths : sequence of Path
        Image files.
    columns : Columns
        What to report.
    batch_size : int
        Pictures per forward pass.
    """
    limits = None
    if columns.conformal is not None:
        limits = read_thresholds(
            classifier.path.parent, classifier.belongs, columns.alpha, columns.conformal
        )
    rows: Rows = []
    for batch in read_batches(paths, cache_side(classifier.recipe.image_size), batch_size):
        whole = [picture for picture in batch if picture.pixels is not None]
        shares = iter(_probabilities(classifier, whole))
        for picture in batch:
            file = os.fsencode(picture.path).decode(errors="backslashreplace")
            row: dict[str, Any] = {"file": file, "run": classifier.name, "status": OK}
            row["num_train_images"] = classifier.num_images
            if picture.pixels is None:
                rows.append({**row, "status": f"failed: {picture.reason}"})
            else:
                rows.append(row | _row(next(shares), picture, classifier, limits, columns))
    return rows


def _probabilities(classifier: Classifier, pictures: Sequence[Picture]) -> Array:
    """Probabilities (n, classes) of pictures that could be read."""
    squares = [picture.pixels for picture in pictures if picture.pixels is not None]
    if not squares:
        return np.empty((0, len(classifier.classes)))
    logits = classifier.logits(np.stack(squares))
    if not np.isfinite(logits).all():
        raise InputError(f"{classifier.path}: the weights answer with infinity or NaN")
    return probabilities(logits)


def _row(
    shares: Array,
    picture: Picture,
    classifier: Classifier,
    limits: Array | None,
    columns: Columns,
) -> dict[str, Any]:
    """Spell the probabilities (classes,) of one picture as plain values."""
    classes, row = classifier.classes, dict[str, Any]()
    order = np.argsort(-shares, kind="stable")
    for rank, k in enumerate(order[: columns.top_k].tolist(), 1):
        row |= {f"top_{rank}": classes[k], f"top_{rank}_probability": float(shares[k])}
    if limits is not None and columns.conformal is not None:
        scores = METHODS[columns.conformal](shares[None], np.array([picture.draw]))
        held = prediction_sets(scores, limits)[0]
        row["set"] = [classes[k] for k in order.tolist() if held[k]]
        row["set_size"] = len(row["set"])
    if columns.all_probabilities:
        row |= {f"p({name})": float(p) for name, p in zip(classes, shares, strict=True)}
    return row


def encode(rows: Rows, suffix: str) -> bytes:
    """Spell rows as CSV (sets joined by ``|``), JSON or Parquet."""
    import pandas as pd

    if suffix == ".json":
        return (json.dumps(rows, indent=2, allow_nan=False) + "\n").encode()
    table = pd.DataFrame(rows)
    if suffix == ".parquet":
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        return file.getvalue()
    if "set" in table:
        table["set"] = table["set"].map("|".join, na_action="ignore")
        table["set_size"] = table["set_size"].astype("Int64")
    return table.to_csv(index=False).encode()
