"""When a run is saved, and what a snapshot within an epoch holds; only the writer writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import Run
from ..devices import random_state, seed_torch, set_random_state
from ..distributed.collectives import all_gather, all_reduce_max, on_rank_zero
from ..distributed.process_group import is_rank_zero, rank, world_size
from ..signals import Stop, heed, requested
from ..storage.epoch_log import EpochRow, append_epoch, keep_epochs
from ..storage.run_directory import RunDirectory
from .state import TrainState
from .steps import Tally
from .tensorboard import open_board


class DivergedError(Exception):
    """A loss, a weight or a moment is not finite."""


def check_finite(is_finite: bool) -> None:
    """Agree whether training can go on.

    Raises
    ------
    DivergedError
        In all processes, if one of them found something that is not finite.
    """
    if all_reduce_max(not is_finite)[0]:
        raise DivergedError


@contextmanager
def recorded(
    folder: Path, run: Run, epoch: int, watched: nn.Module | None
) -> Iterator[Callable[[EpochRow], None]]:
    """Open metrics.csv and TensorBoard's events at an epoch; what is yielded adds the next.

    Parameters are those of :func:`open_board`.
    """
    if not is_rank_zero():
        yield lambda _: None
        return
    keep_epochs(folder, epoch)
    with open_board(folder, run, epoch, watched) as show:

        def add(row: EpochRow) -> None:
            append_epoch(folder, row)
            show(row)

        yield add


@dataclass
class Saver:
    """Writes snapshots beside the training, not within it."""

    directory: RunDirectory
    state: TrainState
    tally: Tally
    seconds: float  # between two snapshots
    saved_at: float = field(default_factory=time.monotonic)
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    writing: Future[None] | None = None

    def resume(self, snapshot: dict[str, Any], seed: int) -> None:
        """Go on exactly where a snapshot was taken.

        With another number of processes, or another kind of device, than then: on the same
        images, with other dropout masks.
        """
        self.state.load(snapshot)
        self.tally.resume(snapshot["tally"], snapshot["num_images"])
        streams = torch.atleast_2d(snapshot["random"])  # one for each process
        device = self.tally.sums.device
        if streams.shape == (world_size(), random_state(device).numel()):
            # A copy: torch reads from the beginning of a view's storage, and beyond its end.
            set_random_state(device, streams[rank()].clone())
        else:
            seed_torch(seed, self.state.epoch + 1, rank(), self.state.step)

    def at_boundary(self) -> None:
        """After a step or an epoch: save if it is time, stop if a signal asks for it.

        The writer's clock and any process's signal count.

        Raises
        ------
        Stop
            When the snapshot is on the disk.
        DivergedError
            If there is nothing finite to save.
        """
        due = is_rank_zero() and time.monotonic() - self.saved_at >= self.seconds
        signal, saving = all_reduce_max(requested() or 0, due)
        if signal or saving:
            self.save()
        if signal:
            heed(signal)
            on_rank_zero(self.wait)  # who ends first is a failure to torchrun, which kills the rest
            raise Stop

    def save(self) -> None:
        """Begin to write a snapshot; one that failed before is not passed over."""
        self.wait()
        # A copy, on the CPU too: training goes on adding while the snapshot is written.
        device, sums = self.tally.sums.device, self.tally.sums.to("cpu", copy=True)
        check_finite(self.state.is_finite() and bool(sums.isfinite().all()))
        streams = all_gather(random_state(device))
        if not is_rank_zero():
            return
        content = {
            **self.state.snapshot(),
            "tally": sums,
            "num_images": self.tally.num_images,
            "random": torch.stack(streams),
        }
        self.writing = self.writer.submit(self.directory.save_last, content)
        self.saved_at = time.monotonic()

    def wait(self) -> None:
        """Wait for the snapshot that is being written."""
        if self.writing is not None:
            self.writing.result()
