"""Output of ``dataworth eval``: added scores, files, figures, printed findings, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import pandas as pd

from ..config import Run
from ..console import printable, say
from ..errors import InputError
from ..evaluation.added_records import ConformalReports, FullScores
from ..evaluation.records import SizeStep, StudyResults
from ..evaluation.results import (
    FILE,
    confusion_matrices,
    keep_added_scores,
    read_results,
    write_results,
)
from ..evaluation.tables import csv_bytes, format_table, runs_table
from ..findings.costs import Hours, Prices, priced
from ..findings.curves import METRICS, headline, law_record
from ..findings.study import (
    VariantFindings,
    analyse_variants,
    describe,
    describe_chance,
    describe_data,
    describe_forecasts,
    read_epochs,
)
from ..findings.tables import exponents_table
from ..findings.training import TrainingFindings, describe_training, training_findings
from ..findings.worth import OptionsWorth, describe_worth, numbers, worth_of_variants
from ..scaling.training_forecasts import to_dict
from ..storage.files import write_json, write_whole
from ..storage.predictions import Labels, write_confusion_matrices
from ..storage.run_directory import RunDirectory
from .flags import EvalFlags

if TYPE_CHECKING:
    from ..data.prepare import PreparedData
    from ..evaluation.full import FullEvaluation

WIDTH = 96  # characters of a printed line


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
    write_whole(path, csv_bytes(table))


def write_files(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    epochs: pd.DataFrame,
    results_dir: Path,
    worth: OptionsWorth | None,
    training: TrainingFindings | None = None,
) -> None:
    """Write the tables, laws and metrics.json of a study, and the figure of the options' worth.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
    epochs : DataFrame
        From ``storage.study_directory.epochs_table``.
    results_dir : Path
    worth : OptionsWorth or None
        Of the variants; None for a single one.
    training : TrainingFindings or None
        Of runs with different images and training.
    """
    laws = {variant.name: law_record(variant.curves) for variant in findings}
    content: dict[str, object] = {"variants": laws} if len(laws) > 1 else laws.popitem()[1]
    has_grid = training is not None and training.analysis.posterior is not None
    if training is not None and has_grid:
        content["training"] = {"metric": training.metric, **to_dict(training.analysis)}
    write_json(results_dir / "scaling_law.json", content)
    _write_table(runs_table(results), results_dir / "metrics.csv")
    _write_table(epochs, results_dir / "epochs.csv")
    write_results(results_dir, results)
    if worth is None and not has_grid:
        return
    from ..figures.files import save_printed  # matplotlib: FigureProcess imports it meanwhile
    from ..figures.training import plot_training
    from ..figures.worth import plot_worth

    figures = results_dir / "figures"
    if worth is not None and (figure := plot_worth(worth)) is not None:
        _write_table(numbers(worth), results_dir / "worth.csv")
        save_printed(figure, figures / "worth.png")
    if training is not None and has_grid and (ax := plot_training(training)) is not None:
        save_printed(ax, figures / "training.png")


def find_worth(findings: Sequence[VariantFindings], flags: EvalFlags) -> OptionsWorth | None:
    """Compare the variants with the baseline, with costs if there are prices; None if single."""
    worth = worth_of_variants(findings, flags.baseline)
    if worth is None or not flags.has_prices:
        return worth
    curves = {variant.name: variant.curves[worth.metric] for variant in findings if variant.curves}
    hours = {variant.name: Hours.measured(variant.epochs) for variant in findings}
    prices = Prices(flags.price_image, flags.price_label, flags.price_hour, hours)
    analyses = {name: curve.analysis for name, curve in curves.items()}
    return priced(worth, prices, analyses, flags.target)


def print_findings(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    notes: Sequence[str],
    results_dir: Path,
    worth: OptionsWorth | None,
    training: TrainingFindings | None = None,
) -> None:
    """Print the errors, the law and the forecasts of every variant, and where the files are.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
    notes : sequence of str
        From :func:`add_scores`.
    results_dir : Path
    worth : OptionsWorth or None
        Of the variants; None for a single one.
    training : TrainingFindings or None
        Of runs with different images and training.
    """
    say(f"\n{format_table(results)}\n\nTest errors: mean over seeds, 95 % interval.")
    for text in describe_data(results):
        say(f"\n{fill(printable(text), WIDTH)}")
    for variant in findings:
        title = f"{variant.variant}: " if variant.variant else ""
        paragraphs = [describe(variant.curves, variant.sizes), *describe_chance(variant.results)]
        say(f"\n{fill(title + ' '.join(paragraphs), WIDTH)}\n")
        if forecasts := describe_forecasts(variant.curves):
            say(f"{forecasts}\n")
    if table := compare_exponents(findings):
        say(f"{table}\n")
    if worth is not None:
        say(f"{describe_worth(worth, WIDTH)}\n")
    if training is not None:
        say(f"{describe_training(training, WIDTH)}\n")
    for note in notes:
        say(f"{note}\n")
    say(f"numbers      {results_dir / FILE}")
    if (results_dir / "figures").exists():
        say(f"figures      {results_dir / 'figures'}")
    say("notebook     results.ipynb")


def compare_exponents(findings: Sequence[VariantFindings]) -> str:
    """Format the exponents of several variants as a text table; empty for a single variant."""
    if len(findings) < 2:
        return ""
    curves = {variant.name: headline(variant.curves) for variant in findings if variant.curves}
    if len({curve.metric for curve in curves.values()}) > 1:  # compare all by the same metric
        curves = {v.name: v.curves[METRICS[0]] for v in findings if v.curves}
    table = exponents_table(curves)
    return str(table.to_string(index=False)) if len(table) else ""


def write_report_of_results(results_dir: Path, flags: EvalFlags) -> None:
    """Write report.html from the files of an evaluated study, and print its path.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    from ..report.page import write_page_of_results

    results, epochs = read_results(results_dir / FILE), read_epochs(results_dir)
    findings = analyse_variants(results, epochs)
    worth = find_worth(findings, flags)
    training = training_findings({results.experiment_id: results})
    path = write_page_of_results(results, findings, epochs, results_dir, worth, training)
    say(f"report       {path}")


def write_report(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    directories: Mapping[Run, RunDirectory],
    data: PreparedData,
    results_dir: Path,
    num_mistakes: int,
    worth: OptionsWorth | None,
    training: TrainingFindings | None = None,
) -> None:
    """Write report.html and print its path.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
    directories : mapping of Run to RunDirectory
        Of every planned run.
    data : PreparedData
    results_dir : Path
    num_mistakes : int
        Pictures of mistakes per size.
    worth : OptionsWorth or None
        Of the variants; None for a single one.
    training : TrainingFindings or None
        Of runs with different images and training.
    """
    from ..report.page import write_page

    path = write_page(
        results, findings, directories, data, results_dir, num_mistakes, worth, training
    )
    say(f"report       {path}")
