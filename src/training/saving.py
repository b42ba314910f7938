"""When a run is saved, and what a snapshot within an epoch holds."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..devices import random_state, set_random_state
from ..runs import RunDirectory
from ..signals import Stop, requested
from .state import TrainState
from .steps import Tally


class DivergedError(Exception):
    """A loss, a weight or a moment is not finite."""


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

    def resume(self, snapshot: dict[str, Any]) -> None:
        """Go on exactly where a snapshot was taken."""
        self.state.load(snapshot)
        self.tally.resume(snapshot["tally"], snapshot["num_images"])
        set_random_state(self.tally.sums.device, snapshot["random"])

    def at_boundary(self) -> None:
        """After a step or an epoch: save if it is time, stop if a signal asks for it.

        Raises
        ------
        Stop
            When the snapshot is on the disk.
        DivergedError
            If there is nothing finite to save.
        """
        stopping = requested()
        if stopping or time.monotonic() - self.saved_at >= self.seconds:
            self.save()
        if stopping:
            self.wait()
            raise Stop

    def save(self) -> None:
        """Begin to write a snapshot; one that failed before is not passed over."""
        self.wait()
        # A copy, on the CPU too: training goes on adding while the snapshot is written.
        device, sums = self.tally.sums.device, self.tally.sums.to("cpu", copy=True)
        if not (self.state.is_finite() and sums.isfinite().all()):
            raise DivergedError
        content = {
            **self.state.snapshot(),
            "tally": sums,
            "num_images": self.tally.num_images,
            "random": random_state(device),
        }
        self.writing = self.writer.submit(self.directory.save_last, content)
        self.saved_at = time.monotonic()

    def wait(self) -> None:
        """Wait for the snapshot that is being written."""
        if self.writing is not None:
            self.writing.result()
