"""report.html: a self-contained page with all findings of a study."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ..config import Run
from ..data.prepare import PreparedData
from ..evaluation.records import StudyResults
from ..findings.study import VariantFindings
from ..findings.training import TrainingFindings
from ..findings.worth import OptionsWorth
from ..storage.files import write_whole
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import study_flags
from . import dark_theme, run_status
from .mistakes import Gallery, galleries
from .sections import absent_parts, combined_drawings, section, summary, training_part, worth_part

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
ELSEWHERE = "they need the checkpoints, which are not here, as do the commands for the rest"


def write_page(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    directories: Mapping[Run, RunDirectory],
    data: PreparedData,
    results_dir: Path,
    num_mistakes: int,
    worth: OptionsWorth | None = None,
    training: TrainingFindings | None = None,
) -> Path:
    """Write report.html and return its path.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
        Of each variant.
    directories : mapping of Run to RunDirectory
        Of every planned run.
    data : PreparedData
    results_dir : Path
        Receives the page.
    num_mistakes : int
        Pictures of mistakes per size.
    worth : OptionsWorth, optional
        Of the variants.
    training : TrainingFindings, optional
        Of runs with different images and training.
    """
    entries = run_status.run_entries(directories, results.runs, results.missing)
    flags = study_flags(next(iter(directories.values())).path)
    pictures = [galleries(part.results, data, results_dir, num_mistakes) for part in findings]
    why = "no run is complete" if num_mistakes else "--mistakes 0 left them out"
    return _write(results, findings, entries, flags, results_dir, pictures, why, worth, training)


def write_page_of_results(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    epochs: pd.DataFrame,
    results_dir: Path,
    worth: OptionsWorth | None = None,
    training: TrainingFindings | None = None,
) -> Path:
    """Write report.html of a study whose checkpoints are elsewhere, and return its path.

    Parameters
    ----------
    results : StudyResults
    findings : sequence of VariantFindings
        Of each variant.
    epochs : DataFrame
        Content of epochs.csv.
    results_dir : Path
        Receives the page.
    worth : OptionsWorth, optional
    training : TrainingFindings, optional
    """
    entries = run_status.entries_of_results(results, epochs)
    pictures: list[list[Gallery]] = [[] for _ in findings]
    return _write(results, findings, entries, "", results_dir, pictures, ELSEWHERE, worth, training)


def _write(
    results: StudyResults,
    findings: Sequence[VariantFindings],
    entries: Sequence[run_status.RunEntry],
    flags: str,
    results_dir: Path,
    pictures: Sequence[Sequence[Gallery]],
    no_pictures: str,
    worth: OptionsWorth | None,
    training: TrainingFindings | None,
) -> Path:
    completeness, pending = run_status.completeness(entries, flags)
    sections = [
        section(variant, f"s{i}", results_dir, pictures[i]) for i, variant in enumerate(findings)
    ]
    longer = None if training is None else training_part(training)
    page = render(
        {
            "experiment": results.experiment_id,
            "question": question(results),
            "completeness": completeness,
            "pending": pending,
            "summary": summary(findings),
            "combined": combined_drawings(findings),
            "worth": None if worth is None else worth_part(worth),
            "training": longer,
            "sections": sections,
            "absent": absent_parts(sections, longer, no_pictures),
            "runs": run_status.run_table(entries),
            "settings": run_status.settings_table(entries),
            "provenance": run_status.provenance_table(entries, results),
        }
    )
    path = results_dir / "report.html"
    write_whole(path, page.encode(errors="backslashreplace"))  # a path may not be text
    return path


def question(results: StudyResults) -> str:
    """Return the question that the study answers."""
    data, models = PurePath(results.dataset).name, " and ".join(results.model.rsplit(", ", 1))
    return (
        f"How does the test error of {models} on {data} ({results.num_classes} classes) "
        "fall with the number of training images, and how much would doubling them lower it?"
    )


def render(content: Mapping[str, object]) -> str:
    """Fill the template; everything except our own drawings is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    body = environment.get_template("body.html").render(**content)
    style += dark_theme.rules(body)
    return environment.get_template("page.html").render(
        experiment=content["experiment"], body=body, style=style, script=script, digest=_digest
    )


def _digest(text: str) -> str:
    """Return the hash by which the policy of the page allows a style sheet or script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
