"""Planned runs: each run's subset, directory and identity, derived once and checked once."""

from __future__ import annotations

from pathlib import Path

from ..config import Run
from ..data.prepare import PreparedData
from ..data.subsets import subset_indices
from ..distributed.process_group import is_rank_zero, world_size
from ..errors import InputError
from ..storage.identity import identify
from ..storage.run_directory import PlannedRun, RunDirectory


def plan_run(run: Run, data: PreparedData, study_dir: Path) -> PlannedRun:
    """Draw the subset of a run and check that its directory belongs to it.

    The indices of a finished run are written again where they are missing or damaged.

    Parameters
    ----------
    run : Run
    data : PreparedData
    study_dir : Path
        Directory of the study.

    Raises
    ------
    InputError
        If the directory belongs to another run, naming each field; or if a batch has fewer images
        than there are ranks.
    """
    indices = subset_indices(data.dataset.splits["train"].labels, run.subset_size, run.seed)
    identity = identify(run, indices, data.digest)
    directory = RunDirectory(study_dir / run.path)
    directory.check(identity)
    if is_rank_zero() and directory.status:
        directory.keep_subset(indices)
    n = len(indices)
    smallest_batch = n // -(-n // run.recipe.batch_size)
    if smallest_batch < world_size():
        raise InputError(
            f"{run.path}: {world_size()} processes cannot share a batch of {smallest_batch} "
            "images; start fewer"
        )
    return PlannedRun(run, directory, indices, identity)
