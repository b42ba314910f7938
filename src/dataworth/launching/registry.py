"""Registry of launchers.

To add a launcher, write a function and list it in :data:`LAUNCHERS`. Optionally list in
:data:`CHECKS` a function that raises InputError before the data are prepared, and in :data:`SLOTS`
one that returns how many runs are trained at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..config import Machine
from ..data.prepare import PreparedData
from ..storage.run_directory import PlannedRun
from .local import Failures, local
from .ray_cluster import check_ray, ray_slots
from .ray_tasks import on_ray
from .slurm import check_slurm, on_slurm, slurm_slots

LAUNCHERS: dict[str, Callable[[Sequence[PlannedRun], Machine, PreparedData], Failures]] = {
    "local": local,
    "ray": on_ray,
    "slurm": on_slurm,
}
CHECKS: dict[str, Callable[[Machine], None]] = {"ray": check_ray, "slurm": check_slurm}
SLOTS: dict[str, Callable[[Machine], int]] = {"ray": ray_slots, "slurm": slurm_slots}
