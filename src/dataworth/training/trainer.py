"""One fresh training run, from random weights to ``best.safetensors``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from ..config import Recipe, Run
from ..data.loaders import Loader, get_train_loader, get_val_loader
from ..data.prepare import PreparedData
from ..data.subsets import Indices, subset_indices
from ..devices import autocast, seed_torch
from ..distributed.collectives import broadcast, local_rank_zero_first, on_rank_zero
from ..distributed.process_group import is_rank_zero, rank_key, world_size
from ..errors import InputError
from ..evaluation.evaluator import predict
from ..evaluation.metrics import Scores, score
from ..signals import Stop, at_once, deferred
from ..storage.environment import describe_environment
from ..storage.epoch_log import EpochRow
from ..storage.files import write_json
from ..storage.identity import identify
from ..storage.locks import owned
from ..storage.run_directory import RunDirectory
from .checkpointing import DivergedError, Saver, check_finite, recorded
from .optimization import learning_rate
from .state import TrainState
from .steps import Step
from .workbench import Workbench

VALIDATION_BATCH = 1000  # images: no gradients are kept, so the device takes more at once


def train_epoch(
    state: TrainState, step: Step, loader: Loader, run: Run, after_step: Callable[[], None]
) -> Scores:
    """Make the steps of one epoch; return the running scores, measured while weights moved.

    A state in mid-epoch makes the steps that are left. ``after_step`` is called at each boundary.
    """
    recipe, epoch = run.recipe, state.epoch
    if state.step == 0:
        seed_torch(*rank_key(run.seed, epoch + 1))  # dropout; (seed, 0) drew the weights
        step.tally.reset()
    state.model.train()
    begun = time.perf_counter() - state.seconds
    for inputs, labels in loader.walk(run.seed, epoch, state.step):
        progress = (epoch + state.step / loader.steps) / recipe.epochs
        state.set_learning_rate(learning_rate(recipe, progress))
        step(inputs, labels, loader.num_images(epoch * loader.steps + state.step))
        state.step, state.seconds = state.step + 1, time.perf_counter() - begun
        after_step()
    loss, top_1, top_5 = step.tally.means()
    state.seconds = time.perf_counter() - begun  # now that the device has finished
    return Scores(step.tally.num_images, loss, top_1, top_5 if state.num_classes > 5 else None)


def train_run(
    run: Run, bench: Workbench, study_dir: Path, report: Callable[[EpochRow], None]
) -> str:
    """Train ``run``, going on after its last snapshot; do nothing if it is finished.

    Parameters
    ----------
    run : Run
    bench : Workbench
        Of the run's recipe.
    study_dir : Path
        Where the runs of the study lie.
    report : callable
        Told each finished epoch.

    Returns
    -------
    str
        ``complete``, or ``diverged`` if a loss, a weight or a moment stopped being finite.

    Raises
    ------
    HeldError
        If another process trains it.
    InputError
        If the directory belongs to another run.
    Stop
        If a signal asks for it; the run is saved.
    """
    directory, identity, indices = _place(run, bench.data, study_dir)
    on_rank_zero(lambda: directory.check(identity))
    if status := on_rank_zero(lambda: directory.status):
        on_rank_zero(directory.tidy)
        return status
    with ExitStack() as held:
        on_rank_zero(lambda: held.enter_context(owned(directory.path)))
        with local_rank_zero_first():
            moments = bench.data.moments(run.recipe.normalise)
        on_rank_zero(lambda: directory.claim(identity, bench.machine, indices, moments))
        status = on_rank_zero(lambda: directory.status)
        return status or _train_claimed(run, bench, indices, directory, report)


def check_run(run: Run, data: PreparedData, study_dir: Path) -> RunDirectory:
    """Return the directory of a run, its subset whole if it ended, unless it is another one's.

    Raises
    ------
    InputError
        Naming each field, its value there and the value asked; or if a batch has fewer images
        than there are processes.
    """
    directory, identity, indices = _place(run, data, study_dir)
    directory.check(identity)
    if is_rank_zero() and directory.status:
        directory.keep_subset(indices)
    n, processes = len(indices), world_size()
    if (least := n // -(-n // run.recipe.batch_size)) < processes:
        raise InputError(
            f"{run.path}: {processes} processes cannot share a batch of {least} images; start fewer"
        )
    return directory


def _place(
    run: Run, data: PreparedData, study_dir: Path
) -> tuple[RunDirectory, dict[str, Any], Indices]:
    """Return where a run lives, what makes it this run, and its images."""
    indices = subset_indices(data.dataset.splits["train"].labels, run.subset_size, run.seed)
    return RunDirectory(study_dir / run.path), identify(run, indices, data.digest), indices


def _train_claimed(
    run: Run,
    bench: Workbench,
    indices: Indices,
    directory: RunDirectory,
    report: Callable[[EpochRow], None],
) -> str:
    """Train a run that is ours from its last snapshot to its end."""
    if is_rank_zero():
        write_json(
            directory.path / "environment.json", describe_environment(bench.device, world_size())
        )
    state = bench.state
    state.restart(run.seed)
    train = get_train_loader(bench.sources, indices, run.recipe)
    val = get_val_loader(bench.sources, run.recipe.replace(batch_size=VALIDATION_BATCH))
    step = bench.step_for(train)
    saver = Saver(directory, state, step.tally, bench.machine.checkpoint_seconds)
    if snapshot := on_rank_zero(directory.load_last):
        saver.resume(snapshot, run.seed)
    broadcast(state.tensors())  # equal seeds draw equal weights, on equal hardware
    watched = state.model if bench.machine.tensorboard_histograms else None
    with deferred(), saver.writer, recorded(directory.path, run, state.epoch, watched) as record:
        try:
            while state.epoch < run.recipe.epochs:
                row = _epoch(state, step, train, val, run, bench.machine.precision, saver)
                record(row)
                report(row)
                saver.at_boundary()
            status = "complete"
        except DivergedError:
            status = "diverged"
        saver.wait()
        if not state.best_weights:  # diverged in the first epoch
            state.restart(run.seed)
            state.keep_if_best(0.0)
        classes = bench.data.dataset.classes
        if is_rank_zero():
            directory.finish(status, state.best_weights, state.best_epoch, classes)
    return status


def _epoch(
    state: TrainState,
    step: Step,
    train: Loader,
    val: Loader,
    run: Run,
    precision: str,
    saver: Saver,
) -> EpochRow:
    """Train and validate one epoch; keep the weights if they are the best so far."""
    trained = train_epoch(state, step, train, run, saver.at_boundary)
    # Several processes end together, at the next boundary.
    leaving = at_once() if world_size() == 1 else nullcontext()
    try:
        with autocast(val.device, precision), leaving:
            validated = score(*predict(state.model, val))
    except Stop:
        saver.at_boundary()
        raise
    check_finite(math.isfinite(trained.loss + validated.loss) and state.is_finite())
    seconds = state.seconds
    state.end_epoch()
    state.keep_if_best(_selection_score(validated, run.recipe))
    return EpochRow(
        epoch=state.epoch,
        train_loss=trained.loss,
        train_top_1_error=trained.top_1_error,
        train_top_5_error=trained.top_5_error,
        validation_loss=validated.loss,
        validation_top_1_error=validated.top_1_error,
        validation_top_5_error=validated.top_5_error,
        learning_rate=learning_rate(
            run.recipe, (state.epoch - 1 / train.steps) / run.recipe.epochs
        ),
        seconds=seconds,
        images_per_second=trained.num_images / seconds,
    )


def _selection_score(scores: Scores, recipe: Recipe) -> float:
    if recipe.select_by == "loss":
        return scores.loss
    assert scores.top_5_error is not None, "refused before training"
    return scores.top_5_error
