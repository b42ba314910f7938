"""Each run of a study as one Ray task; a run whose worker or node dies moves and resumes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import Machine, Run
from ..console import say
from ..data.prepare import PreparedData
from ..errors import InputError
from ..signals import Stop, listening
from ..storage.run_directory import RunDirectory
from .local import Failures
from .ray_cluster import connected, living_nodes, num_places
from .remote import LOOK_SECONDS, Task, Watch, still_to_do

RETRIES = 3  # after a worker or a node died
PATIENCE = 40.0  # seconds in which a node that can hold a run must come back
GRACE = 60.0  # seconds for the runs to be saved when the command is interrupted
LOST = "interrupted"


def on_ray(runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path) -> Failures:
    """Train the runs as tasks of a Ray cluster, or of one that is started here.

    Raises
    ------
    InputError
        If Ray is missing, its head is open to others, or no node can hold a run.
    """
    waiting, failures = still_to_do(runs, data, study_dir)
    if not waiting:
        return failures
    with connected(machine) as granted:
        num_places(granted, living_nodes())
        tasks = _Tasks(granted, data, study_dir.absolute())
        watch = Watch(runs, data, study_dir)
        try:
            return failures | _follow(waiting, tasks, watch)
        finally:
            tasks.cancel()
            watch.close()


class _Tasks:
    """The tasks that are on their way, and how often a run was lost."""

    def __init__(self, machine: Machine, data: PreparedData, study_dir: Path) -> None:
        import ray

        self.machine, self.study_dir, self.data = machine, study_dir, ray.put(data)
        self.runs: dict[Any, Run] = {}
        self.lost: dict[Run, list[str]] = {}
        gpus, cpus = machine.gpus_per_run or 0.0, machine.cpus_per_run or 1
        share = {"num_cpus": 0} if gpus > 1 else {"num_cpus": cpus, "num_gpus": gpus}
        self.function = ray.remote(**share, max_retries=0)(_train_group if gpus > 1 else _train)

    def submit(self, run: Run) -> None:
        """Queue a run; where it was lost before, its former process may still hold it."""
        task = Task(run, self.machine, self.study_dir, tuple(sys.argv))
        task = task.again() if run in self.lost else task
        self.runs[self.function.remote(task, self.data)] = run

    def ended(self) -> list[tuple[Run, str]]:
        """Wait a moment; return the runs that ended for good, with what went wrong."""
        import ray

        ended = []
        for task in ray.wait(list(self.runs), timeout=LOOK_SECONDS)[0]:
            run = self.runs.pop(task)
            try:
                note, reason = ray.get(task), "interrupted on its node"
            except ray.exceptions.RayTaskError as error:
                note, reason = f"failed: {error.cause}", ""
            except ray.exceptions.RayError as error:
                note, reason = LOST, type(error).__name__
            if note == LOST:
                self.lost.setdefault(run, []).append(reason)
                note = f"failed: lost {RETRIES + 1} times ({', '.join(self.lost[run])})"
                if len(self.lost[run]) <= RETRIES:
                    self.submit(run)
                    continue
            ended.append((run, note))
        return ended

    def cancel(self) -> None:
        """Let the runs that are trained be saved, and drop the others."""
        import ray

        for task in self.runs:
            ray.cancel(task)
        if self.runs:
            ray.wait(list(self.runs), num_returns=len(self.runs), timeout=GRACE)


def _follow(waiting: Sequence[Run], tasks: _Tasks, watch: Watch) -> Failures:
    """Submit the runs, show how they get on, and list at the end which ones had to move."""
    failures, placed = Failures(), time.monotonic()
    for run in waiting:
        tasks.submit(run)
    while tasks.runs:
        for run, note in tasks.ended():
            watch.finish(run, note)
            failures |= {str(run.path): note} if note else {}
        watch.look(list(tasks.runs.values()))
        try:
            num_places(tasks.machine, living_nodes())
            placed = time.monotonic()
        except InputError:
            if time.monotonic() - placed > PATIENCE:
                raise
    for run, reasons in tasks.lost.items():
        say(f"{run.path}: went on elsewhere {len(reasons)} times ({', '.join(reasons)})")
    return failures


def _train(task: Task, data: PreparedData) -> str:
    """Train one run on a worker; a signal, or the driver's, ends it after the step."""
    with listening():
        try:
            return task(data)
        except Stop:
            return LOST


def _train_group(task: Task, data: PreparedData) -> str:
    """Train one run on several GPUs: Ray Train makes the process group that the trainer finds."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    share = {"CPU": task.machine.cpus_per_run or 1, "GPU": 1}
    workers = int(task.machine.gpus_per_run or 1)

    def each() -> None:
        _train(task, data)

    TorchTrainer(
        each,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=True, resources_per_worker=share),
        run_config=RunConfig(
            storage_path=str(task.study_dir / ".ray"),
            failure_config=FailureConfig(max_failures=RETRIES),
        ),
    ).fit()
    directory = RunDirectory(task.study_dir / task.run.path)
    return "" if directory.usable else directory.standing
