"""Everything that the stored logits say beyond one number: ``eval.py --full``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.prepare import PreparedData
from ..storage.files import write_whole
from ..storage.run_directory import RunDirectory
from .calibration import negative_log_likelihood, reliability
from .metrics import label_ranks, top_k_error
from .per_class import (
    Array,
    Labels,
    class_drops,
    class_errors,
    classification,
    paired_drop,
    verdict,
    verdicts_in_words,
    wrong_by_size,
)

DROP = ("drop", "drop_low", "drop_high", "verdict")  # columns of per_class.csv
MOST_K = 10  # the largest k of the top-k errors


def read_predictions(
    folder: Path, run: Mapping[str, Any], split: str
) -> tuple[np.ndarray[Any, np.dtype[np.float32]], Labels]:
    """Read the stored logits (n, classes) and labels (n,) of one element of ``runs``."""
    place = Path(run.get("variant", "")) / repr(run["subset_size"]) / f"seed-{run['seed']}.npz"
    with np.load(folder / "predictions" / place) as file:
        return file[f"{split}_logits"], file[f"{split}_labels"]


def full_scores(logits: np.ndarray[Any, np.dtype[np.float32]], labels: Labels) -> dict[str, Any]:
    """Score one run on one split in every way: the key ``full`` of metrics.json.

    Parameters
    ----------
    logits : float32 ndarray of shape (n, classes)
    labels : int64 ndarray of shape (n,)
    """
    num_classes, found = logits.shape[1], reliability(logits, labels)
    ranks = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
    ks = range(1, min(MOST_K, num_classes - 1) + 1)
    return {
        "top_k_errors": {str(k): top_k_error(ranks, k, num_classes) for k in ks},
        "negative_log_likelihood": negative_log_likelihood(logits, labels),
        "expected_calibration_error": found.expected_error,
        "reliability": {
            "confidence": found.confidence.tolist(),
            "accuracy": found.accuracy.tolist(),
            "num_images": found.count.tolist(),
        },
        **classification(logits.argmax(axis=1), labels, num_classes),
    }


def add_full(
    results: dict[str, Any],
    directories: Sequence[RunDirectory],
    data: PreparedData,
    folder: Path,
) -> tuple[str, pd.DataFrame | None]:
    """Add the full evaluation to ``results``, write per_class.csv; say what it found.

    Parameters
    ----------
    results : dict
        The content of metrics.json; gains ``full`` under each run and ``size_steps``.
    directories : sequence of RunDirectory
        Of these runs.
    folder : Path
        Holds ``predictions``; receives the table.

    Returns
    -------
    text : str
    table : DataFrame or None
        The content of per_class.csv; None if no run is better than chance.
    """
    variant = results["runs"][0].get("variant", "")
    train, classes = data.dataset.splits["train"].labels, data.dataset.classes
    counts: dict[int, list[Array]] = {}
    for directory in directories:
        subset = directory.subset()
        found = np.bincount(train[subset], minlength=len(classes)).astype(float)
        counts.setdefault(len(subset), []).append(found)
    wrong: dict[int, list[Array]] = {}
    for run in results["runs"]:
        logits, labels = read_predictions(folder, run, "test")
        run["full"] = full_scores(logits, labels)
        if run["status"] == "complete":
            ranks = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels))
            wrong.setdefault(run["num_images"], []).append((ranks > 0).numpy().astype(float))
    if not wrong:
        return "no run is better than chance: per_class.csv is not written", None
    errors = wrong_by_size(wrong)
    results["size_steps"] = _steps(errors)
    table = per_class_table(results, errors, labels, wrong_by_size(counts), classes)
    write_whole(folder / variant / "per_class.csv", table.to_csv(index=False).encode())
    return _describe(results, table), table


def _steps(errors: Mapping[int, Array]) -> list[dict[str, Any]]:
    """Compare each size with the next on the same test images."""
    rows = []
    for small, large in pairwise(errors):
        drop, low, high = paired_drop(errors[small] - errors[large])
        sizes = {"from_num_images": small, "to_num_images": large}
        rows.append({**sizes, "top_1_error_drop": drop, "top_1_error_drop_interval": [low, high]})
    return rows


def per_class_table(
    results: Mapping[str, Any],
    errors: Mapping[int, Array],
    labels: Labels,
    train_counts: Mapping[int, Array],
    classes: Sequence[str],
) -> pd.DataFrame:
    """Return one row per size and class, means over seeds, with the drop from the size before.

    What test images alone could tell of a class is NaN where it has none.

    Parameters
    ----------
    errors : mapping of int to ndarray of shape (n,)
        Training images -> share of seeds that were wrong, per test image.
    labels : ndarray of shape (n,)
    train_counts : mapping of int to ndarray of shape (classes,)
        Training images -> of each class, mean over seeds.
    """
    parts, before = [], None
    for size, wrong in errors.items():
        same = [r for r in results["runs"] if r["num_images"] == size and r["status"] == "complete"]
        per_class = pd.DataFrame({"num_images": size, "num_runs": len(same), "class": classes})
        per_class["num_train_images"] = train_counts[size]
        per_class["num_test_images"] = np.bincount(labels, minlength=len(classes))
        for name in ("precision", "recall", "f1"):
            values = [run["full"]["per_class"][name] for run in same]
            per_class[name] = np.mean(values, axis=0)
        per_class["top_1_error"] = class_errors(wrong, labels, len(classes))
        if before is not None:
            drop, low, high = class_drops(before - wrong, labels, len(classes))
            per_class = per_class.assign(drop=drop, drop_low=low, drop_high=high)
            per_class["verdict"] = [verdict(*pair) for pair in zip(low, high, strict=True)]
        untested = per_class["num_test_images"] == 0
        unknown = per_class.columns.intersection(["recall", "f1", *DROP])
        per_class.loc[untested, unknown] = np.nan
        parts.append(per_class)
        before = wrong
    return pd.concat(parts, ignore_index=True)


def _describe(results: Mapping[str, Any], table: pd.DataFrame) -> str:
    last = table[table["num_images"] == table["num_images"].max()]
    size = last["num_images"].iloc[0]
    runs = [
        r["full"] for r in results["runs"] if (r["num_images"], r["status"]) == (size, "complete")
    ]
    f1, gap = (
        float(np.mean(values))
        for values in (
            [full["macro"]["f1"] for full in runs],
            [full["expected_calibration_error"] for full in runs],
        )
    )
    lines = [f"At the largest size: macro F1 {f1:.3f}, expected calibration error {gap:.3f}."]
    for step in results["size_steps"]:
        drop, (low, high) = step["top_1_error_drop"], step["top_1_error_drop_interval"]
        lines.append(
            f"From {step['from_num_images']:,} to {step['to_num_images']:,} images the top-1 error "
            f"falls by {100 * drop:.1f} points ({100 * low:.1f} to {100 * high:.1f}, paired)."
        )
    if "verdict" in last:
        lines.append(verdicts_in_words(last["verdict"].dropna().tolist()))
    return "\n".join(lines)
