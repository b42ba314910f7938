"""How far each run of a study is, read from its directory while anybody trains it."""

from __future__ import annotations

from pathlib import Path

from .config import Run
from .epochs import read_epochs
from .locks import owner
from .runs import RunDirectory
from .studies import planned_runs, read_study

HEADER = ("run", "status", "epoch", "top-1", "top-5", "images/s")


def status_table(study_dir: Path) -> str:
    """Spell status, epoch, last validation errors and speed of every planned run.

    Raises
    ------
    InputError
        If there is no study.
    """
    read_study(study_dir)
    rows = [HEADER, *(_row(run, study_dir) for run in planned_runs(study_dir))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([f"{study_dir}", *lines])


def _row(run: Run, study_dir: Path) -> tuple[str, ...]:
    folder = study_dir / run.path
    rows = read_epochs(folder)
    epoch = f"{len(rows)}/{run.recipe.epochs}"
    if not rows:
        return (str(run.path), _standing(folder), epoch, "", "", "")
    last, top_5 = rows[-1], rows[-1].validation_top_5_error
    shown = "" if top_5 is None else f"{top_5:.3f}"
    errors = (f"{last.validation_top_1_error:.3f}", shown)
    return (str(run.path), _standing(folder), epoch, *errors, f"{last.images_per_second:,.0f}")


def _standing(folder: Path) -> str:
    """Return complete, diverged, running and by whom, failed and why, interrupted, or planned."""
    directory, error = RunDirectory(folder), folder / "error.txt"
    if directory.status:
        return directory.status
    if holder := owner(folder):
        return f"running: {holder}"
    if error.exists():
        return f"failed: {error.read_text(errors='replace').strip().splitlines()[-1][:60]}"
    return "planned" if directory.standing == "not finished" else directory.standing
