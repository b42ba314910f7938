"""``--jobs``: how many runs the local launcher trains at a time, and how many threads each has."""

from __future__ import annotations

import gc
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from ..config import Machine, Recipe, Run
from ..console import say
from ..data.datasets import ImageDataset
from ..devices import release_free_memory, use_threads
from ..distributed.process_group import own_device, world_size
from ..errors import InputError
from ..memory import available_bytes, private_bytes
from ..storage.files import read_json, write_json
from ..training.throughput import Probe, Throughput, training_seconds
from .side_by_side import DEATH, RESULT, WorkerPool

FILE = "jobs.json"  # in the study's folder: the measured split, so that a resumed study keeps it
SECONDS = 0.4  # of training steps that are timed
REPAYS = 10.0  # other splits are measured if the study lasts as many times the measurements,
START_SECONDS = 3.0  # or with the start of processes, if several runs at a time are among them
MIN_GAIN = 1.1  # of another split over one run at a time with all threads


@dataclass(frozen=True)
class Split:
    """Runs at a time, and threads of each."""

    jobs: int = 1
    threads: int = 1

    def __str__(self) -> str:
        at_a_time = f"{self.jobs} at a time" if self.jobs > 1 else "one at a time"
        return f"{at_a_time}, {self.threads} thread{'s' if self.threads > 1 else ''} each"


@dataclass(frozen=True)
class Timing:
    """A request to a worker: time steps and forward passes of a recipe."""

    recipe: Recipe
    machine: Machine
    num_classes: int
    threads: int
    seconds: float

    def __call__(self, _context: Any = None, _report: Any = None) -> Throughput:
        """Return the throughput of this process."""
        use_threads(self.threads)
        return _probe(self.recipe, self.machine, self.num_classes).throughput(self.seconds)


@lru_cache(maxsize=1)
def _probe(recipe: Recipe, machine: Machine, num_classes: int) -> Probe:
    return Probe(recipe, machine, num_classes)


def forget_probe() -> None:
    """Release the memory of the model that was timed, if there is one."""
    if _probe.cache_info().currsize:
        _probe.cache_clear()
        gc.collect()
        release_free_memory()


@dataclass
class Estimate:
    """Duration of some runs with each split, from its measured throughput."""

    runs: Sequence[Run]
    machine: Machine
    dataset: ImageDataset
    pool: WorkerPool
    throughput: dict[tuple[Split, Recipe], Throughput] = field(default_factory=dict)  # of one run
    cores: int = field(default_factory=torch.get_num_threads)
    measuring: float = 0.0  # seconds that the measurement of a split took, for all recipes

    def seconds(self, split: Split) -> float:
        """Return how long all runs take, the longest first if there are several at a time."""
        began = time.perf_counter()
        durations = [self.run_seconds(run, split) for run in self.runs]
        self.measuring = max(self.measuring, time.perf_counter() - began)
        return makespan(
            sorted(durations, reverse=True) if split.jobs > 1 else durations, split.jobs
        )

    def run_seconds(self, run: Run, split: Split) -> float:
        """Return how long a run takes."""
        return training_seconds(run, self.dataset, self.of_run(run, split))

    def of_run(self, run: Run, split: Split) -> Throughput:
        """Return the throughput of a run; the first of its kind is measured, after a warm-up."""
        batch_size = min(run.recipe.batch_size, len(self.dataset.splits["train"]))
        recipe = run.recipe.replace(  # as fast, whatever the rest
            batch_size=batch_size, budget="epochs", epochs=1, learning_rate=0.01,
            label_noise=0.0, init=None,
        )  # fmt: skip
        if (split, recipe) not in self.throughput:
            self._measure(split, recipe, 0.0)
            self.throughput[split, recipe] = self._measure(split, recipe, SECONDS)
        return self.throughput[split, recipe]

    def measured(self) -> list[Split]:
        """Return the splits that all recipes were measured with."""
        recipes_of = Counter(split for split, _ in self.throughput)
        return [split for split, count in recipes_of.items() if count == max(recipes_of.values())]

    def _measure(self, split: Split, recipe: Recipe, seconds: float) -> Throughput:
        """Return the mean throughput of the runs of a split, measured at the same time."""
        num_classes = len(self.dataset.classes)
        timing = Timing(recipe, self.machine, num_classes, split.threads, seconds)
        if split.jobs > 1:
            rates = ask_all(self.pool, timing, split)
        else:
            rates = [timing()]
            use_threads(self.cores)
        return Throughput(
            mean(rate.training for rate in rates), mean(rate.validation for rate in rates)
        )


