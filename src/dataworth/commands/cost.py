"""Cost of a study: disk space and memory; for ``--plan`` also time, from a few measured steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config import Machine
from ..errors import InputError
from ..storage.disk_space import DiskUsage, free_bytes
from .planning import StudyPlan, unfinished

if TYPE_CHECKING:
    from ..launching.split import Estimate

RESULTS_BYTES = 5_000_000  # tables and figures


def disk_usage(plan: StudyPlan, machine: Machine) -> list[DiskUsage]:
    """Return upper bounds of what the unfinished runs will add; nothing if all are finished."""
    from ..data.cache import cache_space
    from ..data.prepare import cache_side, missing_splits
    from ..models.registry import weight_bytes

    dataset, side, num_classes = plan.dataset, plan.recipe.image_size, len(plan.dataset.classes)
    runs = unfinished(plan.study, plan.runs)
    if not runs:
        return []
    recipes = {run.recipe for run in runs}
    weights = {recipe: weight_bytes(recipe.model, num_classes, side) for recipe in recipes}
    snapshot = max(  # current weights, best weights, moments
        weights[recipe] * (2 + {"sgd": 1}.get(recipe.optimizer, 2)) for recipe in recipes
    )
    added = checkpoints = 0
    for run in runs:  # its old snapshots make way for its new ones, and these for its weights
        added += weights[run.recipe] - plan.study.run_directory(run).temporary_bytes()
        checkpoints = max(checkpoints, added + 3 * snapshot)  # one of them being written
    num_predicted = sum(len(dataset.splits[role]) for role in ("validation", "test"))
    results = len(plan.runs) * num_predicted * (4 * num_classes + 8) + RESULTS_BYTES
    missing = missing_splits(dataset, plan.data_recipe, machine)
    pixels = cache_space(dataset, missing, cache_side(side), machine.cache_dir)
    return [
        *([pixels] if missing else []),  # a complete cache may be read-only
        DiskUsage("checkpoints", plan.study.path, checkpoints),
        DiskUsage("results", machine.results_dir / plan.study.name, results),
    ]


def check_memory(plan: StudyPlan, machine: Machine) -> None:
    """Refuse runs that need more memory than there is, by a lower bound of what they need.

    Raises
    ------
    InputError
        Naming both, and what would fit.
    """
    from ..devices import available_memory, has_bf16
    from ..distributed.process_group import own_device, world_size
    from ..models.registry import activation_sizes, weight_bytes
    from ..training.trainer import VALIDATION_BATCH

    device = own_device(machine.device)
    available = available_memory(device)
    value_bytes = 2 if machine.precision != "fp32" and has_bf16(device) else 4
    num_validated = min(VALIDATION_BATCH, len(plan.dataset.splits["validation"]))
    for recipe in dict.fromkeys(run.recipe for run in unfinished(plan.study, plan.runs)):
        model = (recipe.model, len(plan.dataset.classes), recipe.image_size)
        kept, held = (value_bytes * values for values in activation_sizes(*model))
        pixels = 2 * 3 * recipe.image_size**2 * 4  # cropped, normalised, in fp32
        batch = min(recipe.batch_size, len(plan.dataset.splits["train"])) // world_size() or 1
        weights, copies = weight_bytes(*model), 3  # with gradients and moments
        if recipe.freeze == "body":
            kept, copies = 0, 1
        trained = copies * weights + batch * (kept + held + pixels)
        validated = weights + num_validated * (held + pixels)
        if (needed := max(trained, validated)) <= available:
            continue
        fitting = (available - copies * weights) // (kept + held + pixels)
        side = int(recipe.image_size * (available / needed) ** 0.5)
        hint = (
            f"--batch-size {fitting}"
            if validated <= available and fitting > 0
            else (f"--image-size {side}")
        )
        raise InputError(
            f"{recipe.model} at {recipe.image_size} pixels needs more than {needed / 1e9:.1f} GB "
            f"of memory for a batch, and {available / 1e9:.1f} GB are available on {device}; "
            f"about {hint} would fit"
        )


def cost_report(plan: StudyPlan, machine: Machine) -> str:
    """Format disk space and time of the unfinished runs; measures a few steps on this machine."""
    from ..launching.side_by_side import WorkerPool
    from ..launching.split import Estimate

    check_memory(plan, machine)
    lines = [
        f"disk: {usage} in {usage.folder}, {free_bytes(usage.folder) / 1e9:.1f} GB free"
        for usage in disk_usage(plan, machine)
    ]
    pool = WorkerPool(None)
    runs = unfinished(plan.study, plan.runs)
    try:
        lines += _time_report(plan, Estimate(runs, machine, plan.dataset, pool))
    finally:
        pool.stop()
    return "\n".join(lines)


def _time_report(plan: StudyPlan, estimate: Estimate) -> list[str]:
    """Format the time of the runs of each variant, and that of all as the launcher trains them."""
    from ..devices import pick_device
    from ..launching.registry import SLOTS
    from ..launching.split import Split, choose_split, makespan
    from ..training.throughput import decoding_rate, decoding_seconds

    machine, runs, lines = estimate.machine, estimate.runs, list[str]()
    if machine.launcher == "local":
        split = choose_split(estimate, plan.study.path)
        num_slots = split.jobs
        at_a_time = "one at a time" if split == Split(1, estimate.cores) else str(split)
    else:
        split = Split(1, machine.cpus_per_run or estimate.cores)
        num_slots = SLOTS[machine.launcher](machine)
        at_a_time = f"{num_slots} at a time" if num_slots > 1 else "one at a time"
    rate = decoding_rate(plan.data_recipe, machine, plan.dataset) if runs else 1.0
    decoding = decoding_seconds(plan.data_recipe, plan.dataset, machine, rate) if runs else 0.0
    seconds = {run: estimate.run_seconds(run, split) for run in runs}
    for recipe in dict.fromkeys(run.recipe for run in runs):
        recipe_runs = [run for run in runs if run.recipe == recipe]
        throughput = estimate.of_run(recipe_runs[0], split)
        variant = f"{recipe_runs[0].variant}, " if recipe_runs[0].variant else ""
        minutes = (decoding + sum(seconds[run] for run in recipe_runs)) / 60
        lines.append(
            f"time: about {minutes:.1f} minutes for {variant}{len(recipe_runs)} runs (images/s: "
            f"training {throughput.training:,.0f}, validation {throughput.validation:,.0f}, "
            f"decoding {rate:,.0f})"
        )
    is_local = machine.launcher == "local"
    total = decoding + (
        estimate.seconds(split) if is_local else makespan(seconds.values(), num_slots)
    )
    lines.append(f"{machine.launcher}, {at_a_time}: about {total / 60:.1f} minutes in all")
    if pick_device(machine.device).type == "cuda":
        num_gpus = 1.0 if machine.gpus_per_run is None else machine.gpus_per_run
        hours = num_gpus * sum(seconds.values()) / (3600 * split.jobs)
        lines.append(f"GPU-hours: about {hours:.2f}")
    return lines
