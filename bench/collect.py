"""Advice on which class to collect, replayed: ``python -m bench collect --data FOLDER``.

A draw takes some classes of a data set and an uneven number of training images of each. A study of
three sizes gives the errors of each class, and the advice. Then as many images again are bought in
four ways, 100 of each advised class, 100 of as many random classes, the same number spread as
``--buy`` allocates it, and spread evenly, and two models are trained from fresh weights on each
purchase. Every draw is reported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dataworth.data.class_names import readable_names
from dataworth.findings.classes import NEXT_IMAGES, class_gains, read_class_errors

from .measure import ROOT

STUDY = "--model alexnet-small --epochs 20 --schedule cosine --batch-size 64 --workers 1 --jobs 1"
FEWEST = 20  # training images of a class before the purchase
ADVISED = 5  # classes


def measure_collect(
    data: Path, classes: int, draws: int, image_size: int, seed: int
) -> dict[str, object]:
    """Replay the advice.

    Parameters
    ----------
    data : Path
        Folders train, validation and test, with a folder of images for each class.
    classes, draws : int
    image_size : int
        Pixels.
    seed : int
        Of the first draw; the next one has the next seed.
    """
    rows = []
    for number in range(seed, seed + draws):
        with tempfile.TemporaryDirectory() as place:
            rows.append(_draw(data, classes, image_size, number, Path(place)))
        print(rows[-1], flush=True)
    arms = ("advised", "random", "allocated", "even")
    before = np.array([row["before"] for row in rows])
    gains = {arm: before - np.array([row[arm] for row in rows]) for arm in arms}
    summary: dict[str, object] = {"draws": rows}
    for arm in arms:
        summary[f"gain of {arm}"] = float(gains[arm].mean())
    for one, arm in (("advised", "random"), ("advised", "even"), ("allocated", "even")):
        difference = gains[one] - gains[arm]
        summary[f"{one} over {arm}"] = {
            "mean": float(difference.mean()),
            "standard_error": float(difference.std(ddof=1) / np.sqrt(draws)) if draws > 1 else None,
            "better": int((difference > 0).sum()),
        }
    return summary


def _draw(data: Path, classes: int, image_size: int, seed: int, place: Path) -> dict[str, float]:
    """Return the test errors (shares) before the purchase and after each of three."""
    rng = np.random.default_rng(seed)
    folders = sorted(path.name for path in (data / "train").iterdir() if path.is_dir())
    names = sorted(rng.choice(folders, classes, replace=False).tolist())
    images = {name: rng.permutation(sorted((data / "train" / name).iterdir())) for name in names}
    most = min(len(files) for files in images.values()) - NEXT_IMAGES
    have = {name: round(float(np.exp(rng.uniform(*np.log([FEWEST, most]))))) for name in names}
    seeds = ["--seeds", str(seed), str(seed + 1000)]
    flags = [*STUDY.split(), "--image-size", str(image_size), *seeds]
    _make(data, images, have, place / "before")
    sizes = ["--subset-sizes", "1.0", "0.5", "0.25"]
    result = {"seed": seed, "images": sum(have.values())}
    result["before"] = _error(place, "before", [*flags, *sizes], "--full")
    budget, folder_of = ADVISED * NEXT_IMAGES, dict(zip(readable_names(names), names, strict=True))
    errors = read_class_errors(place / "results" / "before" / "per_class.csv")
    gains = class_gains(*errors, budget)
    listed = [folder_of[name] for name in gains.table["class"]]
    best = listed[:ADVISED]
    bought = {
        "advised": dict.fromkeys(best, NEXT_IMAGES),
        "random": dict.fromkeys(rng.choice(names, ADVISED, replace=False).tolist(), NEXT_IMAGES),
        "allocated": _within(
            dict(zip(listed, gains.table["allocated_images"].astype(int).tolist(), strict=True)),
            {name: len(images[name]) - have[name] for name in listed},
        ),
        "even": dict.fromkeys(names, budget // classes),
    }
    advised = gains.table.iloc[:ADVISED]
    result["forecast_gain"] = float(advised["total_drop"].sum())
    result["forecast_allocated"], result["forecast_even"] = gains.drop[0], gains.even_drop[0]
    result["probability"] = gains.probability
    result["advised_images"] = float(advised["num_train_images"].mean())  # a class, before
    for arm, purchase in bought.items():
        have_now = {name: count + purchase.get(name, 0) for name, count in have.items()}
        assert sum(have_now.values()) == sum(have.values()) + budget, "every purchase is as large"
        _make(data, images, have_now, place / arm)
        result[arm] = _error(place, arm, [*flags, "--subset-sizes", "1.0"])
    return result


def _within(purchase: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """Return the purchase with what exceeds the images there are moved to the next classes."""
    within = {name: min(count, limits[name]) for name, count in purchase.items()}
    left = sum(purchase.values()) - sum(within.values())
    for name, limit in limits.items():
        more = min(left, limit - within[name])
        within[name], left = within[name] + more, left - more
    return within


def _make(
    data: Path, images: Mapping[str, np.ndarray], counts: Mapping[str, int], target: Path
) -> None:
    for name, count in counts.items():
        (target / "train" / name).mkdir(parents=True)
        for image in images[name][:count]:
            shutil.copy(image, target / "train" / name)
        for split in ("validation", "test"):
            shutil.copytree(data / split / name, target / split / name)


def _error(place: Path, name: str, flags: list[str], *evaluation: str) -> float:
    """Train and evaluate; return the mean top-1 test error of the runs of the largest size."""
    train = ["train.py", "--dataset", name, "--experiment-id", name, *flags]
    evaluate = ["eval.py", "--experiment-id", name, *evaluation]
    for script, *words in (train, evaluate):
        subprocess.run(
            [sys.executable, str(ROOT / script), *words],
            cwd=place, check=True, stdout=subprocess.DEVNULL, env={**os.environ},
        )  # fmt: skip
    record = json.loads((place / "results" / name / "metrics.json").read_text())
    runs = [run for run in record["runs"] if run["subset_size"] == 1.0]
    return float(np.mean([run["splits"]["test"]["top_1_error"] for run in runs]))
