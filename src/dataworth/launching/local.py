"""Local launcher: trains the runs of a study here, one after another or several side by side."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch

from ..config import Machine, Run
from ..console import say, warn
from ..data.decoding import num_cores
from ..data.pixels import pixels_on_device
from ..data.prepare import PreparedData
from ..devices import use_threads
from ..distributed.process_group import errors_fatal_to_group, own_device, world_size
from ..errors import HeldError, InputError, os_error_message
from ..evaluation.metrics import chance_loss
from ..signals import SignalInterrupt
from ..storage.environment import begun_threads
from ..storage.epoch_log import EpochRow
from ..storage.files import write_whole
from ..storage.run_directory import PlannedRun
from ..training.throughput import describe_lack_of_memory
from ..training.trainer import Trainer
from .progress import StudyProgress
from .side_by_side import DEATH, REPORT, Event, WorkerPool
from .split import Estimate, Split, choose_split, forget_probe, keep_split

Failures = dict[str, str]  # path of a run -> why it is not complete
Outcome = tuple[str, bool]  # why a run is not complete; whether another process holds its lock
MAX_DEATHS = 2  # of processes that train a run, before it is given up


def local(planned_runs: Sequence[PlannedRun], machine: Machine, data: PreparedData) -> Failures:
    """Train the runs on this machine; a failed run does not stop the others.

    Parameters
    ----------
    planned_runs : sequence of PlannedRun
        Runs of one recipe follow one another.
    machine : Machine
        Its ``jobs`` are trained at a time: in this process if that is one.
    data : PreparedData

    Raises
    ------
    InputError
        If other processes hold the locks of all unfinished runs.
    """
    unfinished = [planned.run for planned in planned_runs if not planned.directory.status]
    if machine.jobs not in ("auto", 1):
        on_device = pixels_on_device(
            data, own_device(machine.device), machine.residency, machine.min_jobs
        )
        machine = machine.replace(residency="device" if on_device else "host")
    pool = WorkerPool(RunTrainer(machine, data))
    estimate = Estimate(unfinished, machine, data.dataset, pool)
    progress = StudyProgress(len(planned_runs), class_frequency_loss(data))
    try:
        split = choose_split(estimate, planned_runs[0].study_dir)
        keep_split(split, estimate, planned_runs[0].study_dir)
        if split.jobs == 1:
            pool.stop()
            outcomes = _one_after_another(planned_runs, pool.context, split.threads, progress)
        else:
            outcomes = _SideBySide(split, pool, progress).train(planned_runs)
    finally:
        progress.close()
        use_threads(estimate.cores)
        pool.stop()
    held = [reason for reason, is_held in outcomes.values() if is_held]
    if held and len(held) == len(unfinished):
        raise InputError(f"nothing left to do here: {'; '.join(held)}")
    return {str(run.path): reason for run, (reason, _) in outcomes.items() if reason}


@dataclass
class RunTrainer:
    """Trains runs one after another in one process, which may be a worker's."""

    machine: Machine
    data: PreparedData
    trainer: Trainer | None = None

    def train(
        self, planned: PlannedRun, threads: int, report: Callable[[EpochRow], None]
    ) -> Outcome:
        """Train a run; return why it is not complete, and whether another process holds its lock.

        Parameters
        ----------
        planned : PlannedRun
        threads : int
            Of torch: the last bits of the weights depend on it.
        report : callable
            Called with the measurements of each epoch.
        """
        use_threads(threads)
        recipe = planned.run.recipe
        if self.trainer is None:
            self.trainer = Trainer.build(recipe, self.machine, self.data, planned.init_file)
        elif recipe != self.trainer.recipe:  # the next variant; the pixels are kept
            self.trainer = self.trainer.for_recipe(recipe, planned.init_file)
        return train_run(planned, self.trainer, report)


@dataclass(frozen=True)
class Training:
    """A request to a worker: train a run."""

    planned: PlannedRun
    threads: int

    def __call__(self, trainer: RunTrainer, report: Callable[[EpochRow], None]) -> Outcome:
        """Train the run in the worker's process."""
        forget_probe()
        return trainer.train(self.planned, self.threads, report)


def run_threads(planned: PlannedRun, machine: Machine, default: int) -> int:
    """Return the threads of a run: those that it was begun with, if this machine has as many.

    Parameters
    ----------
    planned : PlannedRun
    machine : Machine
        Its ``cpus_per_run`` come first.
    default : int
        Threads of a run that is not begun.
    """
    directory = planned.directory
    is_begun = directory.state == "interrupted"
    begun = (begun_threads(directory.path) if is_begun else None) or default
    is_fixed = machine.cpus_per_run is not None or own_device(machine.device).type != "cpu"
    return default if is_fixed or begun > num_cores() or world_size() > 1 else begun


def _one_after_another(
    planned_runs: Iterable[PlannedRun], trainer: RunTrainer, threads: int, progress: StudyProgress
) -> dict[Run, Outcome]:
    outcomes = {}
    for planned in planned_runs:
        run = planned.run
        progress.start(run)
        num_threads = run_threads(planned, trainer.machine, threads)
        try:
            outcomes[run] = trainer.train(planned, num_threads, partial(progress.report, run))
        except SignalInterrupt:
            progress.finish(run, "interrupted")
            raise
        progress.finish(run, outcomes[run][0])
    if trainer.trainer and (seconds := trainer.trainer.preparing_seconds):
        say(f"compiling and recording the step took {seconds:.1f} s, once for all runs")
    return outcomes


