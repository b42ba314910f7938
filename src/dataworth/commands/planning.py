"""Planning of ``dataworth train``: settings, data and runs, checked before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Recipe, Run
from ..errors import InputError
from ..storage.identity import InitFile, identify
from ..storage.run_directory import PlannedRun
from ..storage.study_directory import StudyDirectory
from .flags import TrainFlags
from .parsing import NEWEST, parse_train, select_variants

if TYPE_CHECKING:
    from ..data.datasets import ImageDataset
    from ..data.prepare import PreparedData
    from ..data.subsets import Indices

Subsets = Mapping[tuple[float | int, int], "Indices"]  # by size and seed


@dataclass(frozen=True)
class StudyPlan:
    """The runs of one command, checked against labels, models and the stored study."""

    study: StudyDirectory
    recipe: Recipe  # as requested
    data_recipe: Recipe  # the same, with the data revision that the study was begun with
    runs: tuple[Run, ...]  # in the order in which they are trained
    subsets: Subsets  # of the runs, before bad images are left out
    dataset: ImageDataset
    init_files: Mapping[str, InitFile]  # by recipe.init, of the unfinished runs

    def describe(self) -> str:
        """Format name and images of the data set, its notes, shared groups, pretrained weights."""
        from ..data.groups import shared_groups

        splits = self.dataset.splits.items()
        counts = ", ".join(f"{len(split):,} {role}" for role, split in splits)
        summary = f"{self.dataset.name}: {counts} images of {len(self.dataset.classes)} classes"
        notes = [f"note: {note}" for note in self.dataset.notes]
        for name, file in self.init_files.items():
            where = "" if Path(name).expanduser().absolute() == file.path else f" ({file.path})"
            notes.append(f"init: {name}{where}, SHA-256 {file.digest}")
        leaks = [
            f"warning: {shared.num_images:,} images of {shared.split} are of {shared.num_groups:,} "
            f"groups that are also in {shared.also_in}; --on-leak drop leaves them out"
            for shared in shared_groups(self.dataset.splits)
        ]
        return "\n".join([summary, *notes, *leaks])

    def table(self) -> str:
        """Format sizes, images and steps of the runs."""
        import pandas as pd

        subsets = {row["size"]: row for row in _describe(self.dataset, self.runs, self.subsets)}
        num_train, rows, total = len(self.dataset.splits["train"]), [], 0
        num_runs = Counter((run.variant, run.recipe, run.subset_size) for run in self.runs)
        for (variant, recipe, size), number in num_runs.items():
            num_images = int(subsets[size]["images"])
            steps = recipe.epochs * recipe.steps_per_epoch(num_images, num_train)
            total += number * steps
            variant_column = {"variant": variant} if variant else {}
            rows.append({**variant_column, **subsets[size], "runs": number, "steps": steps})
        text = pd.DataFrame(rows, dtype=object).to_string(index=False)
        batches = sorted({recipe.batch_size for _, recipe, _ in num_runs})
        return f"{text}\n{total:,} steps in all (batch {', '.join(map(str, batches))})"


def resolve_study(
    flags: TrainFlags, words: Sequence[str] | None
) -> tuple[TrainFlags, StudyDirectory]:
    """Return the study that the flags mean, and the flags over its stored settings if it resumes.

    Parameters
    ----------
    flags : TrainFlags
        Parsed from ``words``.
    words : sequence of str or None
        The command line, parsed again over the settings of a study that is resumed; its directory
        may have moved.

    Raises
    ------
    InputError
        If there is nothing to resume, a variant is not known, or the directory holds a study of
        another recipe.
    """
    base = flags.machine.checkpoint_dir
    if flags.resume is None:
        study = StudyDirectory.read(base / (flags.experiment_id or _new_name(base)))
    else:
        study = StudyDirectory.find(base, study_name(flags))
        if flags.config is None:
            stored = TrainFlags(recipe=study.record.recipe, study=study.requested[-1])
            flags = parse_train(words, stored)
            machine = study.machine(
                lambda machine: parse_train(words, stored.replace(machine=machine)).machine
            )
            flags = flags.replace(machine=machine.replace(checkpoint_dir=base))
    flags = select_variants(flags, study.requested)
    study.check(flags.recipe, flags.study)
    return flags, study


def study_name(flags: TrainFlags) -> str | None:
    """Return the study that ``--resume`` or ``--experiment-id`` names; None: the newest.

    Raises
    ------
    InputError
        If they name two.
    """
    resumed = None if flags.resume == NEWEST else flags.resume
    if resumed and flags.experiment_id not in (None, resumed):
        raise InputError(
            f"--resume {resumed} and --experiment-id {flags.experiment_id} name two studies; "
            "give one name"
        )
    return resumed or flags.experiment_id


def _new_name(checkpoint_dir: Path) -> str:
    """Name a study by the time; a second one of the same second gets a number as well."""
    time = f"{datetime.now():%Y%m%d-%H%M%S}"
    names = (f"{time}-{number}" if number > 1 else time for number in count(1))
    return next(name for name in names if not (checkpoint_dir / name).exists())


def plan_study(flags: TrainFlags, study: StudyDirectory) -> StudyPlan:
    """Load the labels, draw the subsets and order the runs.

    The runs are those that the flags request, and with ``--resume`` all earlier ones too.

    Raises
    ------
    InputError
        If the device, the model, the data or a subset size cannot be used.
    """
    from ..data.prepare import load_dataset
    from ..devices import check_precision
    from ..distributed.process_group import own_device, require_single_process
    from ..models.pretrained import check_inits
    from ..models.registry import check_image_size

    recipe, machine = flags.recipe, flags.machine
    if machine.min_jobs > 1:
        require_single_process(f"--jobs {machine.jobs}")
        if machine.launcher != "local":
            raise InputError(
                f"--jobs {machine.jobs} --launcher {machine.launcher}: only the local launcher "
                "takes --jobs; give --jobs auto"
            )
    check_precision(own_device(machine.device), machine.precision)
    requested = flags.study.runs(recipe)
    all_runs = list(dict.fromkeys([*study.planned_runs(), *requested]))
    if unfinished(study, all_runs):  # this takes longer than skipping a finished study
        for model in {run.recipe.model for run in requested}:
            check_image_size(model, recipe.image_size)
    data_recipe = study.pinned(recipe)
    dataset = load_dataset(data_recipe)
    if recipe.select_by == "top-5-error" and len(dataset.classes) < 6:
        raise InputError("--select-by top-5-error: needs at least 6 classes; use loss")
    subsets = _draw_subsets(dataset, all_runs)
    for run in unfinished(study, requested):
        _check_batches(run, len(subsets[run.subset_size, run.seed]))
    sizes = [row["size"] for row in _describe(dataset, all_runs, subsets)]
    variants = list(dict.fromkeys(run.variant for run in all_runs))
    in_order = {
        "smallest-first": lambda run: (
            variants.index(run.variant), sizes.index(run.subset_size), run.seed,
        ),
        "largest-first": lambda run: (
            -sizes.index(run.subset_size), variants.index(run.variant), run.seed,
        ),
    }[machine.order]  # fmt: skip
    runs = sorted(requested if flags.resume is None else all_runs, key=in_order)
    runs = [run for run in runs if run.variant in (flags.variants or (run.variant,))]
    recipes = dict.fromkeys(run.recipe for run in unfinished(study, runs))
    init_files = check_inits(recipes, len(dataset.classes))
    return StudyPlan(study, recipe, data_recipe, tuple(runs), subsets, dataset, init_files)


def unfinished(study: StudyDirectory, runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are neither complete nor diverged."""
    return [run for run in runs if not study.run_directory(run).status]


