"""Which trained models a command means: study, variant, size, seed, or a file of weights."""

from __future__ import annotations

from ..devices import pick_device, prepare_process
from ..errors import InputError
from ..storage.files import DamagedError
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import newest_study, planned_runs, read_study
from .classifier import Classifier, from_file, from_run
from .flags import ModelFlags


def choose(flags: ModelFlags, all_sizes: bool = False) -> list[Classifier]:
    """Read the classifiers that the flags mean, smallest training set first.

    Raises
    ------
    InputError
        If there is no such run, or its weights do not fit.
    """
    device = pick_device(flags.device)
    prepare_process(device)
    chosen = (flags.experiment_id, flags.variant, flags.subset_size, flags.seed, all_sizes or None)
    if flags.weights and any(value is not None for value in chosen):
        raise InputError("--weights is a model by itself: give no study, size or seed with it")
    if flags.weights:
        return [from_file(flags.weights, device)]
    study_dir = flags.checkpoint_dir / (flags.experiment_id or newest_study(flags.checkpoint_dir))
    classes = read_study(study_dir)["data"]["classes"]
    runs = [run for run in planned_runs(study_dir) if RunDirectory(study_dir / run.path).usable]
    wanted_variant = flags.variant or (runs[0].variant if runs else "")
    runs = [r for r in runs if r.variant == wanted_variant]
    runs = [r for r in runs if flags.subset_size in (None, r.subset_size)]
    runs = [r for r in runs if flags.seed in (None, r.seed)]
    if not runs:
        raise InputError(f"no finished run of this variant, size and seed in {study_dir}")
    try:
        sized = [(len(RunDirectory(study_dir / run.path).subset()), -run.seed, run) for run in runs]
        sized.sort(key=lambda one: one[:2])
        first_seeds = list({size: run for size, _, run in sized}.values())  # smallest of each size
        wanted = first_seeds if all_sizes else first_seeds[-1:]
        return [from_run(RunDirectory(study_dir / r.path), classes, device) for r in wanted]
    except DamagedError as error:
        raise InputError(str(error)) from None
