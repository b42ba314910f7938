"""Status table of a study: state, epoch, errors and speed of each run, also during training."""

from __future__ import annotations

from ..config import Run
from .epoch_log import read_epochs
from .files import read_stored_text
from .locks import lock_holder
from .run_directory import RunDirectory
from .study_directory import StudyDirectory

HEADER = ("run", "status", "epoch", "top-1", "top-5", "images/s")


def status_table(study: StudyDirectory) -> str:
    """Format state, epoch, last validation errors and speed of every planned run."""
    rows = [HEADER, *(_row(run, study.run_directory(run)) for run in study.planned_runs())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([f"{study.path}", *lines])


def _row(run: Run, directory: RunDirectory) -> tuple[str, ...]:
    rows, (state, details) = read_epochs(directory.path), run_state(directory)
    epoch = f"{len(rows)}/{run.recipe.epochs}"
    state = f"{state}: {details[:60]}" if details else state
    if not rows:
        return (str(run.path), state, epoch, "", "", "")
    last, top_5 = rows[-1], rows[-1].validation_top_5_error
    errors = (f"{last.validation_top_1_error:.3f}", "" if top_5 is None else f"{top_5:.3f}")
    return (str(run.path), state, epoch, *errors, f"{last.images_per_second:,.0f}")


def run_state(directory: RunDirectory) -> tuple[str, str]:
    """Return complete, diverged, running, failed, interrupted or planned; and details."""
    error = directory.path / "error.txt"
    if directory.status:
        return directory.status, ""
    if holder := lock_holder(directory.path):
        return "running", holder
    if error.exists():
        return "failed", (read_stored_text(error).strip().splitlines() or [""])[-1]
    return ("planned" if directory.state == "not finished" else directory.state), ""
