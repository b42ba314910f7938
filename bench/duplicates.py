"""Planted near duplicates: ``python -m bench duplicates --data FOLDER``.

Copies of 1 % of the images are added to the pool of a data set: re-encoded, cropped or shifted by
known amounts. Found are the pairs that the command ``dataworth data --duplicates`` reports at its
default threshold. Pairs of two images of the data set itself are no mistakes (published data sets
have near duplicates) and are counted apart; a pair with a copy is right if the other image is its
source, a copy of the same source, or a near duplicate of the source.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dataworth.data.images import decode_square
from dataworth.data.near_duplicates import Pool, near_duplicates
from dataworth.data.prepare import cache_side
from dataworth.prediction.classifier import from_file

SIDE = 64  # pixels of the decoded images, as the command's without a study
SHARE = 0.01  # of the images that are copied
Copy = Callable[[Image.Image, np.random.Generator], Image.Image]


def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Resize to a random size, 0.6 to 1.5 times the original."""
    factor = rng.uniform(0.6, 1.5)
    return image.resize((round(factor * image.width), round(factor * image.height)))


def cropped(share: float) -> Copy:
    """Return a copy function: a window of ``share`` of both sides, resized to the original size."""

    def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = share * image.width, share * image.height
        x, y = rng.random(2) * (image.width - width, image.height - height)
        return image.resize(image.size, box=(x, y, x + width, y + height))

    return crop


def shifted(share: float) -> Copy:
    """Return a copy function: moved diagonally by ``share`` of the width, edges repeated."""

    def shift(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        d = max(1, round(share * image.width))
        x, y = d + rng.choice([-d, d], 2)
        padded = np.pad(np.asarray(image), ((d, d), (d, d), (0, 0)), "edge")
        return Image.fromarray(padded[y : y + image.height, x : x + image.width])

    return shift


COPIES: dict[str, Copy] = {
    "re-encoded": resized,
    **{f"cropped to {100 * s:.0f} % of the side": cropped(s) for s in (0.95, 0.9, 0.85, 0.8, 0.7)},
    **{f"shifted by {100 * s:.0f} %": shifted(s) for s in (0.02, 0.04, 0.06, 0.08, 0.12)},
}
WITHIN = [name for name in COPIES if not name.endswith(("70 % of the side", "by 12 %"))]


def measure_duplicates(
    folder: Path, limit: int | None, seed: int, weights: Path | None
) -> dict[str, object]:
    """Plant copies, search, and score.

    Parameters
    ----------
    folder : Path
        JPEG files in it, at any depth.
    limit : int or None
        Images that are drawn; None for all.
    seed : int
        Of the choice of images and of the copies.
    weights : Path or None
        Of a trained run, whose features find pairs, too.
    """
    classifier = None if weights is None else from_file(weights, torch.device("cpu"))
    side = SIDE if classifier is None else cache_side(classifier.recipe.image_size)
    rng = np.random.default_rng(seed)
    files = sorted(folder.rglob("*.jp*g"))
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.sort(rng.permutation(len(files))[:limit])]
    originals = np.stack([decode_square(file.read_bytes(), side) for file in files])
    sources = rng.permutation(len(files))[: round(SHARE * len(files))]
    names = [list(COPIES)[i % len(COPIES)] for i in range(len(sources))]
    copies = np.stack([
        decode_square(_copy(files[source], COPIES[name], rng), side)
        for source, name in zip(sources, names, strict=True)
    ])  # fmt: skip
    parts = [(pixels, np.arange(len(pixels))) for pixels in (originals, copies)]
    wall, cpu, pool = time.perf_counter(), time.process_time(), Pool(parts)
    features = None if classifier is None else pool.apply(classifier.features)
    found = near_duplicates(pool, features=features).pairs
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    timing = {"wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}
    return {
        "images": len(files),
        "copies": len(copies),
        **timing,
        **_score(found, len(files), sources, names),
    }


def _copy(file: Path, change: Copy, rng: np.random.Generator) -> bytes:
    content = io.BytesIO()
    with Image.open(file) as image:
        change(image.convert("RGB"), rng).save(content, "jpeg", quality=int(rng.integers(40, 91)))
    return content.getvalue()


def _score(
    pairs: NDArray[np.int64], num_originals: int, sources: NDArray[np.int64], names: list[str]
) -> dict[str, object]:
    """Return the recall of each kind of copy, and the precision of the pairs with a copy."""
    origin = np.concatenate([np.arange(num_originals), sources])
    with_copy = pairs[:, 1] >= num_originals
    related = {tuple(pair) for pair in pairs[~with_copy].tolist()}
    roots = np.sort(origin[pairs[with_copy]], axis=1)
    right = [a == b or (a, b) in related for a, b in roots.tolist()]
    listed = {tuple(pair) for pair in pairs.tolist()}
    hit = np.array(
        [(source, num_originals + i) in listed for i, source in enumerate(sources.tolist())]
    )
    kinds = np.array(names)
    within = np.isin(kinds, WITHIN)
    return {
        "recall": {name: round(float(hit[kinds == name].mean()), 3) for name in COPIES},
        "recall_within_range": round(float(hit[within].mean()), 3),
        "recall_all": round(float(hit.mean()), 3),
        "pairs_with_a_copy": int(with_copy.sum()),
        "precision": round(float(np.mean(right)), 4),
        "pairs_of_the_data_set": int((~with_copy).sum()),
    }
