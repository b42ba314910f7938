"""Run table of the report: state, training time and errors of every planned run; provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median

import pandas as pd

from ..config import Recipe, Run
from ..evaluation.records import RunScores, StudyResults
from ..findings.sentences import percent
from ..storage.epoch_log import EpochRow, read_epochs
from ..storage.identity import with_defaults
from ..storage.run_directory import RunDirectory
from ..storage.status import run_state
from .tables import Table, duration, format_value, key_value_table

AT_CHANCE = "its size is not better than chance: in no mean and no fit"
EPOCH_COLUMNS = [field.name for field in fields(EpochRow)]
UNTRAINED = ("planned", "interrupted", "running")
UNFINISHED = ("", "not finished", "interrupted")  # reasons why there are no weights to evaluate
COLUMNS = (
    "run", "images", "status", "epochs", "best epoch", "training time", "images/s", "top-1 error",
    "top-5 error", "why",
)  # fmt: skip


@dataclass(frozen=True)
class RunEntry:
    """One planned run."""

    run: Run
    state: str  # complete, untrained, diverged, failed, damaged, finished, or one of UNTRAINED
    reason: str  # why it is not in the curve; empty if it is
    epochs: Sequence[EpochRow]  # logged so far
    scores: RunScores | None  # None if it was not evaluated

    @property
    def seconds(self) -> float:
        """Training time of the epochs."""
        return sum(row.seconds for row in self.epochs)

    @property
    def evaluated(self) -> bool:
        """Whether the run has scores."""
        return self.scores is not None


def run_entries(
    directories: Mapping[Run, RunDirectory],
    runs: Sequence[RunScores],
    missing: Mapping[str, str],
) -> list[RunEntry]:
    """Return an entry per planned run.

    Parameters
    ----------
    directories : mapping of Run to RunDirectory
        Of every planned run.
    runs : sequence of RunScores
        Evaluated runs.
    missing : mapping of str to str
        Path of a run without scores -> why.
    """
    scores = {run.path: run for run in runs}
    entries = []
    for run, directory in directories.items():
        run_scores = scores.get(run.path)
        state, reason = _state(directory, run_scores, missing.get(str(run.path), ""))
        entries.append(RunEntry(run, state, reason, read_epochs(directory.path), run_scores))
    return entries


def entries_of_results(results: StudyResults, epochs: pd.DataFrame) -> list[RunEntry]:
    """Return an entry per evaluated run, from the files of the results alone.

    Parameters
    ----------
    results : StudyResults
    epochs : DataFrame
        Content of epochs.csv.
    """
    logs = {
        key: [EpochRow(*row) for row in rows[EPOCH_COLUMNS].itertuples(index=False)]
        for key, rows in epochs.fillna({"variant": ""}).groupby(["variant", "subset_size", "seed"])
    }
    entries = []
    for scores in results.runs:
        changes = results.variant_settings.get(scores.variant, {})
        recipe = Recipe(**with_defaults({**results.recipe, **changes, "model": scores.model}))
        run = Run(
            recipe=recipe,
            subset_size=scores.subset_size,
            seed=scores.seed,
            variant=scores.variant,
        )
        reason = AT_CHANCE if scores.status == "untrained" else ""
        log = logs.get((scores.variant, scores.subset_size, scores.seed), [])
        entries.append(RunEntry(run, scores.status, reason, log, scores))
    return entries


def _state(directory: RunDirectory, scores: RunScores | None, reason: str) -> tuple[str, str]:
    if scores is not None:
        return scores.status, AT_CHANCE if scores.status == "untrained" else ""
    if directory.status == "diverged":
        return "diverged", "the loss is infinite or NaN"
    if reason not in UNFINISHED:  # unusable weights
        return "damaged", reason
    if directory.usable:  # completed after eval.py had read the study
        return "finished", "not evaluated yet"
    return run_state(directory)


def run_table(entries: Sequence[RunEntry]) -> Table:
    """Return a row per planned run."""
    total = duration(sum(entry.seconds for entry in entries))
    columns = COLUMNS if any(entry.reason for entry in entries) else COLUMNS[:-1]
    rows = [_cells(entry)[: len(columns)] for entry in entries]
    return Table(f"{len(entries)} runs, {total} of training", columns, rows)


def _cells(entry: RunEntry) -> list[str]:
    scores, epochs = entry.scores, entry.epochs
    test = None if scores is None else scores.splits["test"]
    errors = (None if test is None else test.error(k) for k in (1, 5))
    return [
        str(entry.run.path),
        "-" if scores is None else f"{scores.num_images:,}",
        entry.state,
        f"{len(epochs)} of {entry.run.recipe.epochs}",
        "-" if scores is None else str(scores.best_epoch),
        duration(entry.seconds) if epochs else "-",
        f"{median(row.images_per_second for row in epochs):,.0f}" if epochs else "-",
        *("-" if error is None else percent(error) for error in errors),
        entry.reason,
    ]


def completeness(entries: Sequence[RunEntry], flags: str) -> tuple[str, list[str]]:
    """Return complete, incomplete or in progress; and what is missing, why, and the next command.

    Parameters
    ----------
    entries : sequence of RunEntry
    flags : str
        Which name the study to a command.
    """
    states = Counter(entry.state for entry in entries)
    num_evaluated = sum(entry.evaluated for entry in entries)
    if num_evaluated == len(entries):
        return "complete", []
    word = "in progress" if states["running"] else "incomplete"
    lines = [
        f"{num_evaluated} of {len(entries)} runs are evaluated. This page covers only these; "
        "intervals and forecasts will change with the others.",
    ]
    for state in states:
        pending = [entry for entry in entries if entry.state == state and not entry.evaluated]
        if pending:
            lines.append(f"{state} ({len(pending)}): {', '.join(map(_progress, pending))}")
    evaluation = f"python eval.py {flags} --report"
    if any(states[state] for state in (*UNTRAINED, "failed", "damaged")):
        lines.append(f"To finish: python train.py --resume {flags}, then {evaluation}")
    elif states["finished"]:
        lines.append(f"To finish: {evaluation}")
    return word, lines


def _progress(entry: RunEntry) -> str:
    epochs = f", epoch {len(entry.epochs)} of {entry.run.recipe.epochs}"
    progress = epochs if entry.state in ("running", "interrupted") else ""
    return f"{entry.run.path}{progress}" + (f" ({entry.reason})" if entry.reason else "")


def settings_table(entries: Sequence[RunEntry]) -> Table:
    """Return a row per setting of the recipe, a column per variant."""
    recipes = {e.run.variant: e.run.recipe.model_dump(mode="json") for e in entries}
    names = [name or "value" for name in recipes]
    settings = list(next(iter(recipes.values())))
    rows = [[key, *(format_value(recipe[key]) for recipe in recipes.values())] for key in settings]
    return Table("Settings of every run", ("setting", *names), rows)


def provenance_table(entries: Sequence[RunEntry], results: StudyResults) -> Table:
    """Return where the numbers come from: data, training, evaluation."""
    data = results.data
    return key_value_table(
        "Where the numbers come from",
        [
            ("data", results.dataset),
            ("revision", data.revision),
            ("images", data.splits),
            ("notes on the data", "; ".join(data.notes)),
            ("seeds", list(dict.fromkeys(entry.run.seed for entry in entries))),
            *((f"training: {key}", "; ".join(v)) for key, v in results.training.items()),
            *((f"evaluation: {key}", value) for key, value in results.environment),
        ],
    )
