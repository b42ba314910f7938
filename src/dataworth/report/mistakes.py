"""The test images that a size is most surely wrong about."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.prepare import PreparedData
from ..evaluation.calibration import probabilities
from ..evaluation.full import read_predictions

SIDE = 96  # pixels of a thumbnail at most
SMALL = 48  # pixels below which one is shown enlarged
QUALITY = 80  # of JPEG


@dataclass(frozen=True)
class Mistake:
    """One test image, and what was said of it."""

    picture: str  # data URI
    true: str
    predicted: str
    confidence: float
    seed: int
    elsewhere: str  # what the runs of the other size say


@dataclass(frozen=True)
class Gallery:
    """The surest mistakes of one size."""

    num_images: int
    size: float | int  # as asked: a share of the training set, or a count
    mistakes: Sequence[Mistake]


@dataclass(frozen=True)
class Answers:
    """What the runs of one size say of the test images; arrays of shape (runs, images)."""

    num_images: int
    seeds: Sequence[int]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]


def galleries(
    results: Mapping[str, Any], data: PreparedData, folder: Path, most: int
) -> list[Gallery]:
    """Show the surest mistakes of the smallest and of the largest size, all seeds considered.

    Parameters
    ----------
    results : mapping
        metrics.json of one variant.
    folder : Path
        Of the results; holds ``predictions``.
    most : int
        Pictures per size.
    """
    complete = [run for run in results["runs"] if run["status"] == "complete"]
    sizes = sorted({run["num_images"] for run in complete})
    asked = {run["num_images"]: run["subset_size"] for run in complete}
    ends = [_answers(complete, size, folder) for size in dict.fromkeys((*sizes[:1], *sizes[-1:]))]
    return [
        Gallery(own.num_images, asked[own.num_images], _mistakes(own, other, data, most))
        for own, other in zip(ends, reversed(ends), strict=True)
    ]


def _answers(complete: Sequence[Mapping[str, Any]], size: int, folder: Path) -> Answers:
    runs = [run for run in complete if run["num_images"] == size]
    predicted, confidence, right = [], [], []
    for run in runs:
        logits, labels = read_predictions(folder, run, "test")
        shares = probabilities(logits)
        predicted.append(shares.argmax(axis=1))
        confidence.append(shares.max(axis=1))
        right.append(predicted[-1] == labels)
    seeds = [run["seed"] for run in runs]
    return Answers(size, seeds, np.stack(predicted), np.stack(confidence), np.stack(right))


def _mistakes(own: Answers, other: Answers, data: PreparedData, most: int) -> list[Mistake]:
    """Choose each image at most once, by its surest wrong run."""
    split, classes = data.dataset.splits["test"], data.dataset.classes
    sure = np.where(own.right, -1.0, own.confidence)
    order = np.argsort(-sure.max(axis=0), kind="stable")[:most]
    found = []
    for i in (int(i) for i in order if sure[:, i].max() >= 0):
        k = int(sure[:, i].argmax())
        right, total = int(other.right[:, i].sum()), len(other.seeds)
        found.append(
            Mistake(
                thumbnail(data.images[split.source][split.rows[i]]),
                classes[split.labels[i]],
                classes[own.predicted[k, i]],
                float(own.confidence[k, i]),
                own.seeds[k],
                f"at {other.num_images:,} images right in {right} of {total}"
                if other is not own
                else "",
            )
        )
    return found


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return pixels (side, side, 3) as a small JPEG in a data URI."""
    image = Image.fromarray(np.asarray(pixels))
    if image.width > SIDE:
        image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    elif image.width < SMALL:
        image = image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
