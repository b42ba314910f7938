"""Correlation of right and wrong answers to the test images, within and between variants."""

from __future__ import annotations

from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..storage.predictions import read_predictions
from .metrics import label_ranks
from .records import AnswerCorrelation, StudyResults

Shares = NDArray[np.float64]


def answer_correlations(results: StudyResults, results_dir: Path) -> tuple[AnswerCorrelation, ...]:
    """Measure how alike the answers of the variants of a study are, from its stored logits.

    Parameters
    ----------
    results : StudyResults
    results_dir : Path
        Holds the stored logits.

    Returns
    -------
    tuple of AnswerCorrelation
        One for each pair of variants, and for each variant with itself; none for a single variant.
    """
    variants = {run.variant for run in results.complete_runs}
    if len(variants) < 2:
        return ()
    wrong = _wrong_shares(results, results_dir)
    top_5 = all(run.splits["test"].top_5_error is not None for run in results.complete_runs)
    pairs = combinations_with_replacement(wrong[1], 2)
    return tuple(
        AnswerCorrelation(
            variants=pair,
            top_1_correlation=mean_correlation(*(wrong[1][name] for name in pair)),
            top_5_correlation=(
                mean_correlation(*(wrong[5][name] for name in pair)) if top_5 else None
            ),
        )
        for pair in pairs
    )


def _wrong_shares(results: StudyResults, results_dir: Path) -> dict[int, dict[str, Shares]]:
    """Return k -> variant -> share of seeds that miss each test image, (sizes, images)."""
    ranks: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
    for run in results.complete_runs:
        logits, labels = read_predictions(results_dir, run.path, "test")
        of_run = label_ranks(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
        ranks.setdefault((run.variant, run.num_images), []).append(of_run)
    names = dict.fromkeys(variant for variant, _ in ranks)
    return {
        k: {
            name: np.array(
                [
                    np.mean([r >= k for r in rows], axis=0)
                    for (v, _), rows in ranks.items()
                    if v == name
                ]
            )
            for name in names
        }
        for k in (1, 5)
    }


def mean_correlation(first: Shares, second: Shares) -> float:
    """Mean over pairs of sizes of the covariance of answers over the binomial deviations.

    A variant and itself are compared at two different sizes. Pairs with an error of 0 or 1 have no
    correlation and are left out; without any other the result is 0.

    Parameters
    ----------
    first, second : ndarray of shape (sizes, images)
        Share of seeds that miss each test image.
    """
    means = [wrong.mean(axis=1) for wrong in (first, second)]
    covariances = first @ second.T / first.shape[1] - np.outer(*means)
    deviations = np.outer(*(np.sqrt(mean * (1 - mean)) for mean in means))
    counted = deviations > 0
    if first is second:
        counted &= ~np.eye(len(first), dtype=bool)
    if not counted.any():
        return 0.0
    return float((covariances[counted] / deviations[counted]).mean())
