"""Checkpoints of a run in progress: when a snapshot is written, and how a run resumes from it.

Snapshots are copied to CPU memory between two steps and written by a thread. Only rank 0 writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from ..devices import random_state, seed_torch, set_random_state
from ..distributed.collectives import all_gather, all_reduce_max, on_rank_zero
from ..distributed.process_group import is_rank_zero, rank, world_size
from ..signals import SignalInterrupt, received_signal, set_received_signal
from ..storage.identity import check_origin
from ..storage.run_directory import RunDirectory
from ..storage.snapshots import Snapshot
from .state import TrainState


class DivergedError(Exception):
    """A loss, a weight or a moment is not finite."""


def check_finite(is_finite: bool) -> None:
    """Agree with the other ranks that training can continue.

    Raises
    ------
    DivergedError
        On all ranks, if any of them passed False.
    """
    if all_reduce_max(not is_finite)[0]:
        raise DivergedError


@dataclass
class Checkpointer:
    """Writes snapshots of a run in the background of its training."""

    directory: RunDirectory
    state: TrainState
    seconds: float  # between two snapshots
    identity: Mapping[str, Any] = field(default_factory=dict)  # of the run
    saved_at: float = field(default_factory=time.monotonic)
    writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    writing: Future[None] | None = None

    def resume(self, snapshot: Snapshot, seed: int) -> None:
        """Restore a snapshot, to the bit.

        With another world size, or another kind of device, the images of every batch are the same
        and the dropout masks are others.

        Parameters
        ----------
        snapshot : dict
            What :meth:`save` wrote.
        seed : int
            Of the run.
        """
        self.state.load(snapshot)
        device = self.state.sums.device
        streams = torch.atleast_2d(snapshot["random"])  # (world size, bytes)
        if streams.shape == (world_size(), random_state(device).numel()):
            # A copy: torch reads from the beginning of a view's storage, and beyond its end.
            set_random_state(device, streams[rank()].clone())
        else:
            seed_torch(seed, self.state.epoch + 1, rank(), self.state.step)

    def check(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot that is not one of the run.

        Raises
        ------
        DamagedError
            Naming what does not fit.
        """
        origin = snapshot.get("run", {})  # files of earlier versions lack it
        check_origin(f"a snapshot in {self.directory.path}", origin, self.identity, remedy="")
        self.state.check(snapshot)

    def at_boundary(self) -> None:
        """After a step or an epoch: save if it is time, stop if a signal was received.

        The clock of rank 0 decides, and a signal to any rank counts.

        Raises
        ------
        SignalInterrupt
            After the snapshot has been written.
        DivergedError
            If the state is not finite.
        """
        is_due = is_rank_zero() and time.monotonic() - self.saved_at >= self.seconds
        signal, is_due_anywhere = all_reduce_max(received_signal() or 0, is_due)
        if signal or is_due_anywhere:
            self.save()
        if signal:
            set_received_signal(signal)
            on_rank_zero(self.wait)  # torchrun takes the first rank to end for a failure
            raise SignalInterrupt

    def save(self) -> None:
        """Start writing a snapshot; an earlier one that failed raises its error here."""
        self.wait()
        check_finite(self.state.is_finite())
        streams = all_gather(random_state(self.state.sums.device))
        if is_rank_zero():
            content = {
                "run": dict(self.identity),
                **self.state.snapshot(),
                "random": torch.stack(streams),
            }
            self.writing = self.writer.submit(self.directory.save_last, content)
            self.saved_at = time.monotonic()

    def wait(self) -> None:
        """Wait until the snapshot has been written."""
        if self.writing is not None:
            self.writing.result()
