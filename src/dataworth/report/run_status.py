"""What became of every run, how long it took, and where it was trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..config import Run
from ..storage.epoch_log import EpochRow, read_epochs
from ..storage.run_directory import RunDirectory
from ..storage.status import standing_of
from .tables import Table, duration, from_pairs, spelled

WAITING = ("planned", "interrupted", "running")
UNFINISHED = ("", "not finished", "interrupted")  # why a run was not evaluated, if not for damage
COLUMNS = (
    "run", "images", "status", "epochs", "best epoch", "training time", "images/s", "top-1 error",
    "top-5 error", "why",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One planned run."""

    run: Run
    state: str  # complete, untrained, diverged, failed, damaged, finished, or one of WAITING
    why: str  # it is no point of the curve
    epochs: Sequence[EpochRow]  # that metrics.csv has so far
    row: Mapping[str, Any]  # of metrics.json, if it was evaluated

    @property
    def seconds(self) -> float:
        """Time spent in its epochs."""
        return sum(row.seconds for row in self.epochs)


def entries(runs: Mapping[Run, RunDirectory], results: Mapping[str, Any]) -> list[Entry]:
    """Tell what became of each planned run.

    Parameters
    ----------
    results : mapping
        The content of metrics.json.
    """
    rows = {
        (row.get("variant", ""), row["subset_size"], row["seed"]): row for row in results["runs"]
    }
    found = []
    for run, directory in runs.items():
        row = rows.get((run.variant, run.subset_size, run.seed), {})
        state, why = _state(directory, row, results["missing"].get(str(run.path), ""))
        found.append(Entry(run, state, why, read_epochs(directory.path), row))
    return found


def _state(directory: RunDirectory, row: Mapping[str, Any], reason: str) -> tuple[str, str]:
    if row:
        guess = "not better than chance: in no mean and no fit"
        return row["status"], guess if row["status"] == "untrained" else ""
    if directory.status == "diverged":
        return "diverged", "the loss stopped being finite"
    if reason not in UNFINISHED:  # its weights would not do
        return "damaged", reason
    if directory.usable:  # since eval.py looked
        return "finished", "not evaluated yet"
    return standing_of(directory)


def ledger(found: Sequence[Entry]) -> Table:
    """List the runs."""
    total = duration(sum(entry.seconds for entry in found))
    columns = COLUMNS if any(entry.why for entry in found) else COLUMNS[:-1]
    rows = [_cells(entry)[: len(columns)] for entry in found]
    return Table(f"{len(found)} runs, {total} of training", columns, rows)


def _cells(entry: Entry) -> list[str]:
    row, epochs = entry.row, entry.epochs
    test = row.get("splits", {}).get("test", {})
    errors = (test.get(f"top_{k}_error") for k in (1, 5))
    return [
        str(entry.run.path),
        f"{row['num_images']:,}" if row else "-",
        entry.state,
        f"{len(epochs)} of {entry.run.recipe.epochs}",
        spelled(row.get("best_epoch")),
        duration(entry.seconds) if epochs else "-",
        f"{median(row.images_per_second for row in epochs):,.0f}" if epochs else "-",
        *("-" if error is None else f"{error:.2%}" for error in errors),
        entry.why,
    ]


def standing(found: Sequence[Entry], name: str) -> tuple[str, list[str]]:
    """Say in a word whether the study is complete, and if it is not, what is missing and why."""
    states = Counter(entry.state for entry in found)
    done = states["complete"] + states["untrained"]
    if done == len(found):
        return "complete", []
    word = "in progress" if states["running"] else "incomplete"
    lines = [
        f"{done} of {len(found)} runs are evaluated. Everything below is about these; intervals "
        "and forecasts will change with the others.",
    ]
    for state in dict.fromkeys(entry.state for entry in found):
        those = [entry for entry in found if entry.state == state]
        if state not in ("complete", "untrained"):
            lines.append(f"{state} ({len(those)}): {', '.join(_where(e) for e in those)}")
    if any(states[state] for state in (*WAITING, "failed", "damaged")):
        lines.append(f"To finish: python train.py --resume {name}, then eval.py --report again.")
    elif states["finished"]:
        lines.append(f"To finish: python eval.py --experiment-id {name} --report")
    return word, lines


def _where(entry: Entry) -> str:
    so_far = f", epoch {len(entry.epochs)} of {entry.run.recipe.epochs}"
    note = so_far if entry.state in ("running", "interrupted") else ""
    return f"{entry.run.path}{note}" + (f" ({entry.why})" if entry.why else "")


def configuration(found: Sequence[Entry]) -> Table:
    """List the settings; a column per variant."""
    recipes = {e.run.variant: e.run.recipe.model_dump(mode="json") for e in found}
    names = [name or "value" for name in recipes]
    keys = list(next(iter(recipes.values())))
    rows = [[key, *(spelled(recipe[key]) for recipe in recipes.values())] for key in keys]
    return Table("Settings of every run", ("setting", *names), rows)


def provenance(found: Sequence[Entry], results: Mapping[str, Any]) -> Table:
    """Say where the numbers come from: data, training, evaluation."""
    data, here, training = results["data"], results["environment"], results["training"]
    return from_pairs(
        "Where the numbers come from",
        [
            ("data", results["dataset"]),
            ("revision", data.get("revision")),
            ("images", data.get("splits")),
            ("notes on the data", "; ".join(data.get("notes", []))),
            ("seeds", list(dict.fromkeys(entry.run.seed for entry in found))),
            *((f"training: {key}", "; ".join(values)) for key, values in training.items()),
            *((f"evaluation: {key}", value) for key, value in here.items()),
        ],
    )
