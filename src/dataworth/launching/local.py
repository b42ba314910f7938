"""Local launcher: trains the runs of a study one after another in this process."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from ..config import Machine
from ..console import say
from ..data.prepare import PreparedData
from ..distributed.process_group import errors_fatal_to_group
from ..errors import HeldError, InputError, os_error_message
from ..evaluation.metrics import chance_loss
from ..signals import SignalInterrupt
from ..storage.epoch_log import EpochRow
from ..storage.files import write_whole
from ..storage.run_directory import PlannedRun
from ..training.trainer import Trainer
from .progress import StudyProgress

Failures = dict[str, str]  # path of a run -> why it is not complete


def local(planned_runs: Sequence[PlannedRun], machine: Machine, data: PreparedData) -> Failures:
    """Train one run after another in this process; a failed run does not stop the others.

    Parameters
    ----------
    planned_runs : sequence of PlannedRun
        Runs of one recipe follow one another.
    machine : Machine
    data : PreparedData

    Raises
    ------
    InputError
        If other processes hold the locks of all unfinished runs.
    """
    set_num_threads(machine)
    trainer = Trainer.build(planned_runs[0].run.recipe, machine, data)
    progress = StudyProgress(len(planned_runs), class_frequency_loss(data))
    num_unfinished = sum(not planned.directory.status for planned in planned_runs)
    failures, held = Failures(), list[str]()
    try:
        for planned in planned_runs:
            if planned.run.recipe != trainer.recipe:  # the next variant; the pixels are kept
                trainer = trainer.for_recipe(planned.run.recipe)
            progress.start(planned.run)
            try:
                reason, is_held = train_run(planned, trainer, progress.report)
            except SignalInterrupt:
                progress.finish("interrupted")
                raise
            progress.finish(reason)
            if reason:
                failures[str(planned.run.path)] = reason
            if is_held:
                held.append(reason)
    finally:
        progress.close()
    if seconds := trainer.preparing_seconds:
        say(f"compiling and recording the step took {seconds:.1f} s, once for all runs")
    if held and len(held) == num_unfinished:
        raise InputError(f"nothing left to do here: {'; '.join(held)}")
    return failures


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
        torch.cuda.empty_cache()
        half = planned.run.recipe.batch_size // 2
        reason = f"failed: {trainer.device} is out of memory; try --batch-size {half}"
        details = reason
    except InputError as error:
        reason = details = f"failed: {error}"
    except OSError as error:  # most often a full disk: the path says more than a traceback
        reason = details = f"failed: {os_error_message(error)}"
    except Exception as error:
        reason, details = f"failed: {type(error).__name__}: {error}", traceback.format_exc()
    with suppress(OSError):
        write_whole(planned.directory.path / "error.txt", details.encode())
    return reason, False


def set_num_threads(machine: Machine) -> None:
    """Let torch use as many threads as a run has CPUs."""
    if machine.cpus_per_run:
        torch.set_num_threads(machine.cpus_per_run)


def class_frequency_loss(data: PreparedData) -> float:
    """Return the training loss at chance level: a model that predicts the class frequencies."""
    return chance_loss(torch.from_numpy(data.dataset.splits["train"].labels))
