"""Ray launcher: each run of a study is one task, resumed elsewhere if its node is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..config import Machine, Run
from ..console import say
from ..data.prepare import PreparedData
from ..errors import InputError
from ..signals import SignalInterrupt, handle_signals
from ..storage.run_directory import PlannedRun
from .local import Failures
from .ray_cluster import alive_nodes, connected, num_slots
from .remote import POLL_SECONDS, ProgressMonitor, Task, split_finished

MAX_RETRIES = 3  # after a worker or a node died
NODE_SECONDS = 40.0  # within which a node that can hold a run must come back
SAVE_SECONDS = 60.0  # for the runs to be saved when the command is interrupted
LOST = "interrupted"


def on_ray(planned_runs: Sequence[PlannedRun], machine: Machine, data: PreparedData) -> Failures:
    """Train the runs as tasks of a Ray cluster, or of one that is started here.

    Parameters
    ----------
    planned_runs : sequence of PlannedRun
    machine : Machine
    data : PreparedData

    Raises
    ------
    InputError
        If Ray is missing, its head is open to others, or no node can hold a run.
    """
    unfinished, failures = split_finished(planned_runs)
    if not unfinished:
        return failures
    with connected(machine) as per_run:
        num_slots(per_run, alive_nodes())
        tasks = _Tasks(per_run, data)
        monitor = ProgressMonitor(planned_runs, data)
        try:
            return failures | _train_all(unfinished, tasks, monitor)
        finally:
            tasks.cancel()
            monitor.close()


class _Tasks:
    """The submitted tasks, and why runs were lost so far."""

    def __init__(self, machine: Machine, data: PreparedData) -> None:
        import ray

        self.machine, self.data = machine, ray.put(data)
        self.planned: dict[Any, PlannedRun] = {}  # by Ray's reference of the task
        self.lost: dict[Run, list[str]] = {}
        gpus, cpus = machine.gpus_per_run or 0.0, machine.cpus_per_run or 1
        share = {"num_cpus": 0} if gpus > 1 else {"num_cpus": cpus, "num_gpus": gpus}
        self.function = ray.remote(**share, max_retries=0)(_train_group if gpus > 1 else _train)

    def submit(self, planned: PlannedRun) -> None:
        """Queue a run; if it was lost before, its former process may still hold its lock."""
        task = Task.of(planned, self.machine)
        task = task.retry() if planned.run in self.lost else task
        self.planned[self.function.remote(task, self.data)] = planned

    def pop_finished(self) -> list[tuple[Run, str]]:
        """Wait a moment; return the runs that ended, with the reason if they are not complete."""
        import ray

        finished = []
        for task in ray.wait(list(self.planned), timeout=POLL_SECONDS)[0]:
            planned = self.planned.pop(task)
            run = planned.run
            try:
                reason, cause = ray.get(task), "interrupted on its node"
            except ray.exceptions.RayTaskError as error:
                reason, cause = f"failed: {error.cause}", ""
            except ray.exceptions.RayError as error:
                reason, cause = LOST, type(error).__name__
            if reason == LOST:
                self.lost.setdefault(run, []).append(cause)
                reason = f"failed: lost {MAX_RETRIES + 1} times ({', '.join(self.lost[run])})"
                if len(self.lost[run]) <= MAX_RETRIES:
                    self.submit(planned)
                    continue
            finished.append((run, reason))
        return finished

    def cancel(self) -> None:
        """Interrupt the running tasks, which save their runs, and drop the others."""
        import ray

        for task in self.planned:
            ray.cancel(task)
        if self.planned:
            ray.wait(list(self.planned), num_returns=len(self.planned), timeout=SAVE_SECONDS)


def _train_all(
    unfinished: Sequence[PlannedRun], tasks: _Tasks, monitor: ProgressMonitor
) -> Failures:
    """Submit the runs, report their progress, and at the end which ones were resumed elsewhere."""
    failures, last_fit = Failures(), time.monotonic()
    for planned in unfinished:
        tasks.submit(planned)
    while tasks.planned:
        for run, reason in tasks.pop_finished():
            monitor.finish(run, reason)
            failures |= {str(run.path): reason} if reason else {}
        monitor.poll([planned.run for planned in tasks.planned.values()])
        try:
            num_slots(tasks.machine, alive_nodes())
            last_fit = time.monotonic()
        except InputError:
            if time.monotonic() - last_fit > NODE_SECONDS:
                raise
    for run, causes in tasks.lost.items():
        say(f"{run.path}: resumed elsewhere {len(causes)} times ({', '.join(causes)})")
    return failures


def _train(task: Task, data: PreparedData) -> str:
    """Train one run on a worker; a signal or ``ray.cancel`` ends it after the current step."""
    with handle_signals():
        try:
            return task(data)
        except SignalInterrupt:
            return LOST


def _train_group(task: Task, data: PreparedData) -> str:
    """Train one run on several GPUs, in the process group that Ray Train makes."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    share = {"CPU": task.machine.cpus_per_run or 1, "GPU": 1}
    workers = int(task.machine.gpus_per_run or 1)

    def train_rank() -> None:
        _train(task, data)

    TorchTrainer(
        train_rank,
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=True, resources_per_worker=share),
        run_config=RunConfig(
            storage_path=str(task.planned.study_dir / ".ray"),
            failure_config=FailureConfig(max_failures=MAX_RETRIES),
        ),
    ).fit()
    directory = task.planned.directory
    return "" if directory.usable else directory.state
