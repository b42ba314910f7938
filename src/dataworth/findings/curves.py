"""Curves of a study: one error against training images, analysed. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..scaling.analysis import Analysis, analyse, record
from ..scaling.points import NotIdentifiableError, Points

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


def metric_name(metric: str) -> str:
    """Spell a column's name, such as ``top_5_error``, as text."""
    return metric.replace("_", "-", 1).replace("_", " ")
