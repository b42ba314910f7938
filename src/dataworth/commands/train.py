"""``dataworth train``: train one fresh model per subset size and seed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Machine
from ..console import say, warn
from ..distributed.collectives import local_rank_zero_first, on_rank_zero
from ..distributed.process_group import joined_process_group, require_single_process, world_size
from ..storage.disk_space import check_disk_space
from ..storage.locks import lock_folder
from ..storage.machine_settings import flags_to_repeat, machine_flags
from ..storage.status import status_table
from ..storage.study_directory import StudyDirectory
from .cost import check_memory, cost_report, disk_usage
from .exit_codes import DONE, INCOMPLETE, run_command
from .flags import TrainFlags
from .parsing import note_unused, parse_train, to_yaml
from .planning import (
    StudyPlan,
    check_runs,
    plan_runs,
    plan_study,
    resolve_study,
    study_name,
    unfinished,
)

if TYPE_CHECKING:
    from ..data.prepare import PreparedData

GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA, in Windows' Linux, of AMD


def train(words: Sequence[str] | None = None) -> None:
    """Train every run of a study; ``words`` default to the command line."""
    run_command(lambda: _train_in_group(words), "python train.py --resume goes on from here")


def _train_in_group(words: Sequence[str] | None) -> int:
    with joined_process_group():
        return _train(words)


def _train(words: Sequence[str] | None) -> int:
    flags = parse_train(words)
    if flags.status:
        study = StudyDirectory.find(flags.machine.checkpoint_dir, study_name(flags))
        say(status_table(study))
        return DONE
    flags, study = on_rank_zero(lambda: resolve_study(flags, words))
    if flags.print_config:
        say(to_yaml(flags.recipe, flags.study, flags.machine).rstrip("\n"))
        return DONE
    if not flags.list:
        _start_workers_server(flags, study)
    with local_rank_zero_first():
        plan = plan_study(flags, study)
    say(plan.describe())
    _note_unused_settings(plan, flags.machine)
    if flags.list or flags.plan:
        say(plan.table())
        if flags.plan:
            say(cost_report(plan, flags.machine))
        return DONE
    return _launch(plan, flags)


def _start_workers_server(flags: TrainFlags, study: StudyDirectory) -> None:
    """Let another core import what workers need, while this one plans the study."""
    from ..launching.side_by_side import start_server

    if parent_process() is None and "torch" not in sys.modules and _may_use_workers(flags, study):
        start_server("dataworth.launching.local", "torch.utils.tensorboard")


def _may_use_workers(flags: TrainFlags, study: StudyDirectory) -> bool:
    """Whether several runs may be trained at a time, as far as files tell.

    Those of ``--jobs auto`` on a GPU are not.
    """
    from ..data.decoding import num_cores

    machine = flags.machine
    if machine.launcher != "local" or world_size() > 1:
        return False
    runs = {*flags.study.runs(flags.recipe), *(study.planned_runs() if flags.resume else ())}
    jobs = machine.jobs if machine.jobs != "auto" else num_cores() * _is_cpu(machine.device)
    return min(jobs, num_cores(), len(unfinished(study, list(runs)))) > 1


def _is_cpu(device: str) -> bool:
    """Whether a device is the CPU, as far as files tell: torch is not imported yet."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    has_gpu = not is_hidden and any(Path(file).exists() for file in GPU_FILES)
    return device == "cpu" or (device == "auto" and not has_gpu)


def _launch(plan: StudyPlan, flags: TrainFlags) -> int:
    """Prepare the data, write the study and let the launcher train the runs."""
    from ..launching.registry import CHECKS, LAUNCHERS

    machine, study = flags.machine, plan.study
    if machine.launcher != "local":
        require_single_process(f"--launcher {machine.launcher}")
    if check := CHECKS.get(machine.launcher):
        check(machine)
    data = _prepare_data(plan, machine)
    planned_runs = plan_runs(plan, data)
    on_rank_zero(lambda: check_runs(planned_runs))
    on_rank_zero(lambda: _write_study(plan, flags, data))
    failures = LAUNCHERS[machine.launcher](planned_runs, machine, data)
    num_complete = len(planned_runs) - len(failures)
    say(f"{num_complete} of {len(planned_runs)} runs complete in {study.path}")
    for path, reason in failures.items():
        warn(f"  {path}: {reason}")
    say(f"next: {_eval_command(machine)} --experiment-id {study.name}")
    return INCOMPLETE if failures else DONE


def _prepare_data(plan: StudyPlan, machine: Machine) -> PreparedData:
    """Check the disk, open or build the cache, and print what the user should know of the data."""
    from ..data.pixels import describe_residency
    from ..data.prepare import open_data, remove_cache_leftovers
    from ..distributed.process_group import own_device

    with local_rank_zero_first():
        remove_cache_leftovers(plan.data_recipe, machine)
        check_disk_space(disk_usage(plan, machine))
        if machine.launcher == "local":
            check_memory(plan, machine)
        data = open_data(plan.data_recipe, machine)
    for note in data.dataset.notes[len(plan.dataset.notes) :]:
        say(f"note: {note}")
    if machine.launcher == "local":
        device, copies = own_device(machine.device), machine.min_jobs
        say(describe_residency(data, device, machine.residency, copies))
    for pair in data.summary().duplicates:
        if pair.num_images:
            say(
                f"warning: {pair.num_images} images of {pair.split} are also in {pair.also_in}, "
                "byte for byte"
            )
    for name, file in plan.init_files.items():
        if file.data_digest == data.digest:
            say(
                f"warning: the weights {name} have seen images of this data set: an error that "
                "starts from them is not that of its subset alone"
            )
    return data


def _write_study(plan: StudyPlan, flags: TrainFlags, data: PreparedData) -> None:
    with lock_folder(plan.study.path, wait=True):
        plan.study.write(plan.recipe, flags.study, flags.machine, data.summary())


def _eval_command(machine: Machine) -> str:
    """Return the evaluation command; eval.py reads all other settings from the study."""
    is_elsewhere = machine.checkpoint_dir != Machine.model_fields["checkpoint_dir"].default
    folder = machine_flags(machine, "checkpoint_dir") if is_elsewhere else ""
    return " ".join(filter(None, ["python eval.py", folder, flags_to_repeat(machine)]))


def _note_unused_settings(plan: StudyPlan, machine: Machine) -> None:
    """Print a note for each setting that no run of a plan uses."""
    from ..distributed.process_group import is_rank_zero
    from ..models.registry import MODELS, WITH_DROPOUT

    recipes = {run.recipe for run in plan.runs}
    models = (*MODELS, *WITH_DROPOUT)
    needs = {
        "on_leak": (
            any(r.group_column or r.group_from for r in recipes),
            "--group-column or --group-from",
        ),
        "momentum": (any(r.optimizer == "sgd" for r in recipes), "--optimizer sgd"),
        "dropout": (any(r.model.startswith(models) for r in recipes), "an AlexNet or VGG"),
        "normalise": (any(r.init is None for r in recipes), "a run from fresh weights"),
    }
    if is_rank_zero():
        note_unused(plan.recipe, needs)
        ray, slurm = machine.launcher == "ray", machine.launcher == "slurm"
        note_unused(
            machine,
            {
                "ray_address": (ray, "--launcher ray"),
                "slurm": (slurm, "--launcher slurm"),
                "gpus_per_run": (ray or slurm, "--launcher ray or slurm"),
            },
        )
