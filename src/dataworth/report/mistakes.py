"""Most confident mistakes on the test images, with pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.prepare import PreparedData
from ..evaluation.calibration import probabilities
from ..evaluation.records import RunScores, StudyResults
from ..storage.predictions import read_predictions

MAX_SIDE = 96  # pixels of a thumbnail
MIN_SIDE = 48  # pixels; a smaller image is enlarged
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for one test image."""

    picture: str  # data URI
    true: str
    predicted: str
    confidence: float
    seed: int
    other_size: str  # how many runs of the other size are correct, in words


@dataclass(frozen=True)
class Gallery:
    """Most confident mistakes of one size."""

    num_images: int
    subset_size: float | int  # share of the training set, or number of images
    mistakes: Sequence[Mistake]


@dataclass(frozen=True)
class Predictions:
    """Predictions of the runs of one size on test; arrays of shape (runs, images)."""

    num_images: int  # of the training subset
    subset_size: float | int
    seeds: Sequence[int]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]


def galleries(
    results: StudyResults, data: PreparedData, results_dir: Path, num_mistakes: int
) -> list[Gallery]:
    """Return the most confident mistakes of the smallest and of the largest size, over all seeds.

    Parameters
    ----------
    results : StudyResults
        Of one variant.
    data : PreparedData
    results_dir : Path
        Holds the stored logits.
    num_mistakes : int
        Pictures per size; 0 for no gallery.
    """
    sizes = sorted({run.num_images for run in results.complete_runs}) if num_mistakes else []
    ends = [
        _predictions([run for run in results.complete_runs if run.num_images == size], results_dir)
        for size in dict.fromkeys((*sizes[:1], *sizes[-1:]))
    ]
    return [
        Gallery(size.num_images, size.subset_size, _mistakes(size, other_size, data, num_mistakes))
        for size, other_size in zip(ends, reversed(ends), strict=True)
    ]


def _predictions(runs: Sequence[RunScores], results_dir: Path) -> Predictions:
    predicted, confidence, correct = [], [], []
    for run in runs:
        logits, labels = read_predictions(results_dir, run.path, "test")
        shares = probabilities(logits)
        predicted.append(shares.argmax(axis=1))
        confidence.append(shares.max(axis=1))
        correct.append(predicted[-1] == labels)
    return Predictions(
        runs[0].num_images,
        runs[0].subset_size,
        [run.seed for run in runs],
        np.stack(predicted),
        np.stack(confidence),
        np.stack(correct),
    )


def _mistakes(
    size: Predictions, other_size: Predictions, data: PreparedData, num_mistakes: int
) -> list[Mistake]:
    """Select each image at most once, with the most confident of its wrong predictions."""
    split, classes = data.dataset.splits["test"], data.dataset.class_names
    confidence = np.where(size.correct, -1.0, size.confidence)
    order = np.argsort(-confidence.max(axis=0), kind="stable")[:num_mistakes]
    mistakes = []
    for i in (int(i) for i in order if confidence[:, i].max() >= 0):
        k = int(confidence[:, i].argmax())
        num_correct, num_runs = int(other_size.correct[:, i].sum()), len(other_size.seeds)
        mistakes.append(
            Mistake(
                thumbnail(data.images[split.source][split.rows[i]]),
                classes[split.labels[i]],
                classes[size.predicted[k, i]],
                float(size.confidence[k, i]),
                size.seeds[k],
                f"at {other_size.num_images:,} images correct in {num_correct} of {num_runs} runs"
                if other_size is not size
                else "",
            )
        )
    return mistakes


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (side, side, 3) as a small JPEG in a data URI."""
    image = Image.fromarray(np.asarray(pixels))
    if image.width > MAX_SIDE:
        image = image.resize((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    elif image.width < MIN_SIDE:
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
