"""Shared by the Ray and Slurm launchers: the task of one run, and progress read from disk."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tqdm import tqdm

from ..config import Machine, Run
from ..console import warn
from ..data.prepare import PreparedData
from ..distributed.process_group import world_size
from ..errors import InputError
from ..models.batch_memory import check_training_memory
from ..storage.epoch_log import read_epochs
from ..storage.run_directory import PlannedRun, RunDirectory
from ..training.trainer import VALIDATION_BATCH, Trainer
from .local import Failures, class_frequency_loss, set_num_threads, train_run
from .progress import LINE_SECONDS, ChanceLevelWarning, print_epoch

POLL_SECONDS = 1.0  # between two reads of the run directories
LEASE_SECONDS = 150.0  # until the lock of a dead process has ended: on NFS after 90 s


def run_machine(machine: Machine, has_gpus: bool, num_threads: int) -> Machine:
    """Return the machine settings of one run: its device, GPUs and CPUs, and absolute paths.

    Parameters
    ----------
    machine : Machine
        As requested.
    has_gpus : bool
        Whether the cluster has GPUs.
    num_threads : int
        Default for a run on CPUs: that of the local launcher, so that the bits are the same.

    Raises
    ------
    InputError
        If a run is to have more than one GPU and not a whole number.
    """
    gpus = machine.gpus_per_run
    if gpus is None:
        gpus = float((has_gpus and machine.device == "auto") or machine.device.startswith("cuda"))
    if gpus > 1 and not gpus.is_integer():
        raise InputError(f"--gpus-per-run {gpus}: above 1, use a whole number")
    folders = {name: getattr(machine, name).absolute() for name in ("cache_dir", "checkpoint_dir")}
    return machine.replace(
        **folders,
        gpus_per_run=gpus,
        cpus_per_run=machine.cpus_per_run or (1 if gpus else num_threads),
        device="cuda" if gpus else "mps" if machine.device == "mps" else "cpu",
    )


def split_finished(planned_runs: Sequence[PlannedRun]) -> tuple[list[PlannedRun], Failures]:
    """Return the unfinished runs, and the finished ones that are not complete."""
    unfinished, failures = list[PlannedRun](), Failures()
    for planned in planned_runs:
        directory = planned.directory
        if not directory.status:
            unfinished.append(planned)
            continue
        directory.remove_leftovers()
        if not directory.usable:
            failures[str(planned.run.path)] = directory.state
    return unfinished, failures


@dataclass(frozen=True)
class Task:
    """The training of one run, sent to another process."""

    planned: PlannedRun
    machine: Machine  # of the run
    command: tuple[str, ...]  # for environment.json
    patience: float = 0.0  # seconds to wait for the lock of another process, which may be dying

    @classmethod
    def of(cls, planned: PlannedRun, machine: Machine) -> Self:
        """Return the task of a run, with an absolute path; called in the launching process."""
        directory = RunDirectory(planned.directory.path.absolute())
        return cls(replace(planned, directory=directory), machine, tuple(sys.argv))

    def __call__(self, data: PreparedData) -> str:
        """Train the run in this process from its last snapshot; return why it is not complete."""
        sys.argv = list(self.command)
        set_num_threads(self.machine)
        try:
            planned = self.planned
            trainer = Trainer.build(planned.run.recipe, self.machine, data, planned.init_file)
            _check_memory(planned, trainer)
        except InputError as error:
            return f"failed: {error}"
        deadline = time.monotonic() + self.patience
        while True:
            reason, is_held = train_run(self.planned, trainer, lambda _: None)
            if not is_held or time.monotonic() > deadline:
                return reason
            time.sleep(POLL_SECONDS)

    def retry(self) -> Self:
        """Return the task for another try: the lock of the lost process may outlive it."""
        return replace(self, patience=LEASE_SECONDS)


def _check_memory(planned: PlannedRun, trainer: Trainer) -> None:
    """Refuse a run that needs more memory than this process's machine has."""
    splits, recipe = trainer.data.dataset.splits, trainer.recipe
    check_training_memory(
        recipe,
        len(trainer.data.dataset.classes),
        min(recipe.batch_size, len(planned.indices)) // world_size() or 1,
        min(VALIDATION_BATCH, len(splits["validation"])),
        trainer.device,
        trainer.machine.precision,
    )


class ProgressMonitor:
    """Progress of runs that other processes train, read from their directories."""

    def __init__(self, planned_runs: Sequence[PlannedRun], data: PreparedData) -> None:
        self.chance_warning = ChanceLevelWarning(class_frequency_loss(data))
        runs = [planned.run for planned in planned_runs]
        self.directories = {planned.run: planned.directory for planned in planned_runs}
        self.names = {run: f"run {i}/{len(runs)}  {run.path}" for i, run in enumerate(runs, 1)}
        self.num_seen = {run: len(read_epochs(self.directories[run].path)) for run in runs}
        self.last_line = dict.fromkeys(runs, -math.inf)
        finished = sum(bool(directory.status) for directory in self.directories.values())
        self.bar = tqdm(total=len(runs), initial=finished, desc="study", unit="run", disable=None)

    def poll(self, runs: Sequence[Run]) -> None:
        """Report the epochs that ended since the last poll; of each run a line now and then."""
        for run in runs:
            name, num_epochs = self.names[run], run.recipe.epochs
            rows = read_epochs(self.directories[run].path)
            new_rows, self.num_seen[run] = rows[self.num_seen[run] :], len(rows)
            for row in new_rows:
                self.chance_warning.check(name, row, run.recipe)
            now = time.monotonic()
            is_due = len(rows) == num_epochs or now - self.last_line[run] > LINE_SECONDS
            if new_rows and is_due:
                self.last_line[run] = now
                print_epoch(name, new_rows[-1], num_epochs)

    def finish(self, run: Run, reason: str) -> None:
        """End a run; print the reason if it is not complete."""
        self.poll([run])
        self.bar.update()
        if reason:
            warn(f"{self.names[run]}: {reason}")

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