def _draw_subsets(dataset: ImageDataset, runs: Sequence[Run]) -> Subsets:
    """Draw the subset of each size and seed once; variants share it."""
    from ..data.subsets import subset_indices

    train = dataset.splits["train"]
    keys = dict.fromkeys((run.subset_size, run.seed) for run in runs)
    return {
        (size, seed): subset_indices(train.labels, size, seed, train.groups) for size, seed in keys
    }


def _describe(
    dataset: ImageDataset, runs: Sequence[Run], subsets: Subsets
) -> list[dict[str, float | int]]:
    """Describe each size by the subset of the first run that has it, smallest first."""
    from ..data.subsets import describe_subsets

    by_size: dict[float | int, Indices] = {}
    for run in runs:
        by_size.setdefault(run.subset_size, subsets[run.subset_size, run.seed])
    train = dataset.splits["train"]
    return describe_subsets(train.labels, by_size, train.groups)


def plan_runs(plan: StudyPlan, data: PreparedData) -> list[PlannedRun]:
    """Return the runs of a plan with their subsets and identities, now that the data are open.

    Parameters
    ----------
    plan : StudyPlan
    data : PreparedData
        Without the images that are left out because they are bad: then subsets are drawn again.

    Raises
    ------
    InputError
        If a size cannot be drawn from the images that are left.
    """
    is_same = data.dataset is plan.dataset
    subsets = plan.subsets if is_same else _draw_subsets(data.dataset, plan.runs)
    return [
        plan_run(
            run, data, plan.study.path, subsets[run.subset_size, run.seed],
            plan.init_files.get(run.recipe.init or ""),
        )
        for run in plan.runs
    ]  # fmt: skip


