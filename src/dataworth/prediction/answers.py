"""Predictions for image files, as table rows, and their encoding as CSV, JSON or Parquet."""

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
from ..evaluation.tables import csv_bytes
from .classifier import Classifier
from .pictures import Picture, read_batches

OK = "ok"  # status of an image that was classified
Row = dict[str, Any]  # column -> value of one image


@dataclass(frozen=True)
class Columns:
    """What to report of each image."""

    top_k: int  # classes, most probable first
    all_probabilities: bool
    conformal: str | None = None  # method of the prediction sets; None: no sets
    alpha: float = 0.1  # error rate of the sets: share that may miss the true class


def predict_files(
    classifier: Classifier, paths: Sequence[Path], columns: Columns, batch_size: int
) -> list[Row]:
    """Predict files in batches: one row per file, also for one that cannot be read.

    Parameters
    ----------
    classifier : Classifier
    paths : sequence of Path
        Image files.
    columns : Columns
        What to report.
    batch_size : int
        Images per forward pass.

    Raises
    ------
    InputError
        If conformal thresholds are missing or of other weights, or a logit is infinite or NaN.
    """
    thresholds = None
    if columns.conformal is not None:
        thresholds = read_thresholds(
            classifier.path.parent, classifier.digests, columns.alpha, columns.conformal
        )
    rows: list[Row] = []
    for batch in read_batches(paths, cache_side(classifier.recipe.image_size), batch_size):
        probs = iter(_probabilities(classifier, batch))
        for picture in batch:
            file = os.fsencode(picture.path).decode(errors="backslashreplace")
            row: Row = {"file": file, "run": classifier.name, "status": OK}
            row["num_train_images"] = classifier.num_images
            if picture.pixels is None:
                rows.append({**row, "status": f"failed: {picture.reason}"})
            else:
                rows.append(row | _row(next(probs), picture, classifier, thresholds, columns))
    return rows


def _probabilities(classifier: Classifier, pictures: Sequence[Picture]) -> Array:
    """Return the probabilities (n, classes) of the pictures that could be decoded."""
    pixels = [picture.pixels for picture in pictures if picture.pixels is not None]
    if not pixels:
        return np.empty((0, len(classifier.classes)))
    logits = classifier.logits(np.stack(pixels))
    if not np.isfinite(logits).all():
        raise InputError(f"{classifier.path}: the weights give infinite or NaN logits")
    return probabilities(logits)


def _row(
    probs: Array,
    picture: Picture,
    classifier: Classifier,
    thresholds: Array | None,
    columns: Columns,
) -> Row:
    """Format the probabilities (classes,) of one picture as plain values."""
    classes, row = classifier.class_names, Row()
    order = np.argsort(-probs, kind="stable")
    for rank, k in enumerate(order[: columns.top_k].tolist(), 1):
        row |= {f"top_{rank}": classes[k], f"top_{rank}_probability": float(probs[k])}
    if thresholds is not None and columns.conformal is not None:
        scores = METHODS[columns.conformal](probs[None], np.array([picture.draw]))
        members = prediction_sets(scores, thresholds)[0]
        row["set"] = [classes[k] for k in order.tolist() if members[k]]
        row["set_size"] = len(row["set"])
    if columns.all_probabilities:
        row |= {f"p({name})": float(p) for name, p in zip(classes, probs, strict=True)}
    return row


def encode_rows(rows: Sequence[Row], suffix: str) -> bytes:
    """Encode rows as CSV (classes of a set joined by ``|``), JSON or Parquet."""
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
    return csv_bytes(table)
