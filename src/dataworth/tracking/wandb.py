"""Weights & Biases: one group per study, offline files or the server."""

from __future__ import annotations

import re
from pathlib import Path

from .replay import Replay, TrackedRun, TrackedStudy, failure, missing_package

COMPLETE = "dataworth.complete"  # file in the folder of an offline run, written last
SECONDS = 30  # to wait for the server


def replay_to_wandb(study: TrackedStudy, project: str, offline: bool) -> Replay:
    """Write the runs of a study; their ids follow from their content.

    Offline, a run whose folder is whole is not written again. On the server, a run of the same id
    is resumed: W&B drops the steps that it has. A run whose content changed gets another id, and
    the former one stays.

    Parameters
    ----------
    study : TrackedStudy
    project : str
    offline : bool
        Write offline files, as with WANDB_MODE=offline.

    Raises
    ------
    InputError
        If the package is not installed, or the server does not answer.
    """
    try:
        import wandb
    except ImportError:
        raise missing_package("wandb") from None
    try:
        settings = wandb.setup(wandb.Settings(silent=True)).settings
        offline = offline or settings.mode == "offline"
        folder = Path(settings.wandb_dir)
        folders = [
            _write_run(study, run, project, offline)
            for run in study.runs
            if not (offline and _is_complete(folder, run))
        ]
        wandb.teardown()  # its process may write files until it ends
        if offline:
            for written in folders:
                (written / COMPLETE).touch()
    except (wandb.errors.Error, OSError) as error:
        raise failure("wandb", error) from None
    location = f"{folder}; wandb sync uploads it" if offline else f"project {project!r}"
    return Replay(location, len(folders), len(study.runs) - len(folders))


def run_id(run: TrackedRun) -> str:
    """Return the id of a run: its name, in the characters that W&B allows, and its digest."""
    return f"{re.sub('[^A-Za-z0-9-]', '-', run.name)[-80:]}-{run.digest[:12]}"


def _is_complete(folder: Path, run: TrackedRun) -> bool:
    return any(folder.glob(f"offline-run-*-{run_id(run)}/{COMPLETE}"))


def _write_run(study: TrackedStudy, run: TrackedRun, project: str, offline: bool) -> Path:
    """Write a run; return the folder of its files."""
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=SECONDS,
        save_code=False,
        disable_git=True,  # of this machine, where no run was trained
        x_disable_meta=True,
        x_save_requirements=False,
        x_disable_stats=True,
    )
    with wandb.init(
        project=project,
        id=run_id(run),
        name=run.name,
        group=study.parent.name,
        job_type="study" if run is study.parent else "run",
        config=dict(run.params),
        mode="offline" if offline else None,
        resume=None if offline else "allow",
        settings=settings,
    ) as writer:
        writer.define_metric(run.step_name, hidden=True)
        writer.define_metric("*", step_metric=run.step_name)
        for step, row in run.rows.items():
            writer.log({run.step_name: step, **row})
        if run.figures:
            figures = {name: wandb.Image(str(path)) for name, path in run.figures.items()}
            writer.log(figures)
        return Path(writer.settings.sync_dir)
