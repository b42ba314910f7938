"""Slurm launcher: each run of a study is one task of a job array, through submitit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
import yaml

from ..config import Machine
from ..data.prepare import PreparedData
from ..errors import InputError
from ..storage.run_directory import PlannedRun
from .local import Failures
from .remote import POLL_SECONDS, ProgressMonitor, Task, run_machine, split_finished

LOGS = ".slurm"  # folder in the study directory; each command has a new one in it for submitit
SOURCE = Path(__file__).parents[2]  # of the package: nodes import it from the shared storage
STRUCTURES = ("_setup", "_teardown", "_srun_args", "_additional_parameters")  # keys of submitit
SCALAR = re.compile(r"(true|false|null|(0|-?[1-9][0-9]*)(\.[0-9]+)?)?")
MINUTES, MAX_TIMEOUTS = 24 * 60, 100  # of a task by default; how often it is queued again


class Resubmitted(Task):
    """A task that submitit queues again after a time-out."""

    def checkpoint(self, data: PreparedData) -> Any:
        """Return the task to queue again; it resumes from the last snapshot."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self.retry(), data)


def on_slurm(planned_runs: Sequence[PlannedRun], machine: Machine, data: PreparedData) -> Failures:
    """Train the runs as a job array; a task that reaches its time limit is queued again.

    Parameters
    ----------
    planned_runs : sequence of PlannedRun
    machine : Machine
    data : PreparedData

    Raises
    ------
    InputError
        If submitit or Slurm is missing, or submitit does not know a setting.
    """
    unfinished, failures = split_finished(planned_runs)
    if not unfinished:
        return failures
    machine = run_machine(machine, has_gpus=False, num_threads=torch.get_num_threads())
    executor = _executor(machine, unfinished[0].study_dir.absolute())
    with executor.batch():
        jobs = {
            planned.run: executor.submit(Resubmitted.of(planned, machine), data)
            for planned in unfinished
        }
    monitor = ProgressMonitor(planned_runs, data)
    try:
        while jobs:
            time.sleep(POLL_SECONDS)
            monitor.poll(list(jobs))
            for run in [run for run, job in jobs.items() if job.done()]:
                reason = _reason(jobs.pop(run))
                monitor.finish(run, reason)
                failures |= {str(run.path): reason} if reason else {}
    finally:
        for job in jobs.values():
            job.cancel()
        monitor.close()
    return failures


def check_slurm(machine: Machine) -> None:
    """Check package and settings before the data are prepared.

    Raises
    ------
    InputError
        If submitit is not installed, or a setting is not ``key=value``.
    """
    if find_spec("submitit") is None:
        raise InputError("--launcher slurm: first pip install 'dataworth[slurm]'")
    _settings(machine)


def slurm_slots(machine: Machine) -> int:
    """Return the limit of tasks at a time; how many nodes are free, Slurm does not tell.

    A plan needs no submitit.
    """
    key = "slurm_array_parallelism"
    limit = _settings(machine).get(key, 256)  # submitit's default
    if not isinstance(limit, int) or limit < 1:
        raise InputError(f"--slurm {key}={limit}: not a number of tasks")
    return limit


def _settings(machine: Machine) -> Mapping[str, Any]:
    """Return the settings by key, with numbers, truth values and structures as such."""
    pairs = [word.partition("=") for word in machine.slurm]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise InputError(f"--slurm {key}: write key=value, such as slurm_partition=gpu")
    return {key: _value(key, text) for key, _, text in pairs}


def _value(key: str, text: str) -> Any:
    """Return a value as submitit wants it; what YAML alone takes for a number stays a text.

    YAML reads 1:30:00 as 5,400 and the account 0123 as 83, and ``no`` as false.
    """
    is_structure = key.endswith(STRUCTURES) and text.startswith(("[", "{"))
    if not (is_structure or SCALAR.fullmatch(text)):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--slurm {key}: {text!r} is no list or mapping in YAML: {reason}"
        ) from None


def _executor(machine: Machine, study_dir: Path) -> Any:
    """Return submitit's executor, for Slurm or, with ``cluster=local``, for this machine."""
    import submitit

    os.environ["PYTHONPATH"] = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    settings = {"name": study_dir.name, "timeout_min": MINUTES, **_settings(machine)}
    cluster = settings.pop("cluster", "slurm")
    gpus = machine.gpus_per_run or 0.0
    if gpus not in (0.0, 1.0):
        raise InputError(f"--gpus-per-run {gpus:g}: a task of the job array takes 0 or 1")
    # submitit unpickles results that it finds: a study of somebody else must not know the name
    logs = study_dir / LOGS / f"{datetime.now():%Y%m%d-%H%M%S}-{token_hex(8)}"
    if logs.parent.is_symlink():
        raise InputError(f"{logs.parent} is a symbolic link and is not followed; remove it")
    try:
        executor = submitit.AutoExecutor(logs, cluster=cluster, slurm_max_num_timeout=MAX_TIMEOUTS)
        share = {"cpus_per_task": machine.cpus_per_run, "gpus_per_node": int(gpus)}
        executor.update_parameters(**{**share, **settings})
    except (RuntimeError, NameError, AssertionError, ValueError) as error:
        raise InputError(f"--launcher slurm: {str(error).splitlines()[0]}") from None
    return executor


def _reason(job: Any) -> str:
    """Return why the run of a finished job is not complete; empty if it is."""
    try:
        return str(job.result())
    except Exception as error:  # from submitit: killed, timed out too often
        return f"failed: {str(error).strip().splitlines()[0]}; see {job.paths.stderr}"
