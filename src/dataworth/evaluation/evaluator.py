"""Evaluate trained runs: logits and scores on every split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..config import Jobs, Recipe
from ..data.loaders import Loader, get_loader, get_test_loader, get_val_loader
from ..data.pixels import PixelStores
from ..data.prepare import PreparedData
from ..data.splits import Split
from ..data.subsets import Indices
from ..devices import use_threads
from ..distributed.collectives import all_reduce_max, all_reduce_sum
from ..distributed.process_group import rank, world_size
from ..errors import DamagedError
from ..memory import available_bytes, private_bytes
from ..models.batch_memory import check_inference_memory
from ..models.registry import build_model
from ..models.weights import read_channel_stats
from ..storage.predictions import write_predictions
from ..storage.run_directory import CONFIG_FILE, TRAIN_AGAIN, RunDirectory
from .intervals import Grouped, effective_images
from .metrics import label_ranks, score
from .records import WITHOUT_DUPLICATES, RunScores, SplitScores


@torch.inference_mode()
def predict(model: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Run ``model`` over every image once, without augmentation.

    The ranks of a process group take whole batches in turn, so that the world size changes no bit.

    Parameters
    ----------
    model : Module
    loader : Loader

    Returns
    -------
    logits : float32 Tensor of shape (n, classes)
    labels : int64 Tensor of shape (n,)
    """
    model.eval()
    batches = loader.eval_batches(rank(), world_size())
    outputs = [(model(images).float(), labels) for images, labels in batches]
    if world_size() > 1:
        return _gather([logits for logits, _ in outputs], loader)
    logits, labels = zip(*outputs, strict=True)
    return torch.cat(logits), torch.cat(labels)


def _gather(batch_logits: Sequence[Tensor], loader: Loader) -> tuple[Tensor, Tensor]:
    """Return the logits of all ranks in the order of the images, and the labels."""
    (classes,) = all_reduce_max(
        *{logits.shape[1] for logits in batch_logits} or {0}
    )  # a rank may have no batch
    gathered = torch.zeros(len(loader.split), classes, device=loader.device)
    bounds = loader.batch_bounds()[rank() :: world_size()]
    for logits, (start, stop) in zip(batch_logits, bounds, strict=True):
        gathered[start:stop] = logits
    all_reduce_sum([gathered.view(torch.int32)])  # as bits: nothing is rounded, -0.0 stays
    return gathered, torch.from_numpy(loader.split.labels).to(loader.device)


def evaluate_runs(
    directories: Sequence[RunDirectory],
    stores: PixelStores,
    batch_size: int,
    results_dir: Path,
    jobs: Jobs = "auto",
) -> tuple[list[RunScores], dict[str, str]]:
    """Score several runs, side by side in threads, each with its share of the cores.

    The smallest of each variant comes first, alone: its memory tells how many fit. Then the largest
    begin.

    Parameters
    ----------
    directories : sequence of RunDirectory
        Of the runs; the others are those of :func:`evaluate_run`.
    jobs : int or auto
        Runs at a time; auto: on a CPU one per thread of torch, as far as there is memory; else 1.

    Returns
    -------
    runs : list of RunScores
    failures : dict
        Path of a run whose weights are unusable -> why.

    Raises
    ------
    InputError
        If a batch does not fit into memory.
    """
    dataset = stores.data.dataset
    num_images = min(batch_size, max(map(len, dataset.splits.values())))
    for recipe in dict.fromkeys(directory.run().recipe for directory in directories):
        check_inference_memory(recipe, len(dataset.classes), num_images, stores.device)
    stopped, outcomes = Event(), dict[Path, RunScores | DamagedError]()
    with tqdm(total=len(directories), desc="evaluating", unit="run", disable=None) as progress:

        def score_run(directory: RunDirectory) -> None:
            try:
                outcome: RunScores | DamagedError = evaluate_run(
                    directory, stores, batch_size, results_dir, stopped
                )
            except DamagedError as error:
                outcome = error
            outcomes[directory.path] = outcome
            progress.update()

        before, by_variant = private_bytes(), sorted(directories, key=_variant_and_size)
        for _, group in groupby(by_variant, lambda directory: directory.run().variant):
            smallest, *others = group
            score_run(smallest)
            most = num_jobs(jobs, stores.device, private_bytes() - before)
            _in_threads(score_run, others[::-1], max(1, min(most, len(others))), stopped)
    runs = [outcomes[directory.path] for directory in directories]
    failures = {
        str(directory.run().path): str(outcome)
        for directory, outcome in zip(directories, runs, strict=True)
        if isinstance(outcome, DamagedError)
    }
    return [run for run in runs if isinstance(run, RunScores)], failures


def _variant_and_size(directory: RunDirectory) -> tuple[str, bool, float]:
    run = directory.run()
    return run.variant, run.subset_size > 1, run.subset_size


