"""Full evaluation of a study from its stored logits: ``eval.py --full``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..data.prepare import PreparedData
from ..storage.predictions import Labels, Logits, read_predictions
from ..storage.run_directory import RunDirectory
from .added_records import ClassScores, FullScores, ReliabilityBins
from .calibration import negative_log_likelihood, reliability
from .metrics import label_ranks, top_k_error
from .per_class import (
    Array,
    class_drops,
    class_errors,
    classification,
    paired_drop,
    seed_means,
    verdict,
    verdicts_in_words,
)
from .records import SizeStep, StudyResults

DROP = ("drop", "drop_low", "drop_high", "verdict")  # columns of per_class.csv
MAX_K = 10  # the largest k of the top-k errors


@dataclass(frozen=True)
class FullEvaluation:
    """Full scores of the runs of one variant, and the comparison of its sizes."""

    scores: Mapping[Path, FullScores]  # by path of the run
    confusion_matrices: Mapping[Path, Labels]  # (classes, classes); rows are true classes
    size_steps: tuple[SizeStep, ...]
    per_class: pd.DataFrame | None  # content of per_class.csv; None without a complete run
    text: str  # findings in words


def full_scores(logits: Logits, labels: Labels) -> tuple[FullScores, Labels]:
    """Score one run on one split in every way.

    Parameters
    ----------
    logits : float32 ndarray of shape (n, classes)
    labels : int64 ndarray of shape (n,)

    Returns
    -------
    scores : FullScores
    confusion_matrix : int64 ndarray of shape (classes, classes)
        Numbers of images; rows are true classes.
    """
    num_classes, bins = logits.shape[1], reliability(logits, labels)
    ranks = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    errors = {
        str(k): error
        for k in range(1, MAX_K + 1)
        if (error := top_k_error(ranks, k, num_classes)) is not None
    }
    classes = classification(logits.argmax(axis=1), labels, num_classes)
    scores = FullScores(
        top_k_errors=errors,
        negative_log_likelihood=negative_log_likelihood(logits, labels),
        expected_calibration_error=bins.expected_error,
        reliability=ReliabilityBins(
            confidence=tuple(bins.confidence.tolist()),
            accuracy=tuple(bins.accuracy.tolist()),
            num_images=tuple(bins.count.tolist()),
        ),
        per_class=classes.per_class,
        macro=classes.macro,
        weighted=classes.weighted,
    )
    return scores, classes.confusion_matrix


def evaluate_fully(
    results: StudyResults,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    results_dir: Path,
) -> FullEvaluation:
    """Evaluate every run of one variant fully, and compare its sizes.

    Parameters
    ----------
    results : StudyResults
        Of one variant.
    directories : sequence of RunDirectory
        Of the same runs.
    data : PreparedData
    results_dir : Path
        Holds the stored logits.
    """
    scores: dict[Path, FullScores] = {}
    matrices: dict[Path, Labels] = {}
    class_scores: dict[int, list[ClassScores]] = {}
    wrong: dict[int, list[Array]] = {}
    for run in results.runs:
        logits, labels = read_predictions(results_dir, run.path, "test")
        scores[run.path], matrices[run.path] = full_scores(logits, labels)
        if run.complete:
            ranks = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
            wrong.setdefault(run.num_images, []).append((ranks > 0).numpy().astype(float))
            class_scores.setdefault(run.num_images, []).append(scores[run.path].per_class)
    if not wrong:
        text = "no run is better than chance: per_class.csv is not written"
        return FullEvaluation(scores, matrices, (), None, text)
    errors, counts = seed_means(wrong), _class_counts(results, directories, data)
    groups = data.dataset.splits["test"].groups
    table = per_class_table(class_scores, errors, labels, counts, data.dataset.class_names, groups)
    steps = _size_steps(errors, groups)
    largest = [scores[run.path] for run in results.complete_runs if run.num_images == max(errors)]
    return FullEvaluation(scores, matrices, steps, table, _describe(largest, steps, table))


def _class_counts(
    results: StudyResults, directories: Sequence[RunDirectory], data: PreparedData
) -> dict[int, Array]:
    """Training images of each class, mean over seeds; keys are training images, ascending."""
    labels, num_classes = data.dataset.splits["train"].labels, len(data.dataset.classes)
    num_images = {run.path: run.num_images for run in results.runs}
    counts: dict[int, list[Array]] = {}
    for directory in directories:
        subset = directory.subset()
        count = np.bincount(labels[subset], minlength=num_classes).astype(float)
        counts.setdefault(num_images[directory.run().path], []).append(count)
    return seed_means(counts)


def _size_steps(errors: Mapping[int, Array], groups: Labels | None) -> tuple[SizeStep, ...]:
    """Compare each size with the next larger one on the same test images."""
    steps = []
    for small, large in pairwise(errors):
        drop, low, high = paired_drop(errors[small] - errors[large], groups)
        steps.append(
            SizeStep(
                from_num_images=small,
                to_num_images=large,
                top_1_error_drop=drop,
                top_1_error_drop_interval=(low, high),
            )
        )
    return tuple(steps)


def per_class_table(
    class_scores: Mapping[int, Sequence[ClassScores]],
    errors: Mapping[int, Array],
    labels: Labels,
    train_counts: Mapping[int, Array],
    classes: Sequence[str],
    groups: Labels | None = None,
) -> pd.DataFrame:
    """Return one row per size and class, means over seeds, with the drop from the size before.

    Scores that need test images are NaN for a class that has none.

    Parameters
    ----------
    class_scores : mapping of int to sequence of ClassScores
        Training images -> scores of each complete run.
    errors : mapping of int to ndarray of shape (n,)
        Training images -> share of seeds that were wrong, per test image.
    labels : ndarray of shape (n,)
        Of the test images.
    train_counts : mapping of int to ndarray of shape (classes,)
        Training images -> of each class, mean over seeds.
    classes : sequence of str
    groups : ndarray of shape (n,) or None
        Of the test images.
    """
    parts, before = [], None
    for size, wrong in errors.items():
        runs = class_scores[size]
        per_class = pd.DataFrame({"num_images": size, "num_runs": len(runs), "class": classes})
        per_class["num_train_images"] = train_counts[size]
        per_class["num_test_images"] = np.bincount(labels, minlength=len(classes))
        per_class["precision"] = np.mean([run.precision for run in runs], axis=0)
        per_class["recall"] = np.mean([run.recall for run in runs], axis=0)
        per_class["f1"] = np.mean([run.f1 for run in runs], axis=0)
        per_class["top_1_error"] = class_errors(wrong, labels, len(classes))
        if before is not None:
            drop, low, high = class_drops(before - wrong, labels, len(classes), groups)
            per_class = per_class.assign(drop=drop, drop_low=low, drop_high=high)
            per_class["verdict"] = [verdict(*ends) for ends in zip(low, high, strict=True)]
        untested = per_class["num_test_images"] == 0
        unknown = per_class.columns.intersection(["recall", "f1", *DROP])
        per_class.loc[untested, unknown] = np.nan
        parts.append(per_class)
        before = wrong
    return pd.concat(parts, ignore_index=True)


def _describe(largest: Sequence[FullScores], steps: Sequence[SizeStep], table: pd.DataFrame) -> str:
    """Describe the full scores of the largest size, the steps between sizes, and the verdicts."""
    f1 = float(np.mean([scores.macro.f1 for scores in largest]))
    gap = float(np.mean([scores.expected_calibration_error for scores in largest]))
    lines = [f"At the largest size: macro F1 {f1:.3f}, expected calibration error {gap:.3f}."]
    for step in steps:
        low, high = step.top_1_error_drop_interval
        lines.append(
            f"From {step.from_num_images:,} to {step.to_num_images:,} images the top-1 error "
            f"falls by {100 * step.top_1_error_drop:.1f} points ({100 * low:.1f} to "
            f"{100 * high:.1f}, paired)."
        )
    last = table[table["num_images"] == table["num_images"].max()]
    if "verdict" in last:
        lines.append(verdicts_in_words(last["verdict"].dropna().tolist()))
    return "\n".join(lines)
