"""Whether prediction sets keep their promise on test: ``eval.py --conformal``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.prepare import PreparedData
from ..evaluation.calibration import probabilities
from ..evaluation.full import read_predictions
from ..evaluation.intervals import Z, wilson_interval
from ..storage.files import write_whole
from ..storage.run_directory import RunDirectory
from .scores import METHODS, Array, Labels, prediction_sets, rank_needed
from .thresholds import binding, calibrate, draws, from_plain, warn_of_few

BROKEN, SMALL = "broken assumption", "small calibration set"


def add_conformal(
    results: dict[str, Any],
    directories: Sequence[RunDirectory],
    data: PreparedData,
    alphas: tuple[float, ...],
    folder: Path,
) -> tuple[str, pd.DataFrame]:
    """Calibrate every run, test its sets, add them to ``results``; say whether they hold.

    Parameters
    ----------
    results : dict
        The content of metrics.json; gains ``conformal`` under each run.
    directories : sequence of RunDirectory
        Of these runs; each receives conformal.json.
    folder : Path
        Holds ``predictions``; receives conformal.csv.

    Returns
    -------
    text : str
    table : DataFrame
        The rows of complete runs.
    """
    by_key = {(d.run().subset_size, d.run().seed): d.path for d in directories}
    rows = []
    for run in results["runs"]:
        path = by_key[run["subset_size"], run["seed"]]
        logits, labels = read_predictions(folder, run, "validation")
        bound = binding(path, data)
        found = calibrate(path, bound, probabilities(logits), labels, alphas)["alphas"]
        tested = read_predictions(folder, run, "test")
        run["conformal"] = {}
        for alpha in alphas:
            run["conformal"][repr(alpha)] = _test(found[repr(alpha)], labels, *tested, alpha)
            rows += _rows(run, alpha)
    for alpha in alphas:
        warn_of_few(labels, logits.shape[1], alpha)
    table = pd.DataFrame(rows)
    variant = results["runs"][0].get("variant", "")
    write_whole(folder / variant / "conformal.csv", table.to_csv(index=False).encode())
    complete = table[table["status"] == "complete"]
    if not len(complete):
        return "no run is better than chance: its prediction sets are not drawn", complete
    return describe(complete), complete


def _test(
    thresholds: Mapping[str, Mapping[str, list[float | None]]],
    calibration_labels: Labels,
    logits: NDArray[np.float32],
    labels: Labels,
    alpha: float,
) -> dict[str, dict[str, Any]]:
    """Test every method and mode of one run at one alpha: method -> mode -> report."""
    shares, u = probabilities(logits), draws(1, len(labels))
    reports: dict[str, dict[str, Any]] = {}
    for method, modes in thresholds.items():
        scores = METHODS[method](shares, u)
        reports[method] = {}
        for mode, values in modes.items():
            sets = prediction_sets(scores, from_plain(values))
            together = 0 if mode == "marginal" else 1  # one group, or one per class
            expected = expected_coverage(together * calibration_labels, together * labels, alpha)
            reports[method][mode] = coverage_report(
                sets, labels, shares.argmax(axis=1), alpha, expected
            )
    return reports


def expected_coverage(
    calibration_groups: Labels, test_groups: Labels, alpha: float
) -> tuple[float, float]:
    """Range that holds the test coverage in 95 % of all studies whose assumptions hold.

    Given n calibration images, the coverage of a group is drawn from Beta(k, n + 1 - k), k being
    the rank of its threshold (Vovk 2012), and then counted on finitely many test images.

    Parameters
    ----------
    calibration_groups, test_groups : int64 ndarrays of shapes (n,) and (m,)
        Which threshold each image falls under; one group in the marginal mode.
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
    half = float(Z * np.sqrt(variance))
    return max(0.0, mean - half), min(1.0, mean + half)


