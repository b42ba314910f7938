"""Where the runs of a study execute.

To add a launcher, write a function and list it in :data:`LAUNCHERS`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .config import InputError, Machine, Run
from .data.prepare import PreparedData
from .evaluation.metrics import chance_loss
from .files import write_whole
from .locks import HeldError
from .processes import fatal
from .progress import Progress
from .screen import say
from .signals import Stop
from .training.trainer import check_run, train_run
from .training.workbench import Workbench

Failures = dict[str, str]  # path of a run -> why it is not complete


def local(runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path) -> Failures:
    """Train one run after another in this process; a failed run does not stop the others.

    Raises
    ------
    InputError
        If a run's directory belongs to another study, or other processes hold all that is left.
    """
    chance = chance_loss(torch.from_numpy(data.dataset.splits["train"].labels))
    bench = Workbench.build(runs[0].recipe, machine, data)
    progress = Progress(len(runs), chance)
    waiting = [run for run in runs if not check_run(run, data, study_dir).status]
    failures, held = Failures(), list[str]()
    try:
        for run in runs:
            if run.recipe != bench.recipe:  # the next variant; pixels stay where they are
                bench = bench.for_recipe(run.recipe)
            progress.start(run)
            note, is_held = _attempt(run, bench, study_dir, progress)
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


def _attempt(run: Run, bench: Workbench, study_dir: Path, progress: Progress) -> tuple[str, bool]:
    """Train one run; say what went wrong, and whether another process holds it."""
    try:
        status = train_run(run, bench, study_dir, progress.report)
        return "" if status == "complete" else status, False
    except HeldError as held:
        return str(held), True
    except Stop:
        progress.finish("interrupted")
        raise
    except fatal():
        raise
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        half = run.recipe.batch_size // 2
        return f"failed: {bench.device} is out of memory; try --batch-size {half}", False
    except InputError as error:
        return f"failed: {error}", False
    except OSError as error:  # a full disk, most often: where and how much says more than a trace
        return f"failed: {error.filename}: {error.strerror}", False
    except Exception as error:
        write_whole(study_dir / run.path / "error.txt", traceback.format_exc().encode())
        return f"failed: {type(error).__name__}: {error}", False


LAUNCHERS: dict[str, Callable[[Sequence[Run], Machine, PreparedData, Path], Failures]] = {
    "local": local,
}
