"""What a study says, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .fitting import Fit, NotIdentifiableError, Points, fit
from .laws import LAWS

METRICS = ("top_1_error", "top_5_error")


@dataclass(frozen=True)
class Analysis:
    """The laws of one error."""

    metric: str  # such as top_5_error
    runs: pd.DataFrame  # test scores of complete runs, one row per run
    fits: Mapping[str, Fit]  # by name of the law
    reasons: Mapping[str, str]  # why the others are not fitted

    @property
    def has_zeros(self) -> bool:
        """Whether some size makes no error at all, so that the test set is too easy for it."""
        return bool((self.runs.groupby("num_train_images")[self.metric].mean() == 0).any())


def analyse(runs: pd.DataFrame) -> dict[str, Analysis]:
    """Fit every law that the points determine to every error that is known.

    Parameters
    ----------
    runs : DataFrame
        One row per run and split, as ``evaluation.results.runs_table`` gives.
    """
    test = runs[(runs["split"] == "test") & (runs["status"] == "complete")]
    return {metric: _analyse(test, metric) for metric in METRICS if test[metric].notna().any()}


def _analyse(test: pd.DataFrame, metric: str) -> Analysis:
    n, error = test["num_train_images"].to_numpy(float), test[metric].to_numpy(float)
    points, fits, reasons = Points(n, error, int(test["num_images"].iloc[0])), {}, {}
    for name in LAWS:
        try:
            fits[name] = fit(name, points)
        except NotIdentifiableError as why:
            reasons[name] = str(why)
    return Analysis(metric, test, fits, reasons)


def headline(analyses: Mapping[str, Analysis]) -> Analysis:
    """Top-5 error, or top-1 error where top-5 is meaningless or reaches zero.

    Raises
    ------
    NotIdentifiableError
        If no run is complete.
    """
    if not analyses:
        raise NotIdentifiableError("no run is complete and better than chance: there is no curve")
    top_5 = analyses.get("top_5_error")
    return analyses["top_1_error"] if top_5 is None or top_5.has_zeros else top_5


def law_record(analyses: Mapping[str, Analysis]) -> dict[str, Any]:
    """Describe the fitted laws, for scaling_law.json."""
    metrics = {
        metric: {
            "laws": {name: _as_row(fitted) for name, fitted in analysis.fits.items()},
            "not_identifiable": dict(analysis.reasons),
        }
        for metric, analysis in analyses.items()
    }
    return {"schema_version": 1, "interval_level": 0.9, "metrics": metrics}


def gains_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """Add to each size its gain per doubling: error lost since the size before, a share."""
    table = sizes.copy()
    doublings = np.log2(table["num_images"] / table["num_images"].shift())
    for metric in METRICS:
        if table[metric].notna().any():
            gain: pd.Series[float] = (table[metric].shift() - table[metric]) / doublings
            table[metric.replace("error", "gain_per_doubling")] = gain
    return table


def comparison_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return the final test scores of each size as text, with the gain per doubling."""
    table = gains_table(sizes)
    columns: dict[str, Any] = {
        "images": [f"{n:,}" for n in table["num_images"]],
        "runs": table["num_runs"].tolist(),
    }
    for metric in METRICS:
        if table[metric].isna().any():
            continue
        low, high = zip(*table[f"{metric}_interval"], strict=True)
        values = zip(table[metric], low, high, strict=True)
        columns[metric_name(metric)] = [f"{e:.1%} [{a:.1%}, {b:.1%}]" for e, a, b in values]
        gain = 100 * table[metric.replace("error", "gain_per_doubling")]
        columns[f"{metric_name(metric).split()[0]} gain per doubling"] = [
            "-" if np.isnan(points) else f"{points:.1f} points" for points in gain
        ]
    columns["loss"] = [f"{loss:.3f}" for loss in table["loss"]]
    return pd.DataFrame(columns, index=pd.Index(table["subset_size"], name="size"))


def describe(analyses: Mapping[str, Analysis], sizes: pd.DataFrame) -> str:
    """Say in a paragraph what the study found."""
    if len(sizes) < 2:
        return "Fewer than two subset sizes have a complete run: there is no curve yet."
    analysis = headline(analyses)
    metric, first, last = analysis.metric, sizes.iloc[0], sizes.iloc[-1]
    low, high = last[f"{metric}_interval"]
    gain = gains_table(sizes)[metric.replace("error", "gain_per_doubling")].iloc[-1]
    text = (
        f"From {first['num_images']:,} to {last['num_images']:,} training images the test "
        f"{metric_name(metric)} goes from {first[metric]:.1%} to {last[metric]:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}); "
        f"per doubling the last step bought {100 * gain:.1f} points."
    )
    if "power law" not in analysis.fits:
        return f"{text} No law is fitted: {'; '.join(analysis.reasons.values())}."
    return text + _describe_law(analysis)


def _describe_law(analysis: Analysis) -> str:
    law = analysis.fits["power law"]
    exponent, (lower, upper) = law.values[1], law.intervals[1]
    text = (
        f" A power law has exponent {exponent:.2f} (90 % interval {lower:.2f} to {upper:.2f}): "
        f"doubling the data multiplies the error by {2**-exponent:.2f}."
    )
    if law.misfit < 0.05:
        text += (
            f" But the points bend away from that line (chi-square test, p = {law.misfit:.1g}), "
            "so the interval is too narrow."
        )
    if (other := analysis.fits.get("power law with floor")) is None:
        return text
    (c_low, c_high), (floor_low, floor_high) = other.intervals[1:]
    return text + (
        f" If some error cannot be removed by data, the exponent may be anything from {c_low:.2f} "
        f"to {c_high:.2f} and that floor from {floor_low:.1%} to {floor_high:.1%}: "
        "do not read a forecast far beyond the data from this curve."
    )


def metric_name(metric: str) -> str:
    """Spell a column's name, such as ``top_5_error``, as text."""
    return metric.replace("_", "-", 1).replace("_", " ")


def _as_row(fitted: Fit) -> dict[str, Any]:
    parameters = zip(fitted.law.parameters, fitted.values, fitted.intervals, strict=True)
    return {name: {"value": v, "interval": list(i)} for name, v, i in parameters}
