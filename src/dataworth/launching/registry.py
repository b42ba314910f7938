"""Where the runs of a study execute.

To add a launcher, write a function and list it in :data:`LAUNCHERS`; where it can be known before
anything is prepared that it will not work, list in :data:`CHECKS` what says so, and in
:data:`SLOTS` what counts the runs that it makes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..config import Machine, Run
from ..data.prepare import PreparedData
from .local import Failures, local
from .ray_cluster import check_ray, ray_slots
from .ray_tasks import on_ray
from .slurm import check_slurm, on_slurm, slurm_slots

LAUNCHERS: dict[str, Callable[[Sequence[Run], Machine, PreparedData, Path], Failures]] = {
    "local": local,
    "ray": on_ray,
    "slurm": on_slurm,
}
CHECKS: dict[str, Callable[[Machine], None]] = {"ray": check_ray, "slurm": check_slurm}
SLOTS: dict[str, Callable[[Machine], int]] = {"ray": ray_slots, "slurm": slurm_slots}
