"""Each run of a study as one task of a Slurm job array, through submitit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml

from ..config import Machine, Run
from ..data.prepare import PreparedData
from ..errors import InputError
from .local import Failures
from .remote import LOOK_SECONDS, Task, Watch, settle, still_to_do

LOGS = ".slurm"  # folder within the study: what submitit writes
ROOT = Path(__file__).parents[2]  # of the code, which the nodes import from the shared storage
MINUTES, TIMEOUTS = 24 * 60, 100  # of a task by default, and how often one is queued again


class Resubmitted(Task):
    """A task that submitit queues again after a time-out."""

    def checkpoint(self, data: PreparedData) -> Any:
        """Go on later: the snapshots are on the disk."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self.again(), data)


def on_slurm(
    runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path
) -> Failures:
    """Train the runs as a job array; a task that reaches its time limit is queued again.

    Raises
    ------
    InputError
        If submitit or Slurm is missing, or submitit does not know a setting.
    """
    waiting, failures = still_to_do(runs, data, study_dir)
    if not waiting:
        return failures
    machine = settle(machine, has_gpus=False, num_threads=torch.get_num_threads())
    executor = _executor(machine, study_dir.absolute())
    words = (machine, study_dir.absolute(), tuple(sys.argv))
    with executor.batch():
        jobs = {run: executor.submit(Resubmitted(run, *words), data) for run in waiting}
    watch = Watch(runs, data, study_dir)
    try:
        while jobs:
            time.sleep(LOOK_SECONDS)
            watch.look(list(jobs))
            for run in [run for run, job in jobs.items() if job.done()]:
                note = _outcome(jobs.pop(run))
                watch.finish(run, note)
                failures |= {str(run.path): note} if note else {}
    finally:
        for job in jobs.values():
            job.cancel()
        watch.close()
    return failures


def check_slurm(machine: Machine) -> None:
    """Refuse what cannot work before anything is prepared.

    Raises
    ------
    InputError
        If submitit is missing, or a setting is not ``key=value``.
    """
    if find_spec("submitit") is None:
        raise InputError("--launcher slurm: first pip install 'dataworth[slurm]'")
    _settings(machine)


def slurm_slots(machine: Machine) -> int:
    """Count the runs that the job array allows at a time; how many there are is Slurm's secret."""
    check_slurm(machine)
    return int(_settings(machine).get("slurm_array_parallelism", 256))  # submitit's default


def _settings(machine: Machine) -> dict[str, Any]:
    pairs = [word.partition("=") for word in machine.slurm]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise InputError(f"--slurm {key}: write key=value, such as slurm_partition=gpu")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _executor(machine: Machine, study_dir: Path) -> Any:
    """Return what submits jobs: to Slurm, or with ``cluster=local`` to this machine, for trials."""
    import submitit

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {"name": study_dir.name, "timeout_min": MINUTES, **_settings(machine)}
    cluster = settings.pop("cluster", "slurm")
    gpus = machine.gpus_per_run or 0.0
    if gpus not in (0.0, 1.0):
        raise InputError(f"--gpus-per-run {gpus:g}: a task of the job array takes 0 or 1")
    try:
        executor = submitit.AutoExecutor(
            study_dir / LOGS, cluster=cluster, slurm_max_num_timeout=TIMEOUTS
        )
        share = {"cpus_per_task": machine.cpus_per_run, "gpus_per_node": int(gpus)}
        executor.update_parameters(**{**share, **settings})
    except (RuntimeError, NameError, AssertionError, ValueError) as error:
        raise InputError(f"--launcher slurm: {str(error).splitlines()[0]}") from None
    return executor


def _outcome(job: Any) -> str:
    """Say what went wrong with a task, or nothing."""
    try:
        return str(job.result())
    except Exception as error:  # submitit's own: killed, timed out too often
        return f"failed: {str(error).strip().splitlines()[0]}; see {job.paths.stderr}"
