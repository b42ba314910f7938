"""One fresh training run, from random weights to ``best.safetensors``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..config import Machine, Recipe, Run
from ..data.loaders import Loader, get_train_loader, get_val_loader
from ..data.prepare import PreparedData
from ..data.subsets import subset_indices
from ..devices import autocast, pick_device, seed_torch
from ..environment import describe_environment
from ..evaluation.evaluator import predict
from ..evaluation.metrics import Scores, label_ranks, score, scores_from_ranks
from ..files import write_json
from ..runs import EpochRow, RunDirectory
from .optimization import learning_rate
from .state import TrainState

CHECKPOINT_SECONDS = 60.0  # a crash loses at most this much, or the epoch in flight


def train_epoch(state: TrainState, loader: Loader, run: Run, precision: str) -> Scores:
    """Make one pass over the subset; return the running scores, measured while weights moved."""
    recipe, epoch = run.recipe, state.epoch
    losses: list[Tensor] = []
    ranks: list[Tensor] = []
    seed_torch(run.seed, epoch + 1)  # dropout; (seed, 0) drew the weights
    state.model.train()
    for step, (images, labels) in enumerate(loader.train_epoch(run.seed, epoch)):
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, (epoch + step / loader.num_batches) / recipe.epochs)
        with autocast(loader.device, precision):
            logits = state.model(images).float()  # (b, classes)
        loss = cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        losses.append(loss.detach() * len(labels))  # read once an epoch: no waiting in the loop
        ranks.append(label_ranks(logits.detach(), labels))
    return scores_from_ranks(torch.cat(ranks), logits.shape[1], torch.stack(losses))


def train_run(
    run: Run,
    machine: Machine,
    data: PreparedData,
    study_dir: Path,
    report: Callable[[EpochRow], None],
) -> str:
    """Train ``run``, going on after its last snapshot; do nothing if it is finished.

    Parameters
    ----------
    run : Run
    machine : Machine
    data : PreparedData
        Of the run's recipe.
    study_dir : Path
        Where the runs of the study lie.
    report : callable
        Told each finished epoch.

    Returns
    -------
    str
        ``complete``, or ``diverged`` if the loss stopped being finite.
    """
    recipe, device = run.recipe, pick_device(machine.device)
    indices = subset_indices(data.dataset.splits["train"].labels, run.subset_size, run.seed)
    directory = RunDirectory.claim(study_dir, run, machine, indices, data.digest)
    if directory.status:
        return directory.status
    write_json(directory.path / "environment.json", describe_environment(device))
    state = TrainState.fresh(run, len(data.dataset.classes), device)
    if saved := directory.load_last():
        state.load_state_dict(saved)
    directory.keep_epochs(state.epoch)
    train = get_train_loader(data, indices, recipe, device)
    val = get_val_loader(data, recipe, device)
    saved_at, status = time.monotonic(), "complete"
    while state.epoch < recipe.epochs:
        epoch_at = time.monotonic()
        row = _epoch(state, train, val, run, machine.precision)
        if not math.isfinite(row.train_loss + row.validation_loss):
            status = "diverged"
            break
        directory.append_epoch(row)
        report(row)
        now = time.monotonic()
        if now + (now - epoch_at) - saved_at >= CHECKPOINT_SECONDS:  # the next epoch lasts as long
            directory.save_last(state.state_dict())
            saved_at = time.monotonic()
    directory.finish(status, state.best_weights, state.best_epoch)
    return status


def _epoch(state: TrainState, train: Loader, val: Loader, run: Run, precision: str) -> EpochRow:
    """Train and validate one epoch; keep the weights if they are the best so far."""
    started = time.perf_counter()
    trained = train_epoch(state, train, run, precision)
    seconds = time.perf_counter() - started
    with autocast(val.device, precision):
        validated = score(*predict(state.model, val))
    rate = state.optimizer.param_groups[0]["lr"]
    state.epoch += 1
    state.keep_if_best(_selection_score(validated, run.recipe))
    return EpochRow(
        epoch=state.epoch,
        train_loss=trained.loss,
        train_top_1_error=trained.top_1_error,
        train_top_5_error=trained.top_5_error,
        validation_loss=validated.loss,
        validation_top_1_error=validated.top_1_error,
        validation_top_5_error=validated.top_5_error,
        learning_rate=rate,
        seconds=seconds,
        images_per_second=len(train.split) / seconds,
    )


def _selection_score(scores: Scores, recipe: Recipe) -> float:
    if recipe.select_by == "loss":
        return scores.loss
    assert scores.top_5_error is not None, "refused before training"
    return scores.top_5_error
