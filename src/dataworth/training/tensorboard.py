"""TensorBoard's view of a run: a few numbers after each epoch, nothing within one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ..config import Run
from ..console import warn
from ..storage.epoch_log import EpochRow

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


METRICS = ("validation_top_1_error", "validation_loss")  # beside the hyper-parameters


@contextmanager
def open_board(
    folder: Path, run: Run, epoch: int, watched: nn.Module | None
) -> Iterator[Callable[[EpochRow], None]]:
    """Open the events of a run; what is yielded adds a finished epoch.

    Parameters
    ----------
    folder : Path
        Of the run.
    run : Run
    epoch : int
        Epochs finished so far; points after it, of a process that died, are taken back.
    watched : Module or None
        Whose weights and gradients are added as histograms.
    """
    if (make := _writer()) is None:
        yield lambda _: None
        return
    with make(str(folder), purge_step=epoch + 1) as writer:
        _add_settings(writer, run)

        def show(row: EpochRow) -> None:
            for name, value in asdict(row).items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, value, row.epoch)
            for name, weight in watched.named_parameters() if watched else ():
                writer.add_histogram(f"weights/{name}", weight.detach(), row.epoch)
                if weight.grad is not None:
                    writer.add_histogram(f"gradients/{name}", weight.grad, row.epoch)
            writer.flush()

        yield show


@cache
def _writer() -> type[SummaryWriter] | None:
    """Import TensorBoard; say once if it is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warn("no curves for TensorBoard: pip install tensorboard")
        return None
    return SummaryWriter


def _add_settings(writer: SummaryWriter, run: Run) -> None:
    """Fill the hyper-parameters tab; ``add_hparams`` would make a second run of them."""
    from torch.utils.tensorboard.summary import hparams

    recipe = {key: value for key, value in run.recipe.model_dump().items() if value is not None}
    settings = {**recipe, "subset_size": run.subset_size, "seed": run.seed}
    file = writer.file_writer
    assert file is not None, "just opened"
    for summary in hparams(settings, dict.fromkeys(METRICS, 0.0)):
        file.add_summary(summary)
