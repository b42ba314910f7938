"""Scores that ``dataworth eval`` adds: of ``--full`` and ``--conformal``, answers of variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluation.added_records import ConformalReports, FullScores
from ..evaluation.records import SizeStep, StudyResults
from ..evaluation.results import FILE, confusion_matrices, keep_added_scores, read_results
from ..storage.files import write_whole
from ..storage.predictions import Labels, write_confusion_matrices
from ..storage.run_directory import RunDirectory
from .flags import EvalFlags

if TYPE_CHECKING:
    import pandas as pd

    from ..data.prepare import PreparedData
    from ..evaluation.full import FullEvaluation


def add_scores(
    results: StudyResults,
    flags: EvalFlags,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    results_dir: Path,
) -> tuple[StudyResults, list[str]]:
    """Add how alike the answers of variants are, and the scores of ``--full`` and ``--conformal``.

    The scores of an earlier evaluation stay. Each variant of a study is evaluated separately and
    has its own tables and figures.

    Parameters
    ----------
    results : StudyResults
        Of plain scores.
    flags : EvalFlags
    directories : sequence of RunDirectory
        Of the evaluated runs.
    data : PreparedData
    results_dir : Path
        Holds the stored logits and perhaps an earlier metrics.json; receives tables and figures.

    Returns
    -------
    results : StudyResults
    notes : list of str
        Findings in words, a paragraph each.
    """
    from ..evaluation.correlations import answer_correlations

    results = _with_earlier_scores(results, results_dir)
    if correlations := answer_correlations(results, results_dir):
        results = results.model_copy(update={"answer_correlations": correlations})
    full: dict[Path, FullScores] = {}
    matrices: dict[Path, Labels] = {}
    conformal: dict[Path, ConformalReports] = {}
    steps: dict[str, tuple[SizeStep, ...]] = {}
    notes = []
    variants = results.variants()
    for name, part in variants.items():
        own = [directory for directory in directories if directory.run().variant == part.variant]
        title = f"{name}: " if part.variant else ""
        if flags.full:
            evaluation = _full(part, own, data, results_dir)
            full |= evaluation.scores
            matrices |= evaluation.confusion_matrices
            steps[name] = evaluation.size_steps
            notes.append(title + evaluation.text)
        if flags.conformal:
            reports, text = _conformal(part, own, data, flags.alpha, results_dir)
            conformal |= reports
            notes.append(title + text)
    if flags.full:
        write_confusion_matrices(results_dir, matrices)
        size_steps = steps if len(variants) > 1 else steps.popitem()[1]
        results = results.model_copy(update={"size_steps": size_steps})
    return results.with_scores(full, conformal), notes


def _with_earlier_scores(results: StudyResults, results_dir: Path) -> StudyResults:
    try:
        earlier = read_results(results_dir / FILE)
    except InputError:
        return results
    results = keep_added_scores(results, earlier)
    matrices, rest = confusion_matrices(results)
    if matrices:  # an older version wrote them to metrics.json
        write_confusion_matrices(results_dir, matrices)
        results = results.with_scores(full=rest)
    return results


def _full(
    results: StudyResults,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    results_dir: Path,
) -> FullEvaluation:
    """Evaluate one variant fully; write per_class.csv and the figures."""
    from ..evaluation.full import evaluate_fully
    from ..figures.evaluation import save_full_figures

    evaluation = evaluate_fully(results, directories, data, results_dir)
    if evaluation.per_class is not None:
        _write_table(evaluation.per_class, results_dir / results.variant / "per_class.csv")
        figures = results_dir / "figures" / results.variant
        scored = results.with_scores(full=evaluation.scores)
        matrices = evaluation.confusion_matrices
        save_full_figures(scored, evaluation.per_class, matrices, figures)
    return evaluation


def _conformal(
    results: StudyResults,
    directories: Sequence[RunDirectory],
    data: PreparedData,
    alphas: Sequence[float],
    results_dir: Path,
) -> tuple[Mapping[Path, ConformalReports], str]:
    """Calibrate and test the prediction sets of one variant; write conformal.csv and figures."""
    from ..conformal.coverage import describe as describe_coverage
    from ..conformal.coverage import evaluate_conformal
    from ..figures.conformal import save_conformal_figures

    evaluation = evaluate_conformal(results, directories, data, alphas, results_dir)
    _write_table(evaluation.table, results_dir / results.variant / "conformal.csv")
    if len(evaluation.complete):
        save_conformal_figures(evaluation.complete, results_dir / "figures" / results.variant)
    now = evaluation.complete["alpha"].isin(alphas)
    return evaluation.reports, describe_coverage(evaluation.complete[now])


def _write_table(table: pd.DataFrame, path: Path) -> None:
    from ..evaluation.tables import csv_bytes

    write_whole(path, csv_bytes(table))
