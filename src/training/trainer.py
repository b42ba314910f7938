"""One fresh training run, from random weights to ``best.safetensors``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ..config import Machine, Recipe, Run
from ..data.loaders import Loader, get_train_loader, get_val_loader
from ..data.prepare import PreparedData
from ..data.sources import Sources
from ..data.subsets import subset_indices
from ..devices import autocast, pick_device, prepare_process, seed_torch
from ..environment import describe_environment
from ..evaluation.evaluator import predict
from ..evaluation.metrics import Scores, score
from ..files import write_json
from ..runs import EpochRow, RunDirectory
from .optimization import learning_rate
from .state import TrainState
from .steps import Step, build_step

CHECKPOINT_SECONDS = 60.0  # a crash loses at most this much, or the epoch in flight
VALIDATION_BATCH = 1000  # images: no gradients are kept, so the device takes more at once


@dataclass
class Workbench:
    """What all runs of a study share, made on first use: placed pixels, a model, its step."""

    recipe: Recipe
    machine: Machine
    data: PreparedData
    device: torch.device
    step: Step | None = None

    @classmethod
    def build(cls, recipe: Recipe, machine: Machine, data: PreparedData) -> Workbench:
        """Settle the device and prepare the process for it.

        Raises
        ------
        InputError
            If the device is missing.
        """
        device = pick_device(machine.device)
        prepare_process(device)
        return cls(recipe, machine, data, device)

    @cached_property
    def sources(self) -> Sources:
        """The pixels, where ``--residency`` wants them."""
        return Sources(self.data, self.device, self.machine.residency)

    @cached_property
    def state(self) -> TrainState:
        """The model and its optimiser; runs take turns on them."""
        return TrainState.build(self.recipe, len(self.data.dataset.classes), self.device)

    def step_for(self, train: Loader) -> Step:
        """Return the step, built on the first call: compiling is paid once per study."""
        if self.step is None:
            smoothing, machine = self.recipe.label_smoothing, self.machine
            self.step = build_step(self.state, train, smoothing, machine.precision, machine.compile)
        return self.step


def train_epoch(state: TrainState, step: Step, loader: Loader, run: Run) -> Scores:
    """Make one pass over the subset; return the running scores, measured while weights moved."""
    recipe, epoch = run.recipe, state.epoch
    seed_torch(run.seed, epoch + 1)  # dropout; (seed, 0) drew the weights
    state.model.train()
    step.tally.reset()
    for i, (inputs, labels) in enumerate(loader.inputs(loader.plan(run.seed, epoch))):
        progress = (epoch + i / loader.num_batches) / recipe.epochs
        state.set_learning_rate(learning_rate(recipe, progress))
        step(inputs, labels)
    loss, top_1, top_5 = step.tally.means()
    return Scores(len(loader.split), loss, top_1, top_5 if state.num_classes > 5 else None)


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
        ``complete``, or ``diverged`` if the loss stopped being finite.
    """
    data = bench.data
    indices = subset_indices(data.dataset.splits["train"].labels, run.subset_size, run.seed)
    directory = RunDirectory.claim(study_dir, run, bench.machine, indices, data.digest)
    if directory.status:
        return directory.status
    write_json(directory.path / "environment.json", describe_environment(bench.device))
    state = bench.state
    state.restart(run.seed)
    if saved := directory.load_last():
        state.load(saved)
    directory.keep_epochs(state.epoch)
    train = get_train_loader(bench.sources, indices, run.recipe)
    val = get_val_loader(bench.sources, run.recipe.replace(batch_size=VALIDATION_BATCH))
    status = _train_epochs(run, bench, train, val, directory, report)
    directory.finish(status, state.best_weights, state.best_epoch)
    return status


def _train_epochs(
    run: Run,
    bench: Workbench,
    train: Loader,
    val: Loader,
    directory: RunDirectory,
    report: Callable[[EpochRow], None],
) -> str:
    """Train the epochs that are left; write snapshots beside the training, not within it."""
    state, step = bench.state, bench.step_for(train)
    saved_at, writing = time.monotonic(), Future[None]()
    writing.set_result(None)
    with ThreadPoolExecutor(1) as writer:
        while state.epoch < run.recipe.epochs:
            began = time.monotonic()
            row = _epoch(state, step, train, val, run, bench.machine.precision)
            if not math.isfinite(row.train_loss + row.validation_loss):
                return "diverged"
            directory.append_epoch(row)
            report(row)
            now = time.monotonic()  # the next epoch lasts as long as this one
            if now + (now - began) - saved_at >= CHECKPOINT_SECONDS:
                writing.result()  # a failed write is not passed over
                writing = writer.submit(directory.save_last, state.snapshot())
                saved_at = now
        writing.result()
    return "complete"


def _epoch(
    state: TrainState, step: Step, train: Loader, val: Loader, run: Run, precision: str
) -> EpochRow:
    """Train and validate one epoch; keep the weights if they are the best so far."""
    started = time.perf_counter()
    trained = train_epoch(state, step, train, run)
    seconds = time.perf_counter() - started
    with autocast(val.device, precision):
        validated = score(*predict(state.model, val))
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
        learning_rate=float(torch.as_tensor(state.optimizer.param_groups[0]["lr"])),
        seconds=seconds,
        images_per_second=len(train.split) / seconds,
    )


def _selection_score(scores: Scores, recipe: Recipe) -> float:
    if recipe.select_by == "loss":
        return scores.loss
    assert scores.top_5_error is not None, "refused before training"
    return scores.top_5_error
