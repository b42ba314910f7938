"""What a study says, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import words
from .analysis import Analysis, analyse, record
from .forecasting import interval
from .points import NotIdentifiableError, Points

METRICS = ("top_1_error", "top_5_error")


@dataclass(frozen=True)
class Curve:
    """One error of a study."""

    metric: str  # such as top_5_error
    runs: pd.DataFrame  # test scores of complete runs, one row per run
    analysis: Analysis


def curves(runs: pd.DataFrame, chance: Mapping[str, float]) -> dict[str, Curve]:
    """Analyse every error that is known.

    Parameters
    ----------
    runs : DataFrame
        One row per run and split, as ``evaluation.results.runs_table`` gives.
    chance : mapping
        Metric -> error of guessing, a share.
    """
    test = test_scores(runs)
    return {
        metric: Curve(metric, test, analyse(points(test, metric), chance[metric]))
        for metric in METRICS
        if test[metric].notna().any()
    }


def test_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that are points of a curve: test scores of complete runs."""
    return runs[(runs["split"] == "test") & (runs["status"] == "complete")]


def points(test: pd.DataFrame, metric: str) -> Points:
    """Return one error per row of test scores."""
    columns = ("num_train_images", metric, "num_images")
    return Points(*(test[column].to_numpy(float) for column in columns))


def headline(found: Mapping[str, Curve]) -> Curve:
    """Top-5 error, or top-1 error where top-5 is meaningless or reaches zero.

    Raises
    ------
    NotIdentifiableError
        If no run is complete.
    """
    if not found:
        raise NotIdentifiableError("no run is complete and better than chance: there is no curve")
    return found[headline_metric(found["top_1_error"].runs)]


def headline_metric(test: pd.DataFrame) -> str:
    """Name the error that :func:`headline` chooses; ``test`` has a row per run that is a point."""
    top_5 = test["top_5_error"]
    meaningless = top_5.isna().any() or (points(test, "top_5_error").means == 0).any()
    return METRICS[0] if meaningless else METRICS[1]


def law_record(found: Mapping[str, Curve]) -> dict[str, Any]:
    """Describe the laws, for scaling_law.json."""
    metrics = {metric: record(curve.analysis) for metric, curve in found.items()}
    return {"schema_version": 2, "metrics": metrics}


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


def describe(found: Mapping[str, Curve], sizes: pd.DataFrame) -> str:
    """Say in a paragraph what the study found."""
    if len(sizes) < 2:
        return "Fewer than two subset sizes have a complete run: there is no curve yet."
    curve = headline(found)
    law = words.law(curve.analysis, metric_name(curve.metric))
    return f"{fall(curve.metric, sizes)} {law}"


def fall(metric: str, sizes: pd.DataFrame) -> str:
    """Say how far an error fell from the smallest size to the largest."""
    first, last = sizes.iloc[0], sizes.iloc[-1]
    low, high = last[f"{metric}_interval"]
    gain = gains_table(sizes)[metric.replace("error", "gain_per_doubling")].iloc[-1]
    return (
        f"From {first['num_images']:,} to {last['num_images']:,} training images the test "
        f"{metric_name(metric)} goes from {first[metric]:.1%} to {last[metric]:.1%} "
        f"(95 % interval {low:.1%} to {high:.1%}); "
        f"per doubling the last step bought {100 * gain:.1f} points."
    )


def describe_forecasts(found: Mapping[str, Curve]) -> str:
    """Say how the backtest went and what more data would buy; empty without a law."""
    if not found or (curve := headline(found)).analysis.posterior is None:
        return ""
    return words.outlook(curve.analysis, metric_name(curve.metric))


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


def sample(runs: pd.DataFrame) -> str:
    """Say how much was measured, of test scores of complete runs."""
    groups = runs.groupby([*({"variant"} & {*runs}), "num_train_images"])["seed"].nunique()
    sizes = runs["num_train_images"].unique().tolist()
    return words.sample(sizes, groups.tolist(), runs["num_images"].max())


def metric_name(metric: str) -> str:
    """Spell a column's name, such as ``top_5_error``, as text."""
    return metric.replace("_", "-", 1).replace("_", " ")
