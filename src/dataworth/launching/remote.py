"""What the launchers share that train each run in a process of its own, perhaps far away."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from ..config import Machine, Run
from ..console import warn
from ..data.prepare import PreparedData
from ..errors import InputError
from ..storage.epoch_log import read_epochs
from ..storage.run_directory import RunDirectory
from .local import Failures, attempt, guessing_loss, open_bench, unfinished
from .progress import LINE_SECONDS, say_epoch, warn_if_stuck

LOOK_SECONDS = 1.0  # between two looks at the run directories
LEASE_SECONDS = 150.0  # until a lock of a dead process has ended: NFS takes 90 s to give it up


def settle(machine: Machine, has_gpus: bool, num_threads: int) -> Machine:
    """Return the machine as each run will see it: its share of devices, and absolute paths.

    Parameters
    ----------
    machine : Machine
        As asked.
    has_gpus : bool
        Whether the cluster has GPUs.
    num_threads : int
        What a run on a CPU takes by default: those of the local launcher, for the same bits.

    Raises
    ------
    InputError
        If the share is more than one GPU and not a whole number.
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


def still_to_do(
    runs: Sequence[Run], data: PreparedData, study_dir: Path
) -> tuple[list[Run], Failures]:
    """Return the runs that are left to train, and those that ended badly before.

    Raises
    ------
    InputError
        If the directory of any run belongs to another study.
    """
    waiting, failures = unfinished(runs, data, study_dir), Failures()
    for run in runs:
        directory = RunDirectory(study_dir / run.path)
        if run not in waiting:
            directory.tidy()
            failures |= {} if directory.usable else {str(run.path): directory.standing}
    return waiting, failures


@dataclass(frozen=True)
class Task:
    """One run, as it travels to whoever trains it."""

    run: Run
    machine: Machine
    study_dir: Path
    command: tuple[str, ...]  # what environment.json names
    patience: float = 0.0  # seconds to wait for another process that holds it: it may be dying

    def __call__(self, data: PreparedData) -> str:
        """Train the run in this process, going on after its last snapshot; say what went wrong."""
        sys.argv = list(self.command)
        try:
            bench = open_bench(self.run.recipe, self.machine, data)
        except InputError as error:
            return f"failed: {error}"
        deadline = time.monotonic() + self.patience
        while True:
            note, is_held = attempt(self.run, bench, self.study_dir, lambda _: None)
            if not is_held or time.monotonic() > deadline:
                return note
            time.sleep(LOOK_SECONDS)

    def again(self) -> Task:
        """Return the task for another try: where it was lost, its lock may outlive it."""
        return replace(self, patience=LEASE_SECONDS)


class Watch:
    """Progress of runs that other processes train, read from their directories."""

    def __init__(self, runs: Sequence[Run], data: PreparedData, study_dir: Path) -> None:
        self.study_dir, self.chance = study_dir, guessing_loss(data)
        self.names = {run: f"run {i}/{len(runs)}  {run.path}" for i, run in enumerate(runs, 1)}
        self.seen = {run: len(read_epochs(study_dir / run.path)) for run in runs}
        self.last_line = dict.fromkeys(runs, -math.inf)
        finished = sum(bool(RunDirectory(study_dir / run.path).status) for run in runs)
        self.bar = tqdm(total=len(runs), initial=finished, desc="study", unit="run", disable=None)

    def look(self, runs: Sequence[Run]) -> None:
        """Print the epochs that ended since the last look, of each run a line now and then."""
        for run in runs:
            name, total = self.names[run], run.recipe.epochs
            rows = read_epochs(self.study_dir / run.path)
            new, self.seen[run] = rows[self.seen[run] :], len(rows)
            for row in new:
                warn_if_stuck(name, row, total, self.chance)
            now = time.monotonic()
            if new and (len(rows) == total or now - self.last_line[run] > LINE_SECONDS):
                self.last_line[run] = now
                say_epoch(name, new[-1], total)

    def note(self, run: Run, note: str) -> None:
        """Say what became of a run, if that is not what was hoped for."""
        if note:
            warn(f"{self.names[run]}: {note}")

    def finish(self, run: Run, note: str) -> None:
        """End a run, saying why if it ended badly."""
        self.look([run])
        self.bar.update()
        self.note(run, note)

    def close(self) -> None:
        """Leave the screen."""
        self.bar.close()
