"""What a study says, in numbers and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .fitting import Fit, NotIdentifiableError, Points, fit
from .laws import LAWS


def select_points(runs: pd.DataFrame, metric: str) -> tuple[Points, pd.DataFrame]:
    """Collect the test errors of complete runs.

    Parameters
    ----------
    runs : DataFrame
        One row per run and split, as ``evaluation.results.runs_table`` gives.
    metric : str
        ``top_1_error`` or ``top_5_error``.
    """
    kept = runs[(runs["split"] == "test") & (runs["status"] == "complete")]
    n, error = kept["num_train_images"].to_numpy(float), kept[metric].to_numpy(float)
    return Points(n, error, int(kept["num_images"].iloc[0]) if len(kept) else 1), kept


def default_metric(runs: pd.DataFrame) -> str:
    """Top-5 error, or top-1 error where fewer than 6 classes make top-5 meaningless."""
    return "top_5_error" if runs["top_5_error"].notna().any() else "top_1_error"


def fit_laws(points: Points) -> tuple[dict[str, Fit], dict[str, str]]:
    """Fit every law that the points determine; say why the others are not."""
    fits, reasons = {}, {}
    for name in LAWS:
        try:
            fits[name] = fit(name, points)
        except NotIdentifiableError as error:
            reasons[name] = str(error)
    return fits, reasons


def law_record(runs: pd.DataFrame) -> dict[str, Any]:
    """Describe the fitted laws of both errors, for scaling_law.json."""
    record: dict[str, Any] = {"schema_version": 1, "interval_level": 0.9, "metrics": {}}
    for metric in ("top_1_error", "top_5_error"):
        if runs[metric].notna().any():
            fits, reasons = fit_laws(select_points(runs, metric)[0])
            record["metrics"][metric] = {
                "laws": {name: _as_row(fitted) for name, fitted in fits.items()},
                "not_identifiable": reasons,
            }
    return record


def gains_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """Add to each size its gain per doubling: error points lost since the size before."""
    table = sizes.copy()
    doublings = np.log2(table["num_images"] / table["num_images"].shift())
    for k in (1, 5):
        if table[f"top_{k}_error"].notna().any():
            gain: pd.Series[float] = (
                table[f"top_{k}_error"].shift() - table[f"top_{k}_error"]
            ) / doublings
            table[f"top_{k}_gain_per_doubling"] = gain
    return table


def describe(runs: pd.DataFrame, sizes: pd.DataFrame) -> str:
    """Say in a paragraph what the study found."""
    if len(sizes) < 2:
        return "Fewer than two subset sizes have a complete run: there is no curve yet."
    metric = default_metric(runs)
    name = metric.replace("_error", "").replace("_", "-")
    first, last = sizes.iloc[0], sizes.iloc[-1]
    low, high = last[f"{metric}_interval"]
    gain = gains_table(sizes)[f"{metric.replace('_error', '')}_gain_per_doubling"].iloc[-1]
    text = (
        f"From {first['num_images']:,} to {last['num_images']:,} training images the test {name} "
        f"error falls from {first[metric]:.1%} to {last[metric]:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}, {last['num_runs']} runs per size at most). "
        f"The last doubling bought {100 * gain:.1f} points."
    )
    fits, reasons = fit_laws(select_points(runs, metric)[0])
    if "power law" not in fits:
        return f"{text} No law is fitted: {'; '.join(reasons.values())}."
    exponent, (lower, upper) = fits["power law"].values[1], fits["power law"].intervals[1]
    text += (
        f" A power law has exponent {exponent:.2f} (90 % interval {lower:.2f} to {upper:.2f}): "
        f"doubling the data multiplies the error by {2**-exponent:.2f}."
    )
    if "power law with floor" in fits:
        floor_fit = fits["power law with floor"]
        (floor_low, floor_high), (c_low, c_high) = floor_fit.intervals[2], floor_fit.intervals[1]
        text += (
            f" If some error can never be removed by data, the exponent may be anything from "
            f"{c_low:.2f} to {c_high:.2f} and the floor from {floor_low:.1%} to {floor_high:.1%}: "
            "do not read a forecast far beyond the data from one curve."
        )
    return text


def _as_row(fitted: Fit) -> dict[str, Any]:
    parameters = zip(fitted.law.parameters, fitted.values, fitted.intervals, strict=True)
    return {name: {"value": v, "interval": list(i)} for name, v, i in parameters}
