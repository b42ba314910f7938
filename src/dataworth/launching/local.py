"""The runs of a study in this process, one after another; the other launchers train each so."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from ..config import Machine, Recipe, Run
from ..console import say
from ..data.prepare import PreparedData
from ..distributed.process_group import errors_fatal_to_group
from ..errors import HeldError, InputError
from ..evaluation.metrics import chance_loss
from ..signals import SignalInterrupt
from ..storage.epoch_log import EpochRow
from ..storage.files import write_whole
from ..training.planned_runs import plan_run
from ..training.trainer import Trainer
from .progress import Progress

Failures = dict[str, str]  # path of a run -> why it is not complete


def local(runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path) -> Failures:
    """Train one run after another in this process; a failed run does not stop the others.

    Raises
    ------
    InputError
        If a run's directory belongs to another study, or other processes hold all that is left.
    """
    bench = open_bench(runs[0].recipe, machine, data)
    progress = Progress(len(runs), guessing_loss(data))
    waiting = unfinished(runs, data, study_dir)
    failures, held = Failures(), list[str]()
    try:
        for run in runs:
            if run.recipe != bench.recipe:  # the next variant; pixels stay where they are
                bench = bench.for_recipe(run.recipe)
            progress.start(run)
            try:
                note, is_held = attempt(run, bench, study_dir, progress.report)
            except SignalInterrupt:
                progress.finish("interrupted")
                raise
            progress.finish(note)
            if note:
                failures[str(run.path)] = note
            if is_held:
                held.append(note)
    finally:
        progress.close()
    if seconds := bench.preparing_seconds:
        say(f"compiling and recording the step took {seconds:.1f} s, once for all runs")
    if held and len(held) == len(waiting):
        raise InputError(f"nothing left to do here: {'; '.join(held)}")
    return failures


def open_bench(recipe: Recipe, machine: Machine, data: PreparedData) -> Trainer:
    """Make the bench of a recipe, with the threads of a run."""
    use_threads(machine)
    return Trainer.build(recipe, machine, data)


def use_threads(machine: Machine) -> None:
    """Compute in as many threads as a run has CPUs."""
    if machine.cpus_per_run:
        torch.set_num_threads(machine.cpus_per_run)


def guessing_loss(data: PreparedData) -> float:
    """Return the training loss of a network that knows nothing but how frequent classes are."""
    return chance_loss(torch.from_numpy(data.dataset.splits["train"].labels))


def unfinished(runs: Sequence[Run], data: PreparedData, study_dir: Path) -> list[Run]:
    """Return the runs that are left to train.

    Raises
    ------
    InputError
        If the directory of any run belongs to another study.
    """
    return [run for run in runs if not plan_run(run, data, study_dir).directory.status]


def attempt(
    run: Run, bench: Trainer, study_dir: Path, report: Callable[[EpochRow], None]
) -> tuple[str, bool]:
    """Train one run; say what went wrong, and whether another process holds it."""
    try:
        status = bench.train(plan_run(run, bench.data, study_dir), report)
        return "" if status == "complete" else status, False
    except HeldError as held:
        return str(held), True
    except errors_fatal_to_group():
        raise
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        half = run.recipe.batch_size // 2
        note = f"failed: {bench.device} is out of memory; try --batch-size {half}"
        details = note
    except InputError as error:
        note = details = f"failed: {error}"
    except OSError as error:  # a full disk, most often: where and how much says more than a trace
        note = details = f"failed: {error.filename}: {error.strerror}"
    except Exception as error:
        note, details = f"failed: {type(error).__name__}: {error}", traceback.format_exc()
    with suppress(OSError):
        write_whole(study_dir / run.path / "error.txt", details.encode())
    return note, False