def coverage_report(
    sets: NDArray[np.bool_],
    labels: Labels,
    predicted: Labels,
    alpha: float,
    expected: tuple[float, float],
) -> dict[str, Any]:
    """Report how often sets (n, classes) hold the label, and how large they are.

    A coverage whose Wilson interval misses the target is a broken assumption, also when it is too
    high, unless so small a calibration set explains it (``expected``).
    """
    held, size = sets[np.arange(len(labels)), labels].astype(float), sets.sum(axis=1).astype(float)
    low, high = wilson_interval(coverage := float(held.mean()), len(labels))
    contains = low <= 1 - alpha <= high
    explained = expected[0] - 1e-9 <= coverage <= expected[1] + 1e-9  # sums are rounded
    return {
        "target": 1 - alpha,
        "coverage": coverage,
        "coverage_interval": [low, high],
        "interval_contains_target": contains,
        "expected_coverage": list(expected),
        "verdict": "holds" if contains else SMALL if explained else BROKEN,
        "mean_set_size": float(size.mean()),
        "singleton_share": float((size == 1).mean()),
        "empty_share": float((size == 0).mean()),
        "by_true_class": _by_class(held, size, labels, sets.shape[1]),
        "by_predicted_class": _by_class(held, size, predicted, sets.shape[1]),
    }


def _by_class(held: Array, size: Array, groups: Labels, num_classes: int) -> dict[str, list[Any]]:
    """Coverage, mean set size and share of single classes; None for a class without images."""
    own = [groups == k for k in range(num_classes)]

    def means(values: Array) -> list[float | None]:
        return [float(values[mask].mean()) if mask.any() else None for mask in own]

    return {
        "num_images": [int(mask.sum()) for mask in own],
        "coverage": means(held),
        "mean_set_size": means(size),
        "singleton_share": means((size == 1).astype(float)),
    }


def _rows(run: Mapping[str, Any], alpha: float) -> list[dict[str, Any]]:
    """Return the reports of one run at one alpha as rows of conformal.csv."""
    return [
        {
            **{key: run[key] for key in ("subset_size", "num_images", "seed", "status")},
            **{"alpha": alpha, "method": method, "mode": mode},
            **{k: v for k, v in report.items() if not isinstance(v, list | dict)},
            "coverage_low": report["coverage_interval"][0],
            "coverage_high": report["coverage_interval"][1],
        }
        for method, modes in run["conformal"][repr(alpha)].items()
        for mode, report in modes.items()
    ]


def describe(table: pd.DataFrame) -> str:
    """Spell conformal.csv: means over seeds of the largest size, and what is broken."""
    lines = []
    largest = table[table["num_images"] == table["num_images"].max()]
    for (alpha, method, mode), rows in largest.groupby(["alpha", "method", "mode"], sort=False):
        mean = rows[["coverage", "mean_set_size", "singleton_share"]].mean()
        lines.append(
            f"alpha {alpha:<5} {method:4} {mode:17}  coverage {mean['coverage']:6.1%}   "
            f"mean set size {mean['mean_set_size']:6.2f}   one class {mean['singleton_share']:6.1%}"
        )
    broken = table[table["verdict"] == BROKEN]
    for row in broken.itertuples():
        lines.append(
            f"{BROKEN.upper()}: {row.subset_size}/seed-{row.seed} {row.method} {row.mode}: "
            f"coverage {row.coverage:.3f} [{row.coverage_low:.3f}, {row.coverage_high:.3f}] misses "
            f"{row.target:g}, more than the size of the calibration set explains in 19 of 20 "
            "studies; validation and test may not be exchangeable"
        )
    if len(broken):
        lines.append(
            f"{len(broken)} of {len(table)} intervals miss so; {len(table) / 20:.0f} may by chance"
        )
    if explained := int((table["verdict"] == SMALL).sum()):
        lines.append(
            f"{explained} of {len(table)} intervals miss their target by no more than the size of "
            "the calibration set explains (conformal.csv names them)"
        )
    return "Prediction sets at the largest size, means over seeds:\n" + "\n".join(lines)
