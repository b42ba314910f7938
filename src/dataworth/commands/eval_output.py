"""Output of ``dataworth eval``: files, findings in words, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..config import Run
from ..console import printable, say
from ..evaluation.records import StudyResults
from ..evaluation.results import FILE, read_results, write_results
from ..evaluation.tables import csv_bytes, format_table, runs_table
from ..findings.costs import Hours, Prices, priced
from ..findings.curves import common_metric, law_record
from ..findings.sentences import fill
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
from ..storage.run_directory import RunDirectory
from .flags import EvalFlags

if TYPE_CHECKING:
    from ..data.prepare import PreparedData

WIDTH = 96  # characters of a printed line


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
    from ..figures.files import save_printed  # matplotlib
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


def describe_findings(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    notes: Sequence[str],
    worth: OptionsWorth | None,
    training: TrainingFindings | None = None,
) -> str:
    """Describe the errors, the law and the forecasts of every variant, to be printed.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
    notes : sequence of str
        From ``eval_scores.add_scores``.
    worth : OptionsWorth or None
        Of the variants; None for a single one.
    training : TrainingFindings or None
        Of runs with different images and training.
    """
    lines = [f"\n{format_table(results)}\n\nTest errors: mean over seeds, 95 % interval."]
    lines += [f"\n{fill(printable(text), WIDTH)}" for text in describe_data(results)]
    for variant in findings:
        title = f"{variant.variant}: " if variant.variant else ""
        paragraphs = [describe(variant.curves, variant.sizes), *describe_chance(variant.results)]
        lines.append(f"\n{fill(title + ' '.join(paragraphs), WIDTH)}\n")
        if forecasts := describe_forecasts(variant.curves):
            lines.append(f"{forecasts}\n")
    if table := compare_exponents(findings):
        lines.append(f"{table}\n")
    if worth is not None:
        lines.append(f"{describe_worth(worth, WIDTH)}\n")
    if training is not None:
        lines.append(f"{describe_training(training, WIDTH)}\n")
    return "\n".join([*lines, *(f"{note}\n" for note in notes)])


def compare_exponents(findings: Sequence[VariantFindings]) -> str:
    """Format the exponents of several variants as a text table; empty for a single variant."""
    if len(findings) < 2:
        return ""
    metric = common_metric(variant.curves for variant in findings)
    table = exponents_table({v.name: v.curves[metric] for v in findings if v.curves})
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
