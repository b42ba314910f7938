"""Progress of a study on the screen: bars on a terminal, lines elsewhere, a warning at chance."""

from __future__ import annotations

import time
from typing import Any

from tqdm import tqdm

from ..config import Run
from ..console import say, warn
from ..storage.epoch_log import EpochRow

LINE_SECONDS = 5.0  # between two lines of one run, without a terminal
MIN_EPOCHS, MIN_SHARE = 3, 0.1  # epochs, and share of all epochs, before the warning
LEARNING = 0.99  # a loss below this share of the loss at chance level counts as learning


class StudyProgress:
    """A bar of runs over a bar of epochs; without a terminal, a line from time to time."""

    def __init__(self, num_runs: int, chance_loss: float) -> None:
        self.num_runs, self.num_started, self.chance_loss = num_runs, 0, chance_loss
        self.runs = tqdm(total=num_runs, desc="study", unit="run", disable=None)
        self.epochs: tqdm[Any] | None = None
        self.last_line = 0.0

    def start(self, run: Run) -> None:
        """Begin the next run."""
        self.num_started += 1
        self.name = f"run {self.num_started}/{self.num_runs}  {run.path}"
        self.num_epochs = run.recipe.epochs
        self.epochs = tqdm(
            total=self.num_epochs, desc=self.name, unit="epoch", leave=False, disable=None
        )

    def report(self, row: EpochRow) -> None:
        """Show a finished epoch."""
        assert self.epochs is not None, "start comes first"
        self.epochs.n = row.epoch
        self.epochs.set_postfix_str(format_scores(row))
        warn_if_at_chance(self.name, row, self.num_epochs, self.chance_loss)
        is_last = row.epoch == self.num_epochs
        is_due = time.monotonic() - self.last_line > LINE_SECONDS
        if self.epochs.disable and (is_last or is_due):
            self.last_line = time.monotonic()
            print_epoch(self.name, row, self.num_epochs)

    def finish(self, reason: str = "") -> None:
        """End the current run; print the reason if it is not complete."""
        if self.epochs is not None:
            self.epochs.close()
        self.runs.update()
        if reason:
            warn(f"{self.name}: {reason}")

    def close(self) -> None:
        """Remove the bars."""
        self.runs.close()


def format_scores(row: EpochRow) -> str:
    """Format training loss and validation errors of an epoch."""
    scores = f"loss {row.train_loss:.3f}  validation top-1 {row.validation_top_1_error:.3f}"
    if row.validation_top_5_error is not None:
        scores += f"  top-5 {row.validation_top_5_error:.3f}"
    return scores


def print_epoch(name: str, row: EpochRow, num_epochs: int) -> None:
    """Print the line of a finished epoch.

    Parameters
    ----------
    name : str
        Number and path of the run.
    row : EpochRow
    num_epochs : int
        Epochs of the run.
    """
    rate = f"{row.images_per_second:,.0f} images/s"
    say(f"{name}  epoch {row.epoch}/{num_epochs}  {format_scores(row)}  {rate}")


def warn_if_at_chance(name: str, row: EpochRow, num_epochs: int, chance_loss: float) -> None:
    """Warn once if the training loss is still at chance level after the first epochs.

    Parameters
    ----------
    name : str
        Number and path of the run.
    row : EpochRow
    num_epochs : int
        Epochs of the run.
    chance_loss : float
        Training loss at chance level, in nats.
    """
    is_time = row.epoch == max(MIN_EPOCHS, int(MIN_SHARE * num_epochs))
    if is_time and row.train_loss > LEARNING * chance_loss:
        warn(
            f"{name}: at chance after {row.epoch} epochs (training loss "
            f"{row.train_loss:.3f}, chance level {chance_loss:.3f}); if that lasts, try "
            "another --learning-rate, or --model alexnet-bn"
        )
