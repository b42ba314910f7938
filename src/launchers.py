"""Where the runs of a study execute.

To add a launcher, write a function and list it in :data:`LAUNCHERS`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .config import Machine, Run
from .data.prepare import PreparedData
from .files import write_whole
from .progress import Progress
from .training.trainer import Workbench, train_run

Failures = dict[str, str]  # path of a run -> why it is not complete


def local(runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path) -> Failures:
    """Train one run after another in this process; a failed run does not stop the others."""
    failures: Failures = {}
    bench, progress = Workbench.build(runs[0].recipe, machine, data), Progress(len(runs))
    for run in runs:
        progress.start(run)
        try:
            status = train_run(run, bench, study_dir, progress.report)
            note = "" if status == "complete" else status
        except torch.OutOfMemoryError:
            half = run.recipe.batch_size // 2
            note = f"failed: {bench.device} is out of memory; try --batch-size {half}"
            torch.cuda.empty_cache()
        except Exception as error:
            note = f"failed: {type(error).__name__}: {error}"
            write_whole(study_dir / run.path / "error.txt", traceback.format_exc().encode())
        progress.finish(note)
        if note:
            failures[str(run.path)] = note
    progress.close()
    if bench.step is not None and (seconds := bench.step.preparing_seconds):
        print(f"compiling and recording the step took {seconds:.1f} s, once for all runs")
    return failures


LAUNCHERS: dict[str, Callable[[Sequence[Run], Machine, PreparedData, Path], Failures]] = {
    "local": local,
}
