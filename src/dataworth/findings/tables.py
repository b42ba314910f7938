"""Tables of a study: gain per doubling, comparison of sizes, exponents. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..scaling.forecasting import interval
from .curves import METRICS, Curve, metric_name
from .sentences import percent


def gains_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """Add the gain per doubling: the drop in error from the size before, a share."""
    table = sizes.copy()
    doublings = np.log2(table["num_images"] / table["num_images"].shift())
    for metric in METRICS:
        if table[metric].notna().any():
            gain: pd.Series[float] = (table[metric].shift() - table[metric]) / doublings
            table[metric.replace("error", "gain_per_doubling")] = gain
    return table


def comparison_table(sizes: pd.DataFrame) -> pd.DataFrame:
    """Format the test scores of each size as text, with the gain per doubling."""
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
        columns[metric_name(metric)] = [
            f"{percent(error)} [{percent(lower)}, {percent(upper)}]"
            for error, lower, upper in values
        ]
        gain = 100 * table[metric.replace("error", "gain_per_doubling")]
        columns[f"{metric_name(metric).split()[0]} gain per doubling"] = [
            "-" if np.isnan(points) else f"{points:.1f} points" for points in gain
        ]
    columns["loss"] = [f"{loss:.3f}" for loss in table["loss"]]
    return pd.DataFrame(columns, index=pd.Index(table["subset_size"], name="size"))


def exponents_table(curves: Mapping[str, Curve]) -> pd.DataFrame:
    """Format one row per curve: its error at the largest size, and its exponent."""
    rows = []
    for name, curve in curves.items():
        points, posterior, exponent = curve.analysis.points, curve.analysis.vague_posterior, "-"
        if posterior is not None:
            draws = posterior.exponent[np.isfinite(posterior.exponent)]
            lower, upper = interval(draws)
            exponent = f"{np.median(draws):.2f} ({lower:.2f} to {upper:.2f})"
        error = f"{percent(points.means[-1])} at {points.sizes[-1]:,.0f}"
        rows.append({"curve": name, metric_name(curve.metric): error, "exponent": exponent})
    return pd.DataFrame(rows)