def num_jobs(jobs: Jobs, device: torch.device, run_bytes: int) -> int:
    """Return how many runs are scored at a time.

    Threads of one run wait for each other at every layer, and one of them crops each batch.

    Parameters
    ----------
    jobs : int or auto
        As in :func:`evaluate_runs`.
    device : torch.device
    run_bytes : int
        Memory that one run has taken.
    """
    if jobs != "auto":
        return jobs
    if device.type != "cpu":
        return 1
    return min(torch.get_num_threads(), 1 + available_bytes() // max(1, run_bytes))


def _in_threads(
    score_run: Callable[[RunDirectory], None],
    directories: Sequence[RunDirectory],
    jobs: int,
    stopped: Event,
) -> None:
    """Call ``score_run`` with each directory, ``jobs`` at a time, each with its share of cores."""
    cores = torch.get_num_threads()
    use_threads(max(1, cores // jobs))  # of torch, also in threads that are started now
    try:
        with ThreadPoolExecutor(jobs) as pool:
            try:
                scored = [pool.submit(score_run, directory) for directory in directories]
                for future in wait(scored, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:  # a signal, a full disk: the threads end before their next batch
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        use_threads(cores)


def evaluate_run(
    directory: RunDirectory,
    stores: PixelStores,
    batch_size: int,
    results_dir: Path,
    stopped: Event,
) -> RunScores:
    """Score the best weights of a finished run on every split; store test and validation logits.

    Errors on the training split are counted against the labels of the data set, also of a run with
    label noise: one that has learned its wrong labels by heart has their share as training error.

    Parameters
    ----------
    directory : RunDirectory
    stores : PixelStores
    batch_size : int
        Images per forward pass.
    results_dir : Path
        Receives the logits.
    stopped : Event
        Set by another thread if no further batch is to be scored.

    Raises
    ------
    DamagedError
        If the weights are not those that the run wrote, or give infinite or NaN logits.
    """
    run, data, device = directory.run(), stores.data, stores.device
    recipe, config = run.recipe.replace(batch_size=batch_size), directory.config
    classes, subset = data.dataset.classes, directory.subset()
    model, best_epoch = _load_model(directory, len(classes))
    model = model.to(device).to(memory_format=torch.channels_last)
    model.register_forward_pre_hook(lambda *_: _check_stopped(stopped))
    stats = read_channel_stats(directory.path / CONFIG_FILE, config) if recipe.init else None
    train_split = data.dataset.splits["train"].take(subset)
    predictions = {
        "test": predict(model, get_test_loader(stores, recipe, stats)),
        "validation": predict(model, get_val_loader(stores, recipe, stats)),
        "train": predict(model, get_loader(stores, train_split, recipe, stats)),  # unaugmented
    }
    if not all(logits.isfinite().all() for logits, _ in predictions.values()):
        raise DamagedError(f"{directory.path}: the weights give infinite or NaN logits")
    stored = {
        split: (logits.cpu().numpy(), labels.cpu().numpy())
        for split, (logits, labels) in predictions.items()
        if split != "train"
    }
    write_predictions(results_dir, run.path, stored)
    scores = RunScores(
        variant=run.variant,
        model=recipe.model,
        subset_size=run.subset_size,
        seed=run.seed,
        num_images=len(subset),
        epochs=recipe.epochs,
        best_epoch=best_epoch,
        status="complete",  # until the runs of its size are judged together
        splits=_score_splits(predictions, data, train_split),
    )
    return scores.model_copy(update={**_drawn(train_split), **_label_noise(recipe, config)})


def _label_noise(recipe: Recipe, config: Mapping[str, Any]) -> Mapping[str, float | int]:
    """Return the share of wrong labels and their number; nothing for a run without label noise."""
    if not recipe.label_noise:
        return {}
    return {"label_noise": recipe.label_noise, "num_changed_labels": config["num_changed_labels"]}


def _drawn(subset: Split) -> Mapping[str, Any]:
    """Return the numbers of images and groups that a run drew; empty without groups."""
    grouped = {"drawn_images": len(subset), "drawn_groups": subset.num_groups}
    return {} if subset.groups is None else grouped


def _load_model(directory: RunDirectory, num_classes: int) -> tuple[nn.Module, int]:
    """Load the best weights of a run into its model; return their epoch too."""
    recipe = directory.run().recipe
    model = build_model(recipe.model, num_classes, recipe.image_size)
    weights, best_epoch = directory.load_best()
    try:
        model.load_state_dict(weights)
    except RuntimeError:  # names or shapes
        reason = f"the weights do not fit {recipe.model} with {num_classes} classes"
        raise DamagedError(f"{directory.path}: {reason}; {TRAIN_AGAIN}") from None
    return model, best_epoch


def _check_stopped(stopped: Event) -> None:
    """Raise in a thread whose scores nobody waits for any more: signals reach the main one only."""
    if stopped.is_set():
        raise CancelledError


def _score_splits(
    predictions: Mapping[str, tuple[Tensor, Tensor]], data: PreparedData, subset: Split
) -> dict[str, SplitScores]:
    groups = {name: split.groups for name, split in data.dataset.splits.items()}
    groups["train"] = subset.groups
    splits = {name: _split_scores(*outputs, groups[name]) for name, outputs in predictions.items()}
    distinct, test_groups = data.distinct_test, groups["test"]
    if distinct.any() and not distinct.all():
        logits, labels = (values[torch.from_numpy(distinct)] for values in predictions["test"])
        kept = None if test_groups is None else test_groups[distinct]
        splits[WITHOUT_DUPLICATES] = _split_scores(logits, labels, kept)
    return splits


def _split_scores(logits: Tensor, labels: Tensor, groups: Indices | None) -> SplitScores:
    scores = score(logits, labels)
    errors = (scores.num_images, scores.loss, scores.top_1_error, scores.top_5_error)
    if groups is None:
        return SplitScores.measured(*errors)
    ranks = label_ranks(logits, labels).cpu().numpy()
    top_1, top_5 = (effective_images((ranks >= k).astype(float), groups) for k in (1, 5))
    grouped = Grouped(len(np.unique(groups)), top_1, None if scores.top_5_error is None else top_5)
    return SplitScores.measured(*errors, grouped)
