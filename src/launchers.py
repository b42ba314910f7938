"""Where the runs of a study execute.

To add a launcher, write a function and list it in :data:`LAUNCHERS`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from .config import Machine, Run
from .data.prepare import PreparedData
from .files import write_whole
from .progress import Progress
from .training.trainer import train_run

Failures = dict[str, str]  # path of a run -> why it is not complete


def local(runs: Sequence[Run], machine: Machine, data: PreparedData, study_dir: Path) -> Failures:
    """Train one run after another in this process; a failed run does not stop the others."""
    failures: Failures = {}
    progress = Progress(len(runs))
    for run in runs:
        progress.start(run)
        try:
            status = train_run(run, machine, data, study_dir, progress.report)
            note = "" if status == "complete" else status
        except Exception as error:
            note = f"failed: {type(error).__name__}: {error}"
            write_whole(study_dir / run.path / "error.txt", traceback.format_exc().encode())
        progress.finish(note)
        if note:
            failures[str(run.path)] = note
    progress.close()
    return failures


LAUNCHERS: dict[str, Callable[[Sequence[Run], Machine, PreparedData, Path], Failures]] = {
    "local": local,
}