def plan_run(
    run: Run,
    data: PreparedData,
    study_dir: Path,
    indices: Indices | None = None,
    init_file: InitFile | None = None,
) -> PlannedRun:
    """Return a run with its directory, subset and identity.

    Parameters
    ----------
    run : Run
    data : PreparedData
    study_dir : Path
        Directory of the study.
    indices : int64 ndarray of shape (n,) or None
        Training images; None draws them.
    init_file : InitFile or None
        Of the weights that the recipe starts from; a run is evaluated without it.
    """
    from ..data.label_noise import noise_identity
    from ..data.subsets import subset_indices

    train = data.dataset.splits["train"]
    if indices is None:
        indices = subset_indices(train.labels, run.subset_size, run.seed, train.groups)
    identity = {
        **identify(run, indices, data.digest),
        **noise_identity(train, indices, run.recipe.label_noise, run.seed),
        **({"init_sha256": init_file.digest} if init_file else {}),
    }
    directory = StudyDirectory(study_dir).run_directory(run)
    return PlannedRun(run, directory, indices, identity, init_file)


def check_runs(planned_runs: Sequence[PlannedRun]) -> None:
    """Compare planned runs with their directories; restore subset files and logs of finished ones.

    Raises
    ------
    InputError
        If a directory belongs to another run, naming each field; or if batches are too small.
    """
    for planned in planned_runs:
        planned.directory.check(planned.identity)
        if planned.directory.status:
            planned.directory.keep_subset(planned.indices)
        if planned.directory.usable:
            planned.directory.repair_log(planned.run.recipe.epochs)
        if planned.directory.usable:
            planned.directory.repair_weights(planned.identity)
        if not planned.directory.status:  # bad images may have been left out since it was planned
            _check_batches(planned.run, len(planned.indices))


def _smallest_batch(n: int, batch_size: int) -> int:
    return n // -(-n // batch_size)  # all batches of an epoch differ by one image at most


def _check_batches(run: Run, n: int) -> None:
    """Refuse batches smaller than the world size, or of one image where two are normalised over."""
    from ..distributed.process_group import world_size
    from ..models.registry import needs_two_images

    recipe, num_ranks = run.recipe, world_size()
    smallest_batch = _smallest_batch(n, recipe.batch_size)
    if smallest_batch < num_ranks:
        raise InputError(
            f"{run.path}: {num_ranks} processes cannot share a batch of {smallest_batch} images; "
            "start fewer"
        )
    if smallest_batch > 1 or recipe.freeze == "body":
        return
    if needs_two_images(recipe.model, recipe.image_size):
        larger = (
            size for size in count(recipe.batch_size) if _smallest_batch(n, size) > 1 or size > n
        )
        raise InputError(
            f"--batch-size {recipe.batch_size}: {run.path} has batches of one image, and "
            f"{recipe.model} at {recipe.image_size} pixels normalises over two or more (its last "
            f"maps have one pixel); use --batch-size {next(larger)} or a larger --image-size"
        )
