"""Selection of trained models by study, variant, size and seed, or by a file of weights."""

from __future__ import annotations

from ..devices import pick_device, prepare_process
from ..errors import DamagedError, InputError
from ..storage.identity import describe_run
from ..storage.study_directory import StudyDirectory
from .classifier import Classifier, from_file, from_run
from .flags import ModelFlags


def choose(flags: ModelFlags, all_sizes: bool = False) -> list[Classifier]:
    """Load the classifiers that the flags select, smallest training set first.

    Raises
    ------
    InputError
        If there is no such run, or its weights do not fit.
    """
    device = pick_device(flags.device)
    prepare_process(device)
    selectors = (
        flags.experiment_id, flags.variant, flags.subset_size, flags.seed, all_sizes or None,
    )  # fmt: skip
    if flags.weights and any(value is not None for value in selectors):
        raise InputError("--weights selects a model by itself: give no study, size or seed with it")
    if flags.weights:
        return [from_file(flags.weights, device)]
    study = StudyDirectory.find(flags.checkpoint_dir, flags.experiment_id)
    runs = [run for run in study.planned_runs() if study.run_directory(run).usable]
    variant = flags.variant or (runs[0].variant if runs else "")
    runs = [run for run in runs if run.variant == variant]
    runs = [run for run in runs if flags.subset_size in (None, run.subset_size)]
    runs = [run for run in runs if flags.seed in (None, run.seed)]
    if not runs:
        raise InputError(f"no finished run of this variant, size and seed in {study.path}")
    try:
        num_images = {run: len(study.run_directory(run).subset()) for run in runs}
        runs.sort(key=lambda run: (num_images[run], -run.seed))
        first_seeds = list({num_images[run]: run for run in runs}.values())  # of each size
        chosen = first_seeds if all_sizes else first_seeds[-1:]
        for run in chosen:
            study.run_directory(run).check_stored(describe_run(run))
        classes = list(study.record.data.classes)
        return [from_run(study.run_directory(run), classes, device) for run in chosen]
    except DamagedError as error:
        raise InputError(str(error)) from None
