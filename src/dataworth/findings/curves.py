"""Learning curves of a study: one analysed curve per error metric. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..evaluation.records import StudyResults
from ..scaling.analysis import Analysis, analyse, to_dict
from ..scaling.points import NotIdentifiableError, Points
from ..scaling.starts import Start

METRICS = ("top_1_error", "top_5_error")


@dataclass(frozen=True)
class Curve:
    """Learning curve of one error metric of a study."""

    metric: str  # such as top_5_error
    runs: pd.DataFrame  # test scores of complete runs, one row per run
    at_chance: pd.DataFrame  # of the runs of sizes at chance level, which are not fitted
    analysis: Analysis


def curves(
    runs: pd.DataFrame,
    chance: Mapping[str, float],
    start: Start = "unknown",
    metrics: Sequence[str] = METRICS,
) -> dict[str, Curve]:
    """Analyse every error metric that was measured.

    Parameters
    ----------
    runs : DataFrame
        One row per run and split, as ``evaluation.results.runs_table`` gives.
    chance : mapping
        Metric -> chance level (error of guessing), a share.
    start : {"unknown", "scratch", "pretrained"}
        From :func:`start_of`.
    metrics : sequence of str
        To analyse.
    """
    test = test_scores(runs)
    untrained = runs[(runs["split"] == "test") & (runs["status"] == "untrained")]
    at_chance = untrained[~untrained["num_train_images"].isin(test["num_train_images"])]
    return {
        metric: Curve(metric, test, at_chance, analyse(points(test, metric), chance[metric], start))
        for metric in metrics
        if test[metric].notna().any()
    }


def start_of(results: StudyResults) -> Start:
    """Return what the runs of one variant start from: given weights, or fresh ones.

    A study whose recipe is not stored may have started from any. With ``--budget steps`` the
    largest sizes are trained for few passes, and the curve flattens: the laws of networks from
    scratch, which are those of equal epochs, do not hold (LOG.md).
    """
    settings = _settings(results)
    if not settings or has_equal_steps(results):
        return "unknown"
    return "pretrained" if settings.get("init") else "scratch"


def has_equal_steps(results: StudyResults) -> bool:
    """Whether fresh networks are trained for equal optimiser steps at every size."""
    settings = _settings(results)
    return settings.get("budget") == "steps" and not settings.get("init")


def _settings(results: StudyResults) -> Mapping[str, Any]:
    if not results.recipe:
        return {}
    return results.recipe | results.variant_settings.get(results.variant, {})


def test_scores(runs: pd.DataFrame) -> pd.DataFrame:
    """Select the test scores of complete runs, which are the points of a curve."""
    return runs[(runs["split"] == "test") & (runs["status"] == "complete")]


def points(test: pd.DataFrame, metric: str) -> Points:
    """Return the points of one metric, one per row of test scores.

    Of grouped test images, their effective number is the number of test images.
    """
    effective = metric.replace("error", "effective_images")
    is_grouped = effective in test and test[effective].notna().all()
    columns = ("num_train_images", metric, effective if is_grouped else "num_images")
    n, error, num_test = (test[column].to_numpy(float) for column in columns)
    return Points(n, error, num_test)


def headline(curves: Mapping[str, Curve]) -> Curve:
    """Return the curve of the top-5 error, or of the top-1 error if top-5 is undefined or zero.

    Raises
    ------
    NotIdentifiableError
        If no run is complete.
    """
    if not curves:
        raise NotIdentifiableError("no run is complete and better than chance: there is no curve")
    return curves[headline_metric(curves["top_1_error"].runs)]


def headline_first(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Return the curves with that of :func:`headline` first; empty where there is none."""
    return {headline(curves).metric: headline(curves), **curves} if curves else {}


def common_metric(curves: Iterable[Mapping[str, Curve]]) -> str:
    """Return the metric by which several variants are compared: the headline of all, or top-1."""
    metrics = {headline(by_metric).metric for by_metric in curves if by_metric}
    return metrics.pop() if len(metrics) == 1 else METRICS[0]


def headline_metric(test: pd.DataFrame) -> str:
    """Return the metric that :func:`headline` chooses for the rows of :func:`test_scores`."""
    top_5 = test["top_5_error"]
    undefined = top_5.isna().any() or (points(test, "top_5_error").means == 0).any()
    return METRICS[0] if undefined else METRICS[1]


def law_record(curves: Mapping[str, Curve]) -> dict[str, Any]:
    """Return the content of scaling_law.json."""
    metrics = {metric: to_dict(curve.analysis) for metric, curve in curves.items()}
    return {"schema_version": 2, "metrics": metrics}


def metric_name(metric: str) -> str:
    """Format a metric such as ``top_5_error`` for people: ``top-5 error``."""
    return metric.replace("_", "-", 1).replace("_", " ")
