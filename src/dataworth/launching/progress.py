"""What the screen shows while a study trains: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from tqdm import tqdm

from ..config import Run
from ..console import say, warn
from ..storage.epoch_log import EpochRow

LINE_SECONDS = 5.0  # between two lines of one run, where there is no terminal
PATIENCE = 3, 0.1  # epochs, and share of all epochs, in which a network should leave chance
LEAVES = 0.99  # times the loss of guessing: a running loss below has left it


class Progress:
    """A bar of runs over a bar of epochs; without a terminal, a line now and then."""

    def __init__(self, num_runs: int, chance_loss: float) -> None:
        self.num_runs, self.started, self.chance_loss = num_runs, 0, chance_loss
        self.runs = tqdm(total=num_runs, desc="study", unit="run", disable=None)
        self.epochs: tqdm[Any] | None = None
        self.last_line = 0.0

    def start(self, run: Run) -> None:
        """Begin the next run."""
        self.started += 1
        self.name = f"run {self.started}/{self.num_runs}  {run.path}"
        self.total = run.recipe.epochs
        self.epochs = tqdm(
            total=self.total, desc=self.name, unit="epoch", leave=False, disable=None
        )

    def report(self, row: EpochRow) -> None:
        """Show a finished epoch."""
        assert self.epochs is not None, "start comes first"
        self.epochs.n = row.epoch
        self.epochs.set_postfix_str(spell(row))
        warn_if_stuck(self.name, row, self.total, self.chance_loss)
        last = row.epoch == self.total
        if self.epochs.disable and (last or time.monotonic() - self.last_line > LINE_SECONDS):
            self.last_line = time.monotonic()
            say_epoch(self.name, row, self.total)

    def finish(self, note: str = "") -> None:
        """End the current run, saying why if it ended badly."""
        if self.epochs is not None:
            self.epochs.close()
        self.runs.update()
        if note:
            warn(f"{self.name}: {note}")

    def close(self) -> None:
        """Leave the screen."""
        self.runs.close()


def spell(row: EpochRow) -> str:
    """Spell the scores of an epoch."""
    shown = f"loss {row.train_loss:.3f}  validation top-1 {row.validation_top_1_error:.3f}"
    if row.validation_top_5_error is not None:
        shown += f"  top-5 {row.validation_top_5_error:.3f}"
    return shown


def say_epoch(name: str, row: EpochRow, total: int) -> None:
    """Print the line of a finished epoch."""
    rate = f"{row.images_per_second:,.0f} images/s"
    say(f"{name}  epoch {row.epoch}/{total}  {spell(row)}  {rate}")


def warn_if_stuck(name: str, row: EpochRow, total: int, chance_loss: float) -> None:
    """Say, once, that the first epochs taught nothing: hours before the evaluation would."""
    least, share = PATIENCE
    if row.epoch == max(least, int(share * total)) and row.train_loss > LEAVES * chance_loss:
        warn(
            f"{name}: at chance after {row.epoch} epochs (training loss "
            f"{row.train_loss:.3f}, guessing {chance_loss:.3f}); where that lasts, try "
            "another --learning-rate, or --model alexnet-bn"
        )
