"""From the flags of ``predict.py`` to answers on the screen and in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import InputError
from ..data.prepare import cache_side
from ..devices import pick_device, prepare_process
from ..evaluation.calibration import probabilities
from ..files import DamagedError, write_whole
from ..runs import RunDirectory
from ..screen import say
from ..studies import newest_study, planned_runs, read_study
from .classifier import Classifier, from_file, from_run
from .conformal import METHODS, Array, prediction_sets
from .explain import convolution_map, save_explanation, save_filters
from .flags import ModelFlags, PredictFlags
from .pictures import Picture, find_pictures, read_batches, read_picture
from .tables import FORMATS, OK, Rows, encode, show
from .thresholds import read_thresholds


def answer(flags: PredictFlags) -> tuple[int, int]:
    """Do what the flags ask; return how many files failed, of how many.

    Raises
    ------
    InputError
        If the flags do not go together, no image is found, or the weights do not fit.
    """
    _check(flags)
    classifiers = choose(flags, flags.all_sizes)
    if flags.explain:
        for classifier in classifiers:
            convolution_map(classifier.model, classifier.recipe.model)
    if flags.filters:
        save_filters(classifiers[-1], flags.filters)
        say(f"filters      {flags.filters}")
    if not (flags.image or flags.image_dir):
        return 0, 1
    paths, others = [flags.image] if flags.image else [], 0
    if flags.image_dir:
        paths, others = find_pictures(flags.image_dir, flags.recursive)
    rows = [row for one in classifiers for row in predict_files(one, paths, flags)]
    failed = sum(row["status"] != OK for row in rows[: len(paths)])
    show(rows, classifiers, flags)
    if others:
        say(f"files not named as images: {others}")
    if flags.output:
        write_whole(flags.output, encode(rows, flags.output.suffix.lower()))
        say(f"answers      {flags.output}")
    if flags.explain and not failed:
        _explain(classifiers[-1], paths[0], flags.explain)
    return failed, len(paths)


def _check(flags: PredictFlags) -> None:
    if flags.image and flags.image_dir:
        raise InputError("give --image or --image-dir, not both")
    if not (flags.image or flags.image_dir or flags.filters):
        raise InputError("give --image FILE, --image-dir FOLDER or --filters PNG")
    if flags.explain and not flags.image:
        raise InputError("--explain explains one picture: give --image")
    if flags.output and flags.output.suffix.lower() not in FORMATS:
        raise InputError(f"--output {flags.output}: the suffix must be one of {', '.join(FORMATS)}")


def choose(flags: ModelFlags, all_sizes: bool = False) -> list[Classifier]:
    """Read the classifiers that the flags mean, smallest training set first.

    Raises
    ------
    InputError
        If there is no such run, or its weights do not fit.
    """
    device = pick_device(flags.device)
    prepare_process(device)
    chosen = (flags.experiment_id, flags.variant, flags.subset_size, flags.seed, all_sizes or None)
    if flags.weights and any(value is not None for value in chosen):
        raise InputError("--weights is a model by itself: give no study, size or seed with it")
    if flags.weights:
        return [from_file(flags.weights, device)]
    study_dir = flags.checkpoint_dir / (flags.experiment_id or newest_study(flags.checkpoint_dir))
    classes = read_study(study_dir)["data"]["classes"]
    runs = [run for run in planned_runs(study_dir) if RunDirectory(study_dir / run.path).usable]
    wanted_variant = flags.variant or (runs[0].variant if runs else "")
    runs = [r for r in runs if r.variant == wanted_variant]
    runs = [r for r in runs if flags.subset_size in (None, r.subset_size)]
    runs = [r for r in runs if flags.seed in (None, r.seed)]
    if not runs:
        raise InputError(f"no finished run of this variant, size and seed in {study_dir}")
    try:
        sized = [(len(RunDirectory(study_dir / run.path).subset()), -run.seed, run) for run in runs]
        sized.sort(key=lambda one: one[:2])
        first_seeds = list({size: run for size, _, run in sized}.values())  # smallest of each size
        wanted = first_seeds if all_sizes else first_seeds[-1:]
        return [from_run(RunDirectory(study_dir / r.path), classes, device) for r in wanted]
    except DamagedError as error:
        raise InputError(str(error)) from None


def predict_files(classifier: Classifier, paths: Sequence[Path], flags: PredictFlags) -> Rows:
    """Answer files in batches: one row per file, also for one that cannot be read."""
    limits = None
    if flags.conformal:
        folder, method = classifier.path.parent, flags.conformal_method
        limits = read_thresholds(folder, classifier.belongs, flags.alpha, method)
    rows: Rows = []
    for batch in read_batches(paths, cache_side(classifier.recipe.image_size), flags.batch_size):
        whole = [picture for picture in batch if picture.pixels is not None]
        shares = iter(_probabilities(classifier, whole))
        for picture in batch:
            file = os.fsencode(picture.path).decode(errors="backslashreplace")
            row: dict[str, Any] = {"file": file, "run": classifier.name, "status": OK}
            row["num_train_images"] = classifier.num_images
            if picture.pixels is None:
                rows.append({**row, "status": f"failed: {picture.reason}"})
            else:
                rows.append(row | _row(next(shares), picture, classifier, limits, flags))
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
    flags: PredictFlags,
) -> dict[str, Any]:
    """Spell the probabilities (classes,) of one picture as plain values."""
    classes, row = classifier.classes, dict[str, Any]()
    order = np.argsort(-shares, kind="stable")
    for rank, k in enumerate(order[: flags.top_k].tolist(), 1):
        row |= {f"top_{rank}": classes[k], f"top_{rank}_probability": float(shares[k])}
    if limits is not None:
        scores = METHODS[flags.conformal_method](shares[None], np.array([picture.draw]))
        held = prediction_sets(scores, limits)[0]
        row["set"] = [classes[k] for k in order.tolist() if held[k]]
        row["set_size"] = len(row["set"])
    if flags.show_all_probs:
        row |= {f"p({name})": float(p) for name, p in zip(classes, shares, strict=True)}
    return row


def _explain(classifier: Classifier, path: Path, out: Path) -> None:
    picture = read_picture(path, cache_side(classifier.recipe.image_size))
    assert picture.pixels is not None, "it was answered"
    shares = probabilities(classifier.logits(picture.pixels[None]))[0]
    save_explanation(classifier, picture.pixels, shares, out)
    say(f"explanation  {out}")
