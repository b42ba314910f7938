"""The points of ``dataworth forecast``: read and analyse a table, or a variant of a study."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..console import printable_name, say
from ..errors import InputError
from ..evaluation.records import StudyResults
from ..evaluation.results import FILE as METRICS_FILE
from ..evaluation.results import read_results
from ..evaluation.tables import runs_table
from ..findings.curves import (
    METRICS,
    has_equal_steps,
    headline_metric,
    metric_name,
    points,
    start_of,
    test_scores,
)
from ..forecaster.learning_curve import LearningCurve
from ..forecaster.measurements import read_measurements
from ..scaling.analysis import Analysis
from ..scaling.fitting import MIN_SIZES
from ..scaling.points import NotIdentifiableError, Points
from ..scaling.starts import Start
from .flags import ForecastFlags
from .forecast_flags import note_all_but


def points_file(path: Path | None) -> Path:
    """Return the file of the measured errors; the folder of a study's results has one."""
    if path is None:
        raise InputError("name a CSV file of sizes and errors, or a metrics.json; see --help")
    return path / METRICS_FILE if path.is_dir() else path


def require_sizes(path: Path, measured: Points) -> None:
    """Refuse points of fewer sizes than any law takes: no question has an answer then."""
    if (count := len(measured.sizes)) < MIN_SIZES:
        raise InputError(
            f"{path}: {count} training set size{'s' if count > 1 else ''}; a law takes {MIN_SIZES} "
            "or more. Measure another, such as half of the smallest, which needs no new images"
        )


def is_study(path: Path) -> bool:
    """Whether a file is a metrics.json, under any name, and not a table of measurements."""
    if path.suffix != ".json" or path.name == METRICS_FILE:
        return path.name == METRICS_FILE
    try:
        with path.open("rb") as file:
            return b'"schema_version"' in file.read(1000)
    except OSError:
        return False


def metric_of(error: str) -> str:
    """Return the metric of a study that a table's error is compared with."""
    return {metric_name(metric): metric for metric in METRICS}.get(error, METRICS[0])


def analyse_file(path: Path, flags: ForecastFlags) -> tuple[Analysis, str]:
    """Analyse a table or a metrics.json; return the analysis and the name of the error."""
    if is_study(path):
        if flags.compare is None or is_study(flags.compare):
            note_all_but((), flags.columns, "on a metrics.json")
        variants = read_results(path).variants()
        analysis = analyse_variant(path, variants, flags.metric, flags.variant, flags)
        results = variants[flags.variant or next(iter(variants))]
        if flags.start is None and has_equal_steps(results):
            shown = printable_name(str(path))
            say(f"{shown}: trained for equal optimiser steps, so fitted with --start unknown.\n")
        return analysis
    if flags.metric is not None or flags.variant is not None:
        raise InputError("--metric, --variant: a table has one error; give a metrics.json")
    table = read_measurements(path, flags.columns)
    if table.notes:
        say(f"{printable_name(str(path))}: {'; '.join(table.notes)}.\n")
    if not len(table.points.n):
        raise InputError(f"{path}: no points; {MIN_SIZES} sizes are needed")
    chance, start = flags.chance or 1.0, flags.start or "unknown"
    if flags.compare is not None and is_study(flags.compare):
        chance, start = _terms_of_study(flags.compare, table.metric, flags)
    return _fit(table.points, chance, start), table.metric


def _terms_of_study(path: Path, error: str, flags: ForecastFlags) -> tuple[float, Start]:
    """Return chance level and start for a table whose options are the variants of a study."""
    variants = list(read_results(path).variants().values())
    starts = {start_of(results) for results in variants}
    start = starts.pop() if len(starts) == 1 else "unknown"
    return flags.chance or variants[0].chance[metric_of(error)], flags.start or start


def analyse_variant(
    path: Path,
    variants: Mapping[str, StudyResults],
    metric: str | None,
    variant: str | None,
    flags: ForecastFlags,
) -> tuple[Analysis, str]:
    """Analyse one variant of a metrics.json; return the analysis and the name of the error.

    Parameters
    ----------
    path : Path
        The metrics.json, for messages.
    variants : mapping of str to StudyResults
        What it holds.
    metric : str or None
        Such as top_1_error; None: that of the headline.
    variant : str or None
        None: the only one.
    flags : ForecastFlags
        Chance level and start are those of the study, unless these say otherwise.
    """
    if variant is None and len(variants) == 1:
        (variant,) = variants
    if variant is None or variant not in variants:
        raise InputError(f"{path}: --variant is one of {', '.join(variants)}")
    results = variants[variant]
    test = test_scores(runs_table(results))
    metric = metric or headline_metric(test)
    if metric not in METRICS or test[metric].isna().any():
        raise InputError(f"{path}: no {metric}; --metric is one of {', '.join(METRICS)}")
    measured = points(test, metric)
    if not len(measured.n):
        raise InputError(
            f"{path}: no points of a run better than chance; {MIN_SIZES} sizes are needed"
        )
    chance, start = flags.chance or results.chance[metric], flags.start or start_of(results)
    return _fit(measured, chance, start), metric_name(metric)


def _fit(measured: Points, chance: float, start: Start) -> Analysis:
    curve = LearningCurve(chance, measured.num_test, start)
    with suppress(NotIdentifiableError):  # its analysis says why
        curve.fit(measured.n, measured.error)
    return curve.analysis_
