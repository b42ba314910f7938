"""What trackers are told about an evaluated study: one parent run, and a child per training run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pandas as pd

from ..config import check_study_name, run_path
from ..errors import InputError
from ..evaluation.records import WITHOUT_DUPLICATES, RunScores, SplitScores, StudyResults
from ..evaluation.results import FILE, read_results
from ..findings.study import EPOCHS_FILE, read_epochs
from ..storage.epoch_log import EpochRow
from ..storage.files import read_stored
from ..variants import Value

Row = Mapping[str, float]  # metric -> value
KEYS = ("variant", "subset_size", "num_train_images", "seed", "epoch")  # columns of epochs.csv
METRICS = [field.name for field in fields(EpochRow) if field.name != "epoch"]  # others are ignored
SCORES = ("top_1_error", "top_5_error", "loss")


@dataclass(frozen=True)
class TrackedRun:
    """A run of a tracker: parameters, metrics over steps, figures."""

    name: str  # within a project: that of the study, or study/path of the training run
    params: Mapping[str, Value]
    step_name: str  # what the steps count
    rows: Mapping[int, Row]  # step -> metrics, in ascending order
    figures: Mapping[str, Path]  # name -> PNG file
    seconds: Mapping[int, float]  # step -> seconds of training up to it; else 0

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that a tracker is told; equal runs are not replayed twice."""
        figures = {name: _digest(read_stored(path)) for name, path in self.figures.items()}
        content = [self.name, dict(self.params), {k: dict(v) for k, v in self.rows.items()}]
        return _digest(json.dumps([*content, figures]).encode())


@dataclass(frozen=True)
class TrackedStudy:
    """All runs of a study for a tracker."""

    date: datetime  # of the evaluation
    parent: TrackedRun  # mean test errors over numbers of training images
    children: tuple[TrackedRun, ...]  # epochs of each training run

    @property
    def runs(self) -> tuple[TrackedRun, ...]:
        """The parent, then its children."""
        return (self.parent, *self.children)


@dataclass(frozen=True)
class Replay:
    """Outcome of a replay."""

    location: str  # where the runs are
    num_written: int
    num_kept: int  # runs that the tracker had already


def read_study(folder: Path) -> TrackedStudy:
    """Read the study that ``eval.py`` evaluated into a folder of results.

    Raises
    ------
    InputError
        If metrics.json or epochs.csv is missing, damaged, or of another evaluation than the other.
    """
    results, epochs = read_results(folder / FILE), read_epochs(folder)
    try:
        check_study_name(results.experiment_id)
        date = datetime.fromisoformat(results.environment.date)
    except ValueError as error:
        raise InputError(f"{folder / FILE}: {error}") from None
    groups = {str(path): group for path, group in epochs.groupby(_run_paths(epochs))}
    if missing := [run.path for run in results.runs if str(run.path) not in groups]:
        raise InputError(
            f"{folder / EPOCHS_FILE} has no epochs of {missing[0]}, which {FILE} has; eval.py "
            "writes both again"
        )
    children = (_child(results, run, groups[str(run.path)]) for run in results.runs)
    return TrackedStudy(
        date if date.tzinfo else date.replace(tzinfo=UTC),
        _parent(results, folder / "figures"),
        tuple(children),
    )


def _run_paths(epochs: pd.DataFrame) -> list[str]:
    """Return the path of the run of each row."""
    variants = epochs["variant"].fillna("")
    keys = zip(variants, epochs["subset_size"], epochs["seed"], strict=True)
    return [str(run_path(variant, _share_or_count(size), seed)) for variant, size, seed in keys]


def _share_or_count(size: float) -> float | int:
    """Undo what pandas makes of a column with shares and counts; 1.0 is the whole training set."""
    return int(size) if size > 1 else float(size)


def _parent(results: StudyResults, figures: Path) -> TrackedRun:
    rows: dict[int, dict[str, float]] = {}
    for summary in sorted(results.subset_sizes.values(), key=lambda summary: summary.num_images):
        prefix = f"{summary.variant}/" if summary.variant else ""
        scores = {name: getattr(summary, name) for name in SCORES}
        row = rows.setdefault(summary.num_images, {})
        row |= {f"{prefix}test_{name}": v for name, v in scores.items() if v is not None}
    params: dict[str, Value] = {
        **results.recipe,
        "dataset": results.dataset,
        "model": results.model,
        "num_classes": results.num_classes,
        "num_runs": len(results.runs),
        **{key: ", ".join(values) for key, values in results.training.items() if values},
    }
    images = {
        str(path.relative_to(figures.parent).with_suffix("")): path
        for path in sorted(figures.rglob("*.png"))
    }
    return TrackedRun(results.experiment_id, params, "num_train_images", rows, images, {})


def _child(results: StudyResults, run: RunScores, epochs: pd.DataFrame) -> TrackedRun:
    """Return a training run; its test scores are those of its best epoch, and at that step."""
    epochs = epochs.sort_values("epoch")
    rows: dict[int, dict[str, float]] = {
        int(row["epoch"]): {
            str(key): float(value)
            for key, value in row.items()
            if key not in KEYS and not pd.isna(value)
        }
        for row in epochs[[*KEYS, *METRICS]].to_dict("records")
    }
    seconds = epochs["seconds"].cumsum().tolist()
    rows.setdefault(run.best_epoch, {}).update(_test_scores(run.splits))
    params: dict[str, Value] = {
        "study": results.experiment_id,
        "dataset": results.dataset,
        "model": run.model or results.model,
        "variant": run.variant,
        "subset_size": run.subset_size,
        "num_train_images": run.num_images,
        "seed": run.seed,
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "status": run.status,
    }
    return TrackedRun(
        f"{results.experiment_id}/{run.path}",
        params,
        "epoch",
        dict(sorted(rows.items())),
        {},
        dict(zip(epochs["epoch"].tolist(), seconds, strict=True)),
    )


def _test_scores(splits: Mapping[str, SplitScores]) -> dict[str, float]:
    tests = ((split, splits[split]) for split in ("test", WITHOUT_DUPLICATES) if split in splits)
    scores = {f"{split}_{name}": getattr(test, name) for split, test in tests for name in SCORES}
    return {name: value for name, value in scores.items() if value is not None}


def missing_package(tracker: str) -> InputError:
    """Return the error of a tracker that is not installed."""
    return InputError(f"--to {tracker}: first pip install 'dataworth[{tracker}]'")


def failure(tracker: str, error: Exception) -> InputError:
    """Return the error of a tracker that does not answer or refuses a run, in one line."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"--to {tracker}: {reason[:300]}; the study is unchanged; the same command tries again"
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