def ask_all(pool: WorkerPool, request: Callable[..., Any], split: Split) -> list[Any]:
    """Return the answers of ``split.jobs`` workers to the same request, at the same time.

    Parameters
    ----------
    pool : WorkerPool
    request : callable
    split : Split

    Raises
    ------
    InputError
        If a worker dies.
    """
    pool.start(split.jobs, split.threads)
    for _ in range(split.jobs):
        pool.ask(request)
    answers, reason = [], ""
    while pool.busy():
        for event in pool.wait():
            if event.kind == RESULT:
                answers.append(event.value)
            elif event.kind == DEATH:
                reason = f"a process that measures its speed was {event.value}"
    if reason:
        raise InputError(f"--jobs: {reason}; try --jobs 1")
    return answers


def choose_split(estimate: Estimate, study_dir: Path) -> Split:
    """Return the split that ``--jobs`` means.

    Parameters
    ----------
    estimate : Estimate
        Of the unfinished runs.
    study_dir : Path
        Folder of the study, whose split was perhaps measured before.
    """
    machine, num_runs = estimate.machine, len(estimate.runs)
    if machine.jobs != "auto":
        threads = machine.cpus_per_run or max(1, estimate.cores // machine.jobs)
        return Split(max(1, min(machine.jobs, num_runs)), threads)
    one = Split(1, machine.cpus_per_run or estimate.cores)
    is_on_cpu = own_device(machine.device).type == "cpu" and world_size() == 1
    if not is_on_cpu or estimate.cores == 1 or not num_runs:
        return one
    if stored := _stored_split(study_dir, estimate):
        return Split(min(stored.jobs, num_runs), stored.threads)
    try:
        return _fastest(estimate, one)
    finally:
        forget_probe()


def _fastest(estimate: Estimate, one: Split) -> Split:
    """Measure other splits than one run at a time; return that with which the study ends soonest.

    Threads of one run wait for each other: where other processes are busy, fewer may be faster. One
    thread alone is no faster than several runs of one thread each.
    """
    seconds = {one: estimate.seconds(one)}
    fixed = estimate.machine.cpus_per_run
    fitting = available_bytes() // max(1, private_bytes())  # this process has measured one run
    most = max(1, min(len(estimate.runs), estimate.cores // (fixed or 1), fitting))
    numbers = sorted({most, *(2**i for i in range(most.bit_length()))})  # 1, 2, 4, ..., most
    several = [Split(n, fixed or estimate.cores // n) for n in numbers]
    several += [] if fixed else [Split(most, 1)]
    alone = [] if fixed else [Split(1, 1)]
    for splits, start in ((several, START_SECONDS), (alone, 0.0)):
        others = [split for split in dict.fromkeys(splits) if split != one]
        if seconds[one] > REPAYS * (len(others) * estimate.measuring + start):
            for split in others:
                with suppress(InputError):  # one process too many for the memory
                    seconds[split] = estimate.seconds(split)
            break
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] * MIN_GAIN < seconds[one] else one


def keep_split(split: Split, estimate: Estimate, study_dir: Path) -> None:
    """Print the split; where several were measured, print their estimates and store the choice.

    Parameters
    ----------
    split : Split
    estimate : Estimate
    study_dir : Path
    """
    measured = estimate.measured()
    if len(measured) < 2:
        if split.jobs > 1:
            say(f"runs: {split}")
        return
    minutes = {f"{m.jobs} x {m.threads}": estimate.seconds(m) / 60 for m in measured}
    listed = ", ".join(f"{name} {value:.1f}" for name, value in minutes.items())
    say(f"runs: {split} (estimated minutes, runs x threads: {listed})")
    content = {
        "jobs": split.jobs,
        "threads": split.threads,
        "cores": estimate.cores,
        "recipes": sorted({_name(run) for run in estimate.runs}),
        "estimated_minutes": minutes,
    }
    write_json(study_dir / FILE, content)


def _stored_split(study_dir: Path, estimate: Estimate) -> Split | None:
    """Return the split that was measured on as many cores for these recipes, if any."""
    values: Mapping[str, Any] = {}
    with suppress(OSError, InputError):
        values = read_json(study_dir / FILE)
    names, cores = {_name(run) for run in estimate.runs}, estimate.cores
    stored_names, stored_cores = values.get("recipes"), values.get("cores")
    if not isinstance(stored_names, list) or not names <= set(map(str, stored_names)):
        return None
    jobs, threads = (values.get(key) for key in ("jobs", "threads"))
    if stored_cores != cores or not isinstance(jobs, int) or not isinstance(threads, int):
        return None
    if estimate.machine.cpus_per_run not in (None, threads):
        return None
    return Split(jobs, threads) if min(jobs, threads) >= 1 and jobs * threads <= cores else None


def _name(run: Run) -> str:
    recipe = run.recipe
    return f"{recipe.model}, {recipe.image_size} px, batch {recipe.batch_size}"


def makespan(seconds: Iterable[float], num_slots: int) -> float:
    """Return the wall-clock time of all runs, each started in the first free slot, in order.

    Parameters
    ----------
    seconds : iterable of float
        Duration of each run, in the order in which they start.
    num_slots : int
        Runs at a time.
    """
    free_at = [0.0] * num_slots
    for duration in seconds:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)
