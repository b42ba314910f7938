"""How far each run of a study is, read from its directory while anybody trains it."""

from __future__ import annotations

from pathlib import Path

from ..config import Run
from .epoch_log import read_epochs
from .locks import owner
from .run_directory import RunDirectory
from .study_directory import planned_runs, read_study

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
    directory = RunDirectory(study_dir / run.path)
    rows, (state, why) = read_epochs(directory.path), standing_of(directory)
    epoch, state = f"{len(rows)}/{run.recipe.epochs}", f"{state}: {why[:60]}" if why else state
    if not rows:
        return (str(run.path), state, epoch, "", "", "")
    last, top_5 = rows[-1], rows[-1].validation_top_5_error
    shown = "" if top_5 is None else f"{top_5:.3f}"
    errors = (f"{last.validation_top_1_error:.3f}", shown)
    return (str(run.path), state, epoch, *errors, f"{last.images_per_second:,.0f}")


def standing_of(directory: RunDirectory) -> tuple[str, str]:
    """Return complete, damaged, diverged, running, failed, interrupted or planned; and details."""
    error = directory.path / "error.txt"
    if directory.status:
        return directory.status, ""
    if holder := owner(directory.path):
        return "running", holder
    if error.exists():
        return "failed", (error.read_text(errors="replace").strip().splitlines() or [""])[-1]
    return ("planned" if directory.standing == "not finished" else directory.standing), ""