@dataclass
class _SideBySide:
    """Trains runs in the workers of a pool."""

    split: Split
    pool: WorkerPool
    progress: StudyProgress
    outcomes: dict[Run, Outcome] = field(default_factory=dict)
    deaths: dict[Run, list[str]] = field(default_factory=dict)
    queue: deque[PlannedRun] = field(default_factory=deque)

    def train(self, planned_runs: Iterable[PlannedRun]) -> dict[Run, Outcome]:
        """Train the unfinished runs, the longest first; return the outcome of all."""
        for planned in planned_runs:
            if planned.directory.status:
                planned.directory.remove_leftovers()
                self.progress.start(planned.run)
                self._finish(planned.run, ("" if planned.directory.usable else "diverged", False))
            else:
                self.queue.append(planned)
        self.queue = deque(sorted(self.queue, key=self._work, reverse=True))
        self.pool.shrink(self.split.jobs)
        try:
            while self.queue or self.pool.busy():
                self._start_runs()
                for event in self.pool.wait():
                    self._handle(event)
        except SignalInterrupt:
            running = [request.planned for request in self.pool.busy()]
            with suppress(SignalInterrupt):
                self.pool.stop()
            for planned in running:
                is_complete = planned.directory.usable
                self.progress.finish(planned.run, "" if is_complete else planned.directory.state)
            raise
        return self.outcomes

    def _work(self, planned: PlannedRun) -> int:
        """Return the images that a run trains on, all epochs taken together."""
        recipe, data = planned.run.recipe, self.pool.context.data
        num_train = len(data.dataset.splits["train"])
        steps = recipe.steps_per_epoch(len(planned.indices), num_train)
        return recipe.epochs * steps * min(recipe.batch_size, len(planned.indices))

    def _start_runs(self) -> None:
        """Give runs to idle workers, as long as there are threads for them."""
        machine, split = self.pool.context.machine, self.split
        running, started = self.pool.busy(), list[Training]()
        in_use = sum(request.threads for request in running)
        while self.queue and len(running) + len(started) < split.jobs:
            threads = run_threads(self.queue[0], machine, split.threads)
            if in_use and in_use + threads > split.jobs * split.threads:
                break
            in_use += threads
            started.append(Training(self.queue.popleft(), threads))
        self.pool.start(len(running) + len(started), split.threads)
        for request in started:
            if request.planned.run not in self.deaths:
                self.progress.start(request.planned.run)
            self.pool.ask(request)

    def _handle(self, event: Event) -> None:
        """Report an epoch or the end of a run; resume the run of a process that died once."""
        if event.request is None:
            return
        planned = event.request.planned
        if event.kind == REPORT:
            self.progress.report(planned.run, event.value)
        elif event.kind != DEATH:
            self._finish(planned.run, event.value)
        else:
            deaths = self.deaths.setdefault(planned.run, [])
            deaths.append(event.value)
            hint = "; too little memory?" if "SIGKILL" in event.value else ""
            if len(deaths) < MAX_DEATHS:
                warn(f"{planned.run.path}: its process was {event.value}{hint}; it is resumed")
                self.queue.append(planned)
                return
            reason = f"failed: its process was {' and '.join(deaths)}{hint}; try fewer --jobs"
            write_error(planned, reason)
            self._finish(planned.run, (reason, False))

    def _finish(self, run: Run, outcome: Outcome) -> None:
        self.outcomes[run] = outcome
        self.progress.finish(run, outcome[0])


def train_run(
    planned: PlannedRun, trainer: Trainer, report: Callable[[EpochRow], None]
) -> tuple[str, bool]:
    """Train one run; turn its errors into the reason why it is not complete.

    Parameters
    ----------
    planned : PlannedRun
    trainer : Trainer
        Of the run's recipe.
    report : callable
        Called with the measurements of each epoch.

    Returns
    -------
    reason : str
        Empty if the run is complete.
    is_held : bool
        Whether another process holds the run's lock.
    """
    try:
        status = trainer.train(planned, report)
        return "" if status == "complete" else status, False
    except HeldError as error:
        return str(error), True
    except errors_fatal_to_group():
        raise
    except torch.OutOfMemoryError:
        reason = details = ""  # measured below: the exception holds the batch's memory
    except InputError as error:
        reason = details = f"failed: {error}"
    except OSError as error:  # most often a full disk: the path says more than a traceback
        reason = details = f"failed: {os_error_message(error)}"
    except Exception as error:
        reason, details = f"failed: {type(error).__name__}: {error}", traceback.format_exc()
    reason = reason or f"failed: {describe_lack_of_memory(trainer, len(planned.indices))}"
    write_error(planned, details or reason)
    return reason, False


def write_error(planned: PlannedRun, details: str) -> None:
    """Write error.txt, which says why a run failed."""
    with suppress(OSError):
        write_whole(planned.directory.path / "error.txt", details.encode())


def set_num_threads(machine: Machine) -> None:
    """Let torch use as many threads as a run has CPUs."""
    if machine.cpus_per_run:
        use_threads(machine.cpus_per_run)


def class_frequency_loss(data: PreparedData) -> float:
    """Return the training loss at chance level: a model that predicts the class frequencies."""
    return chance_loss(torch.from_numpy(data.dataset.splits["train"].labels))
