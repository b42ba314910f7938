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
    """Add the gain per doubling, the drop in error from the size before, with 95 % intervals.

    The intervals combine those of the two errors as if they were independent (MOVER: Zou and
    Donner 2008, section 2). Errors on the same test images correlate positively, so that the
    intervals are too wide rather than too narrow; ``eval.py --full`` compares sizes in pairs.
    """
    table = sizes.copy()
    doublings = np.log2(table["num_images"] / table["num_images"].shift())
    for metric in METRICS:
        if table[metric].isna().any():
            continue
        low, high = np.array(table[f"{metric}_interval"].tolist(), dtype=float).T
        below, above = (table[metric] - low) ** 2, (high - table[metric]) ** 2
        drop = table[metric].shift() - table[metric]
        gain = metric.replace("error", "gain_per_doubling")
        table[gain] = drop / doublings
        table[f"{gain}_low"] = (drop - np.sqrt(below.shift() + above)) / doublings
        table[f"{gain}_high"] = (drop + np.sqrt(above.shift() + below)) / doublings
    return table


def describe_gains(sizes: pd.DataFrame, metric: str) -> str:
    """Describe the largest gain per doubling and the last one in two sentences."""
    gain = metric.replace("error", "gain_per_doubling")
    table = gains_table(sizes)
    table["previous"] = table["num_images"].shift()
    steps = table.iloc[1:]

    def describe_step(step: pd.Series[Any]) -> str:
        low, high = step[f"{gain}_low"], step[f"{gain}_high"]
        return (
            f"from {step['previous']:,.0f} to {step['num_images']:,.0f} training images removed "
            f"{100 * step[gain]:.1f} points per doubling (95 % interval {100 * low:.1f} to "
            f"{100 * high:.1f})"
        )

    best = steps.iloc[int(steps[gain].argmax())]
    return (
        f"The step {describe_step(best)}, the most of all. "
        f"The last step, {describe_step(steps.iloc[-1]).replace(' removed', ', removed', 1)}."
    )


def comparison_table(sizes: pd.DataFrame, at_chance: pd.DataFrame) -> pd.DataFrame:
    """Format the test scores of each size as text, with the gain per doubling.

    The rows of ``at_chance``, of sizes at chance level, are marked and have no gain.
    """
    table = pd.concat([part for part in (at_chance, gains_table(sizes)) if len(part)])
    marks = [" (at chance)"] * len(at_chance) + [""] * len(sizes)
    columns: dict[str, Any] = {
        "images": [f"{n:,}" for n in table["num_images"]],
        "runs": [f"{n}{mark}" for n, mark in zip(table["num_runs"], marks, strict=True)],
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
        if (clean := f"{metric}_without_duplicates") in table:
            columns[f"{metric_name(metric)} without duplicates"] = (
                table[clean].map(percent).tolist()
            )
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
