"""Training: the step, the epoch and the run, from fresh weights to ``best.safetensors``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..config import Machine, Recipe, Run
from ..data.label_noise import training_subset
from ..data.loaders import Loader, get_loader, get_val_loader
from ..data.normalisation import ChannelStats, normalise
from ..data.pixels import PixelStore, PixelStores
from ..data.prepare import PreparedData
from ..devices import autocast, prepare_process, seed_torch
from ..distributed.collectives import (
    all_reduce_gradients,
    broadcast,
    local_rank_zero_first,
    on_rank_zero,
)
from ..distributed.process_group import own_device, rank_key, world_size
from ..evaluation.evaluator import predict
from ..evaluation.metrics import Scores, label_ranks, score
from ..models.pretrained import Pretrained, read_pretrained
from ..signals import SignalInterrupt, deferred_signals, immediate_signals
from ..storage.environment import add_environment, describe_environment
from ..storage.epoch_log import EpochRow
from ..storage.identity import InitFile
from ..storage.locks import lock_folder
from ..storage.run_directory import PlannedRun
from ..storage.snapshots import Snapshot
from .checkpointing import Checkpointer, DivergedError, check_finite
from .cuda_graphs import CudaRecorder, DirectStep, GraphedStep
from .epoch_records import open_epoch_records
from .optimization import learning_rate
from .state import TrainState

VALIDATION_BATCH = 1000  # images: no gradients are kept, so more fit into memory


@dataclass
class Trainer:
    """Trains the runs of one recipe, one after another, on the same pixels and the same model."""

    recipe: Recipe
    machine: Machine
    data: PreparedData
    device: torch.device
    init_file: InitFile | None = None  # of the weights that recipe.init names
    spent_seconds: float = 0.0  # on preparing the steps of earlier recipes

    @classmethod
    def build(
        cls, recipe: Recipe, machine: Machine, data: PreparedData, init_file: InitFile | None = None
    ) -> Trainer:
        """Choose the device and prepare the process for it; the rest is made on first use.

        Parameters
        ----------
        recipe : Recipe
        machine : Machine
        data : PreparedData
        init_file : InitFile or None
            As in ``PlannedRun``.

        Raises
        ------
        InputError
            If the device is missing.
        """
        device = own_device(machine.device)
        prepare_process(device)
        return cls(recipe, machine, data, device, init_file)

    def for_recipe(self, recipe: Recipe, init_file: InitFile | None = None) -> Trainer:
        """Return the trainer of another recipe on the same pixels; this one is used no more."""
        other = Trainer(recipe, self.machine, self.data, self.device, init_file)
        other.spent_seconds = self.preparing_seconds
        if "pixels" in vars(self):
            other.pixels = self.pixels
        return other

    @property
    def preparing_seconds(self) -> float:
        """Seconds spent on compiling and recording the step so far."""
        return self.spent_seconds + (self.step.preparing_seconds if "step" in vars(self) else 0.0)

    @cached_property
    def pixels(self) -> PixelStores:
        """The cached images, on the device or streamed to it."""
        return PixelStores(self.data, self.device, self.machine.residency)

    @cached_property
    def train_pixels(self) -> PixelStore:
        """The pixels of the training split."""
        return self.pixels.by_source[self.data.dataset.splits["train"].source]

    @cached_property
    def channel_stats(self) -> ChannelStats:
        """Channel means and deviations that images are normalised by: of the pretrained weights."""
        if self.pretrained:
            return self.pretrained.channel_stats
        return self.data.channel_stats(self.recipe.normalise)

    @cached_property
    def pretrained(self) -> Pretrained | None:
        """The weights that every run starts from; None: fresh weights."""
        if self.init_file is None:
            return None
        file, num_classes = self.init_file, len(self.data.dataset.classes)
        return read_pretrained(self.recipe, file.path, num_classes, file.digest)

    @cached_property
    def state(self) -> TrainState:
        """The model, its optimiser and the sums of the epoch."""
        body = self.pretrained.body if self.pretrained else None
        return TrainState.build(self.recipe, len(self.data.dataset.classes), self.device, body)

    @cached_property
    def model(self) -> Callable[[Tensor], Tensor]:
        """The model of the training step, compiled if ``--compile on``."""
        model = self.state.model
        return torch.compile(model, dynamic=False) if self.machine.compile == "on" else model

    @cached_property
    def step(self) -> DirectStep:
        """:meth:`train_step`, recorded as a CUDA graph on CUDA unless ``--compile off``."""
        is_graphed = self.device.type == "cuda" and self.machine.compile != "off"
        is_compiled = self.machine.compile == "on"
        parts = (self.train_step, self.state, self.device, is_compiled)
        if is_graphed:
            return GraphedStep(*parts, record=CudaRecorder(self.device))
        return DirectStep(*parts)

    def train_step(
        self, inputs: tuple[Tensor, ...], labels: Tensor, batch_size: int, rate: float | Tensor
    ) -> None:
        """Make one optimiser step on a batch, or on this rank's shard of it.

        Parameters
        ----------
        inputs : tuple of Tensor
            What the pixel store makes crops of.
        labels : int64 Tensor of shape (b,)
        batch_size : int
            Images of the batch on all ranks.
        rate : float or Tensor of shape ()
            Learning rate.
        """
        state = self.state
        state.set_learning_rate(rate)
        with autocast(self.device, self.machine.precision):
            crops = self.train_pixels.crops(inputs, self.recipe.image_size)  # (b, size, size, 3)
            images = normalise(crops, self.channel_stats)  # float32 (b, 3, size, size)
            logits = self.model(images).float()  # (b, classes)
        loss = cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        if is_shard := batch_size > len(labels):
            loss = loss * (len(labels) / batch_size)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ranks = label_ranks(logits.detach(), labels)
        sums = [loss.detach() * batch_size, (ranks >= 1).sum(), (ranks >= 5).sum()]
        if is_shard:
            sums = all_reduce_gradients(state.model, sums)
        state.optimizer.step()
        state.sums += torch.stack([value.to(state.sums.dtype) for value in sums])

    def train_epoch(self, loader: Loader, run: Run, after_step: Callable[[], None]) -> Scores:
        """Make the remaining steps of an epoch.

        Parameters
        ----------
        loader : Loader
            Of the run's subset.
        run : Run
        after_step : callable
            Called after every step.

        Returns
        -------
        Scores
            Running scores, measured while the weights changed.
        """
        state, epoch = self.state, self.state.epoch
        if state.step == 0:
            seed_torch(*rank_key(run.seed, epoch + 1))  # dropout; (seed, 0) drew the weights
            state.reset_sums()
        state.set_training_mode()
        began = time.perf_counter() - state.seconds
        for inputs, labels in loader.epoch_batches(run.seed, epoch, state.step):
            rate = learning_rate(
                run.recipe, (epoch + state.step / loader.steps_per_epoch) / run.recipe.epochs
            )
            batch_size = loader.global_batch_size(epoch * loader.steps_per_epoch + state.step)
            self.step(inputs, labels, batch_size, rate)
            state.num_images += batch_size
            state.step, state.seconds = state.step + 1, time.perf_counter() - began
            after_step()
        scores = state.running_scores()
        state.seconds = time.perf_counter() - began  # now that the device has finished
        return scores

    def train(self, planned: PlannedRun, report: Callable[[EpochRow], None]) -> str:
        """Train a run from its last snapshot to its end; do nothing if it is finished.

        Parameters
        ----------
        planned : PlannedRun
        report : callable
            Called with the scores of each epoch.

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
        SignalInterrupt
            If a signal was received; the run is saved.
        """
        directory = planned.directory
        with ExitStack() as lock:
            if status := on_rank_zero(lambda: _open_run(planned, lock)):
                return status
            assert (self.recipe.init is None) == (self.init_file is None), "planned without it"
            with local_rank_zero_first():
                stats = self.channel_stats  # measured once per data set, then cached on disk
            state = self.state
            state.restart(planned.run.seed)
            seconds, identity = self.machine.checkpoint_seconds, planned.identity
            checkpointer = Checkpointer(directory, state, seconds, identity)
            environment = describe_environment(self.device, world_size())

            def claim() -> Snapshot | None:
                directory.claim(identity, self.machine, planned.indices, stats)
                snapshot = directory.load_last(checkpointer.check)
                epoch = snapshot["epoch"] if snapshot else None
                add_environment(directory.path, environment, epoch)
                return snapshot

            if snapshot := on_rank_zero(claim):
                checkpointer.resume(snapshot, planned.run.seed)
            broadcast(state.tensors())  # equal seeds draw equal weights only on equal hardware
            status = self._train_epochs(planned, checkpointer, report)
            classes = list(self.data.dataset.classes)
            metadata = {**identity, "epoch": state.best_epoch, "classes": classes}
            on_rank_zero(lambda: directory.finish(status, state.best_weights, metadata))
        return status

    def _train_epochs(
        self, planned: PlannedRun, checkpointer: Checkpointer, report: Callable[[EpochRow], None]
    ) -> str:
        """Train and validate the remaining epochs; return the status."""
        run, state, path = planned.run, self.state, planned.directory.path
        whole, stats = self.data.dataset.splits["train"], self.channel_stats
        subset = training_subset(whole, planned.indices, run.recipe.label_noise, run.seed)
        train = get_loader(self.pixels, subset, run.recipe, stats)
        val = get_val_loader(self.pixels, run.recipe.replace(batch_size=VALIDATION_BATCH), stats)
        watched = state.model if self.machine.tensorboard_histograms else None
        records = open_epoch_records(path, run, state.epoch, watched)
        with deferred_signals(), checkpointer.writer, records as record:
            try:
                while state.epoch < run.recipe.epochs:
                    running = self.train_epoch(train, run, checkpointer.at_boundary)
                    validation = self._validate(val, checkpointer)
                    row = self._end_epoch(train, running, validation)
                    record(row)
                    report(row)
                    checkpointer.at_boundary()
                status = "complete"
            except DivergedError:
                status = "diverged"
            checkpointer.wait()
            if not state.best_weights:  # diverged in the first epoch
                state.restart(run.seed)
                state.keep_if_best(0.0)
        return status

    def _validate(self, val: Loader, checkpointer: Checkpointer) -> Scores:
        """Score the validation split; a signal interrupts it, since it changes nothing."""
        # Several ranks end together, at the next boundary.
        interruptible = immediate_signals() if world_size() == 1 else nullcontext()
        try:
            with autocast(self.device, self.machine.precision), interruptible:
                return score(*predict(self.state.model, val))
        except SignalInterrupt:
            checkpointer.at_boundary()
            raise

    def _end_epoch(self, train: Loader, running: Scores, validation: Scores) -> EpochRow:
        """Count the epoch as finished and keep the weights if they are the best so far."""
        state, recipe, seconds = self.state, self.recipe, self.state.seconds
        check_finite(math.isfinite(running.loss + validation.loss) and state.is_finite())
        state.end_epoch()
        by_loss = recipe.select_by == "loss"
        selection_score = validation.loss if by_loss else validation.top_5_error
        assert selection_score is not None, "refused before training"
        state.keep_if_best(selection_score)
        return EpochRow(
            epoch=state.epoch,
            train_loss=running.loss,
            train_top_1_error=running.top_1_error,
            train_top_5_error=running.top_5_error,
            validation_loss=validation.loss,
            validation_top_1_error=validation.top_1_error,
            validation_top_5_error=validation.top_5_error,
            learning_rate=learning_rate(
                recipe, (state.epoch - 1 / train.steps_per_epoch) / recipe.epochs
            ),
            seconds=seconds,
            images_per_second=running.num_images / seconds,
        )


def _open_run(planned: PlannedRun, lock: ExitStack) -> str | None:
    """Return the status of a finished run; else lock its directory until ``lock`` closes."""
    directory = planned.directory
    directory.check(planned.identity)
    if status := directory.status:
        directory.remove_leftovers()
        return status
    lock.enter_context(lock_folder(directory.path))
    return directory.status  # another process may have finished it just before
