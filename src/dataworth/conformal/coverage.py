"""Coverage and size of prediction sets on test: ``eval.py --conformal``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from ..data.prepare import PreparedData
from ..evaluation.added_records import ConformalReports, CoverageReport, GroupCoverage
from ..evaluation.calibration import probabilities
from ..evaluation.intervals import Z, effective_images, wilson_interval
from ..evaluation.records import RunScores, StudyResults
from ..storage.predictions import Logits, read_predictions
from ..storage.run_directory import RunDirectory
from .scores import METHODS, Array, Labels, prediction_sets, rank_needed
from .thresholds import (
    Thresholds,
    calibrate,
    calibration_identity,
    from_json,
    uniform_draws,
    warn_small_calibration_set,
)

BROKEN, SMALL = "broken assumption", "small calibration set"
CHANCE_OF_MISS = 0.05  # of an interval whose assumptions hold
SIGNIFICANCE = 0.01  # p-value below which more misses than chance explains are reported
NOT_IN_TABLE = {"coverage_interval", "expected_coverage", "by_true_class", "by_predicted_class"}


@dataclass(frozen=True)
class ConformalEvaluation:
    """Coverage reports of the runs of one variant."""

    reports: Mapping[Path, ConformalReports]  # by path of the run
    table: pd.DataFrame  # content of conformal.csv

    @property
    def complete(self) -> pd.DataFrame:
        """Rows of complete runs."""
        return self.table[self.table["status"] == "complete"]


def evaluate_conformal(
    results: StudyResults,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    alphas: Sequence[float],
    results_dir: Path,
) -> ConformalEvaluation:
    """Calibrate every run of one variant on validation, and measure its sets on test.

    Validation images that are also in test are left out of the calibration.

    Reports for other alphas, of an earlier command and the same scores, are kept.

    Parameters
    ----------
    results : StudyResults
        Of one variant.
    directories : sequence of RunDirectory
        Of the same runs; each receives conformal.json.
    data : PreparedData
    alphas : sequence of float
        Shares of images whose set may miss the label.
    results_dir : Path
        Holds the stored logits.
    """
    groups = data.dataset.splits["test"].groups
    run_dirs = {directory.run().path: directory.path for directory in directories}
    reports: dict[Path, ConformalReports] = {}
    rows: list[dict[str, object]] = []
    for run in results.runs:
        run_dir = run_dirs[run.path]
        logits, labels = read_predictions(results_dir, run.path, "validation")
        logits, labels = logits[data.distinct_validation], labels[data.distinct_validation]
        identity = calibration_identity(run_dir, data)
        thresholds = calibrate(run_dir, identity, probabilities(logits), labels, alphas)
        test = read_predictions(results_dir, run.path, "test")
        measured = {
            repr(alpha): _test_sets(thresholds[repr(alpha)], labels, *test, alpha, groups)
            for alpha in alphas
        }
        by_alpha = {**(run.conformal or {}), **measured}
        reports[run.path] = {key: by_alpha[key] for key in sorted(by_alpha, key=float)}
        for key, report in reports[run.path].items():
            rows += _rows(run, float(key), report)
    for alpha in alphas:
        warn_small_calibration_set(labels, logits.shape[1], alpha)
    return ConformalEvaluation(reports, pd.DataFrame(rows))


def _test_sets(
    thresholds: Thresholds,
    calibration_labels: Labels,
    logits: Logits,
    labels: Labels,
    alpha: float,
    groups: Labels | None,
) -> dict[str, dict[str, CoverageReport]]:
    """Report every method and mode of one run at one alpha: method -> mode -> report."""
    shares, draws = probabilities(logits), uniform_draws(1, len(labels))
    reports: dict[str, dict[str, CoverageReport]] = {}
    for method, modes in thresholds.items():
        scores = METHODS[method](shares, draws)
        reports[method] = {}
        for mode, values in modes.items():
            sets = prediction_sets(scores, from_json(values))
            per_class = 0 if mode == "marginal" else 1  # one group, or one per class
            effect = _design_effect(sets, labels, groups)
            expected = expected_coverage(
                per_class * calibration_labels, per_class * labels, alpha, effect
            )
            predicted = shares.argmax(axis=1)
            reports[method][mode] = coverage_report(
                sets, labels, predicted, alpha, expected, groups
            )
    return reports


def _design_effect(sets: NDArray[np.bool_], labels: Labels, groups: Labels | None) -> float:
    """Return test images per independent test image, as far as coverage goes; 1 without groups."""
    if groups is None:
        return 1.0
    covered = sets[np.arange(len(labels)), labels].astype(float)
    return len(labels) / effective_images(covered, groups)


def expected_coverage(
    calibration_groups: Labels, test_groups: Labels, alpha: float, design_effect: float = 1.0
) -> tuple[float, float]:
    """Range that contains the test coverage in 95 % of all studies whose assumptions hold.

    Given n calibration images, the coverage of a group is distributed as Beta(k, n + 1 - k), k
    being the rank of its threshold (Vovk 2012), and is then measured on finitely many test images.

    Parameters
    ----------
    calibration_groups, test_groups : int64 ndarrays of shapes (n,) and (m,)
        Threshold that each image falls under; one group in the marginal mode.
    alpha : float
    design_effect : float
        Variance over that of independent images, on test; taken for the calibration images as well.
    """
    mean = variance = 0.0
    for group, m in zip(*np.unique(test_groups, return_counts=True), strict=True):
        n = int((calibration_groups == group).sum())
        k, weight = rank_needed(n, alpha), m / len(test_groups)
        if k > n:  # full sets
            mean += weight
            continue
        a, b = k, n + 1 - k
        spread = a * b / ((a + b) * (a + b + 1))
        mean += weight * a / (a + b)
        variance += weight**2 * (spread / (a + b) + spread / m)
    half = float(Z * np.sqrt(design_effect * variance))
    return float(max(0.0, mean - half)), float(min(1.0, mean + half))


def coverage_report(
    sets: NDArray[np.bool_],
    labels: Labels,
    predicted: Labels,
    alpha: float,
    expected: tuple[float, float],
    groups: Labels | None = None,
) -> CoverageReport:
    """Measure how often prediction sets contain the label, and how large they are.

    A coverage whose Wilson interval misses the target means a broken assumption, also when it is
    too high, unless the size of the calibration set explains it.

    Parameters
    ----------
    sets : bool ndarray of shape (n, classes)
    labels, predicted : int64 ndarrays of shape (n,)
    alpha : float
    expected : pair of float
        From :func:`expected_coverage`.
    groups : int64 ndarray of shape (n,) or None
        Of images that are not independent: the interval is that of their effective number.
    """
    covered = sets[np.arange(len(labels)), labels].astype(float)
    size = sets.sum(axis=1).astype(float)
    coverage, num_classes = float(covered.mean()), sets.shape[1]
    low, high = wilson_interval(coverage, len(labels) / _design_effect(sets, labels, groups))
    contains = low <= 1 - alpha <= high
    explained = expected[0] - 1e-9 <= coverage <= expected[1] + 1e-9  # sums are rounded
    return CoverageReport(
        target=1 - alpha,
        coverage=coverage,
        coverage_interval=(low, high),
        interval_contains_target=contains,
        expected_coverage=expected,
        verdict="holds" if contains else SMALL if explained else BROKEN,
        mean_set_size=float(size.mean()),
        singleton_share=float((size == 1).mean()),
        empty_share=float((size == 0).mean()),
        by_true_class=_by_class(covered, size, labels, num_classes),
        by_predicted_class=_by_class(covered, size, predicted, num_classes),
    )


def _by_class(covered: Array, size: Array, groups: Labels, num_classes: int) -> GroupCoverage:
    """Coverage, mean set size and share of singletons; None for a class without images."""
    masks = [groups == k for k in range(num_classes)]

    def means(values: Array) -> tuple[float | None, ...]:
        return tuple(float(values[mask].mean()) if mask.any() else None for mask in masks)

    return GroupCoverage(
        num_images=tuple(int(mask.sum()) for mask in masks),
        coverage=means(covered),
        mean_set_size=means(size),
        singleton_share=means((size == 1).astype(float)),
    )


def _rows(
    run: RunScores, alpha: float, reports: Mapping[str, Mapping[str, CoverageReport]]
) -> list[dict[str, object]]:
    """Return the reports of one run at one alpha as rows of conformal.csv."""
    return [
        {
            "subset_size": run.subset_size,
            "num_images": run.num_images,
            "seed": run.seed,
            "status": run.status,
            "alpha": alpha,
            "method": method,
            "mode": mode,
            **report.model_dump(exclude=NOT_IN_TABLE),
            "coverage_low": report.coverage_interval[0],
            "coverage_high": report.coverage_interval[1],
        }
        for method, modes in reports.items()
        for mode, report in modes.items()
    ]


def describe(table: pd.DataFrame) -> str:
    """Describe conformal.csv: means over seeds at the largest size, and missed targets."""
    if not len(table):
        return "no run is better than chance: its prediction sets are not drawn"
    lines = []
    largest = table[table["num_images"] == table["num_images"].max()]
    for (alpha, method, mode), rows in largest.groupby(["alpha", "method", "mode"], sort=False):
        mean = rows[["coverage", "mean_set_size", "singleton_share"]].mean()
        lines.append(
            f"alpha {alpha:<5} {method:4} {mode:17}  coverage {100 * mean['coverage']:5.1f} %   "
            f"mean set size {mean['mean_set_size']:6.2f}   "
            f"one class {100 * mean['singleton_share']:5.1f} %"
        )
    if misses := int((table["verdict"] == BROKEN).sum()):
        lines.append(describe_misses(misses, len(table)))
    if explained := int((table["verdict"] == SMALL).sum()):
        lines.append(
            f"{_miss(explained, len(table))} by no more than the size of the calibration "
            "set explains (conformal.csv names them)"
        )
    return "Prediction sets at the largest size, means over seeds:\n" + "\n".join(lines)


def describe_misses(misses: int, total: int) -> str:
    """Compare the number of intervals that miss their target with what chance explains.

    The binomial test takes them as independent, which those of a study are not: LOG.md has how
    often it then speaks without a cause.

    Parameters
    ----------
    misses : int
        Intervals with the verdict ``BROKEN``.
    total : int
        Intervals; each misses with probability 5 % where the assumptions hold.
    """
    text = (
        f"{_miss(misses, total)} (conformal.csv names them); "
        f"{CHANCE_OF_MISS * total:.2g} are expected by chance"
    )
    p = float(binom.sf(misses - 1, total, CHANCE_OF_MISS))
    if p >= SIGNIFICANCE:
        return text
    return (
        f"{text}. Perhaps a {BROKEN}: independent intervals would hardly miss so often (binomial "
        f"test, p = {p:.1g}), but these share their images and miss together; validation and test "
        "may not be exchangeable"
    )


def _miss(count: int, total: int) -> str:
    return f"{count} of {total} intervals {'misses its' if count == 1 else 'miss their'} target"
