"""Tables of a study's curves. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..scaling.forecasting import interval
from .curves import METRICS, Curve, metric_name


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


def exponents_table(found: Mapping[str, Curve]) -> pd.DataFrame:
    """Return one row per curve as text: the error of its largest size, and its exponent."""
    rows = []
    for name, curve in found.items():
        points, shape, exponent = curve.analysis.points, curve.analysis.shape, "-"
        if shape is not None:
            known = shape.exponent[np.isfinite(shape.exponent)]
            low, high = interval(known)
            exponent = f"{np.median(known):.2f} ({low:.2f} to {high:.2f})"
        error = f"{points.means[-1]:.1%} at {points.sizes[-1]:,.0f}"
        rows.append({"curve": name, metric_name(curve.metric): error, "exponent": exponent})
    return pd.DataFrame(rows)
