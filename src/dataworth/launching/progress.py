"""Progress of a study on the screen: bars on a terminal, lines elsewhere, a warning at chance."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from tqdm import tqdm

from ..config import Recipe, Run
from ..console import say, warn
from ..storage.epoch_log import EpochRow

LINE_SECONDS = 5.0  # between two lines of one run, without a terminal
MIN_EPOCHS, MIN_SHARE = 3, 0.1  # epochs, and share of all epochs, before the warning
LEARNING = 0.99  # a loss below this share of the loss at chance level counts as learning
WITH_BATCH_NORM = {  # model without batch normalisation -> the same with it
    "alexnet": "alexnet-bn",
    "alexnet-paper": "alexnet-bn",
    **{f"vgg{depth}": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}


class StudyProgress:
    """A bar of runs over a bar of epochs for each; without a terminal, a line from time to time."""

    def __init__(self, num_runs: int, chance_loss: float) -> None:
        self.num_runs, self.num_started = num_runs, 0
        self.chance_warning = ChanceLevelWarning(chance_loss)
        self.runs = tqdm(total=num_runs, desc="study", unit="run", disable=None)
        self.names: dict[Run, str] = {}  # number and path
        self.epochs: dict[Run, tqdm[Any]] = {}  # of each run under way
        self.last_line = defaultdict[Run, float](float)

    def start(self, run: Run) -> None:
        """Begin a run."""
        self.num_started += 1
        self.names[run] = name = f"run {self.num_started}/{self.num_runs}  {run.path}"
        self.epochs[run] = tqdm(
            total=run.recipe.epochs, desc=name, unit="epoch", leave=False, disable=None
        )

    def report(self, run: Run, row: EpochRow) -> None:
        """Show a finished epoch."""
        bar, num_epochs = self.epochs[run], run.recipe.epochs
        bar.n = row.epoch
        bar.set_postfix_str(format_scores(row))
        self.chance_warning.check(self.names[run], row, run.recipe)
        is_due = time.monotonic() - self.last_line[run] > LINE_SECONDS
        if bar.disable and (row.epoch == num_epochs or is_due):
            self.last_line[run] = time.monotonic()
            print_epoch(self.names[run], row, num_epochs)

    def finish(self, run: Run, reason: str = "") -> None:
        """End a run; print the reason if it is not complete."""
        self.epochs.pop(run).close()
        self.runs.update()
        if reason:
            warn(f"{self.names[run]}: {reason}")

    def close(self) -> None:
        """Remove the bars."""
        for bar in (*self.epochs.values(), self.runs):
            bar.close()


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


class ChanceLevelWarning:
    """Warns of each run that learns nothing; what to try is said once per study."""

    def __init__(self, chance_loss: float) -> None:
        self.chance_loss = chance_loss  # training loss at chance level, in nats
        self.has_hinted = False

    def check(self, name: str, row: EpochRow, recipe: Recipe) -> None:
        """Warn if the training loss is still at chance level after the first epochs.

        Parameters
        ----------
        name : str
            Number and path of the run.
        row : EpochRow
        recipe : Recipe
            Of the run.
        """
        is_time = row.epoch == max(MIN_EPOCHS, int(MIN_SHARE * recipe.epochs))
        if not is_time or row.train_loss <= LEARNING * self.chance_loss:
            return
        hint = "" if self.has_hinted else f"; if that lasts, try {hint_at_chance(recipe)}"
        self.has_hinted = True
        warn(
            f"{name}: at chance after {row.epoch} epochs (training loss "
            f"{row.train_loss:.3f}, chance level {self.chance_loss:.3f}){hint}"
        )


def hint_at_chance(recipe: Recipe) -> str:
    """Say what may help a model that learns nothing; batch normalisation only if it has none."""
    normalised = WITH_BATCH_NORM.get(recipe.model)
    hint = "another --learning-rate"
    if (recipe.model, recipe.optimizer) == ("alexnet-paper", "sgd"):  # as measured: LOG.md
        hint = "--optimizer adam --learning-rate 0.0001"
    return hint + (f", or --model {normalised}" if normalised else "")
