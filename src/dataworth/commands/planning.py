"""What a command asks for, checked before anything is written: name, settings, data, runs."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Machine, Recipe, Run
from ..errors import InputError
from ..storage.disk_space import Need, free_bytes
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import (
    asked_before,
    check_study,
    newest_study,
    pinned,
    planned_runs,
    read_study,
)
from .flags import TrainFlags
from .parsing import NEWEST, parse_train

if TYPE_CHECKING:
    from ..data.datasets import ImageDataset


RESULTS_BYTES = 5_000_000  # tables and figures


@dataclass(frozen=True)
class Plan:
    """A study that can be trained as it stands."""

    name: str
    study_dir: Path
    recipe: Recipe  # as asked; data are loaded with ``data_recipe``
    data_recipe: Recipe  # the same, at the revision that the study was begun with
    runs: tuple[Run, ...]  # one variant after another, smallest first; or all, largest first
    composition: tuple[dict[str, Any], ...]  # of each subset size, for the first seed
    dataset: ImageDataset

    def describe(self) -> str:
        """Say what the data are."""
        splits = self.dataset.splits.items()
        counts = ", ".join(f"{len(split):,} {role}" for role, split in splits)
        first = f"{self.dataset.name}: {counts} images of {len(self.dataset.classes)} classes"
        return "\n".join([first, *(f"note: {note}" for note in self.dataset.notes)])

    def table(self) -> str:
        """Spell sizes, images and steps of the runs."""
        import pandas as pd

        whole, rows = len(self.dataset.splits["train"]), []
        runs = Counter((run.variant, run.recipe, run.subset_size) for run in self.runs)
        sizes = {row["size"]: row for row in self.composition}
        for (variant, recipe, size), number in runs.items():
            steps = recipe.epochs * recipe.epoch_steps(sizes[size]["images"], whole)
            named = {"variant": variant} if variant else {}
            rows.append({**named, **sizes[size], "runs": number, "steps": steps})
        total = sum(row["runs"] * row["steps"] for row in rows)
        text = pd.DataFrame(rows, dtype=object).to_string(index=False)
        batches = sorted({recipe.batch_size for _, recipe, _ in runs})
        return f"{text}\n{total:,} steps in all (batch {', '.join(map(str, batches))})"

    def needs(self, machine: Machine) -> list[Need]:
        """Say how much the study will write, and where; the disk must have room for it."""
        from ..data.cache import cache_need
        from ..data.prepare import cache_side, missing_splits
        from ..models.registry import weight_bytes

        side, data, classes = self.recipe.image_size, self.dataset, len(self.dataset.classes)
        unfinished = Counter(run.recipe for run in _unfinished(self.study_dir, self.runs))
        if not unfinished:
            return []
        missing = missing_splits(data, self.data_recipe, machine)
        weights = {one: weight_bytes(one.model, classes, side) for one in unfinished}
        snapshot = max(  # now, best, moments
            weights[one] * (2 + {"sgd": 1}.get(one.optimizer, 2)) for one in unfinished
        )
        checkpoints = sum(unfinished[one] * weights[one] for one in unfinished)
        checkpoints += 3 * snapshot  # one being written
        predicted = sum(len(data.splits[role]) for role in ("validation", "test"))
        results = len(self.runs) * predicted * (4 * classes + 8) + RESULTS_BYTES
        return [
            cache_need(data, missing, cache_side(side), machine.cache_dir),
            Need("checkpoints", self.study_dir, checkpoints),
            Need("results", machine.results_dir / self.name, results),
        ]

    def costs(self, machine: Machine, slots: int) -> str:
        """Spell disk and time of the runs that are not finished, from a few steps made here."""
        from ..devices import pick_device
        from ..launching.local import use_threads
        from ..training.throughput import estimate_seconds, measure_speed

        use_threads(machine)
        lines = [
            f"disk: {need} in {need.folder}, {free_bytes(need.folder) / 1e9:.1f} GB free"
            for need in self.needs(machine)
        ]
        runs, seconds, decoding = _unfinished(self.study_dir, self.runs), dict[Run, float](), 0.0
        for recipe in dict.fromkeys(run.recipe for run in runs):
            own = [run for run in runs if run.recipe == recipe]
            pinned_recipe = recipe.replace(dataset_revision=self.data_recipe.dataset_revision)
            speed = measure_speed(recipe, machine, self.dataset)
            cost = partial(
                estimate_seconds,
                recipe=pinned_recipe, dataset=self.dataset, machine=machine, speed=speed,
            )  # fmt: skip
            decoding = cost([])  # once, before the first run
            seconds |= {run: cost([run]) - decoding for run in own}
            name = f"{own[0].variant}, " if own[0].variant else ""
            total = decoding + sum(seconds[run] for run in own)
            lines.append(
                f"time: about {total / 60:.1f} minutes for {name}{len(own)} runs ({speed})"
            )
        wall = decoding + makespan([seconds[run] for run in runs], slots)
        times = f"{slots} at a time" if slots > 1 else "one at a time"
        lines.append(f"{machine.launcher}, {times}: about {wall / 60:.1f} minutes in all")
        if pick_device(machine.device).type == "cuda":
            gpus = 1.0 if machine.gpus_per_run is None else machine.gpus_per_run
            lines.append(f"GPU-hours: about {gpus * sum(seconds.values()) / 3600:.2f}")
        return "\n".join(lines)


def settle_study(flags: TrainFlags, words: Sequence[str] | None) -> tuple[TrainFlags, str]:
    """Settle the study's name and what is asked of it; ``flags`` are what the words say.

    The settings of a study that is resumed are its defaults, and its directory may have moved.

    Raises
    ------
    InputError
        If a word is wrong, there is nothing to resume, or the directory holds another recipe.
    """
    base = flags.machine.checkpoint_dir
    name = flags.experiment_id or _new_name(base)
    if flags.resume is not None:
        newest = flags.resume == NEWEST
        name = (flags.experiment_id or newest_study(base)) if newest else flags.resume
        there = read_study(base / name)
        stored = TrainFlags(
            recipe=Recipe(**there["recipe"]),
            study=asked_before(base / name)[-1],
            machine=Machine(**{**there["machine"], "checkpoint_dir": base}),
        )
        if flags.config is None:
            flags = parse_train(words, stored)
    check_study(base / name, flags.recipe, flags.study)
    return flags, name


def _new_name(checkpoint_dir: Path) -> str:
    """Name a study by the time; a second one of the same second gets a number as well."""
    time = f"{datetime.now():%Y%m%d-%H%M%S}"
    names = (f"{time}-{number}" if number > 1 else time for number in count(1))
    return next(name for name in names if not (checkpoint_dir / name).exists())


def plan_study(flags: TrainFlags, name: str) -> Plan:
    """Load the labels and settle the runs: those asked now, and with ``--resume`` all before.

    Raises
    ------
    InputError
        If the device, the model, the data or a subset size will not do.
    """
    from ..data.prepare import load_dataset
    from ..devices import check_precision
    from ..distributed.process_group import own_device
    from ..models.registry import check_image_size

    recipe, study_dir = flags.recipe, flags.machine.checkpoint_dir / name
    check_precision(own_device(flags.machine.device), flags.machine.precision)
    asked, before = flags.study.runs(recipe), planned_runs(study_dir)
    every = list(dict.fromkeys([*before, *asked]))
    if _unfinished(study_dir, every):  # a finished study is skipped in less time than this takes
        for model in {run.recipe.model for run in asked}:
            check_image_size(model, recipe.image_size)
    data_recipe = pinned(study_dir, recipe)
    dataset = load_dataset(data_recipe)
    if recipe.select_by == "top-5-error" and len(dataset.classes) < 6:
        raise InputError("--select-by top-5-error: needs at least 6 classes; use loss")
    composition = _composition(dataset, every)
    order = [row["size"] for row in composition]
    names = list(dict.fromkeys(run.variant for run in every))
    in_order = {
        "smallest-first": lambda r: (names.index(r.variant), order.index(r.subset_size), r.seed),
        "largest-first": lambda r: (-order.index(r.subset_size), names.index(r.variant), r.seed),
    }[flags.machine.order]
    runs = sorted(asked if flags.resume is None else every, key=in_order)
    return Plan(name, study_dir, recipe, data_recipe, tuple(runs), composition, dataset)


def _unfinished(study_dir: Path, runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not RunDirectory(study_dir / run.path).status]


def _composition(dataset: ImageDataset, runs: Sequence[Run]) -> tuple[dict[str, Any], ...]:
    """Describe each size for the first seed, having checked every size for every seed."""
    from ..data.subsets import composition

    sizes = tuple(dict.fromkeys(run.subset_size for run in runs))
    labels = dataset.splits["train"].labels
    tables = [composition(labels, sizes, seed) for seed in dict.fromkeys(r.seed for r in runs)]
    return tuple(tables[0])


def makespan(seconds: Iterable[float], slots: int) -> float:
    """Return the time until all is done, each run taking the first free slot in the given order.

    Parameters
    ----------
    seconds : iterable of float
        Duration of each run, in the order in which they start.
    slots : int
        Runs at a time.
    """
    free = [0.0] * slots
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)
