"""Records of each epoch: a row of metrics.csv, and TensorBoard events where it is installed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ..config import Run
from ..console import warn
from ..distributed.process_group import is_rank_zero
from ..storage.epoch_log import EpochRow, append_epoch, keep_epochs
from ..storage.files import named_errors

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = ("validation_top_1_error", "validation_loss")  # shown beside the hyper-parameters
Record = Callable[[EpochRow], None]


@contextmanager
def open_epoch_records(
    folder: Path, run: Run, epoch: int, model: nn.Module | None
) -> Iterator[Record]:
    """Open metrics.csv and TensorBoard's events; yield the function that records an epoch.

    Rows and events of later epochs, which a killed process left, are removed. Ranks other than 0
    record nothing.

    Parameters
    ----------
    folder : Path
        Of the run.
    run : Run
    epoch : int
        Epochs finished so far.
    model : Module or None
        Whose weights and gradients are recorded as histograms.
    """
    if not is_rank_zero():
        yield lambda _: None
        return
    keep_epochs(folder, epoch)
    with _open_events(folder, run, epoch, model) as add_events:

        def record(row: EpochRow) -> None:
            append_epoch(folder, row)
            add_events(row)

        yield record


@contextmanager
def _open_events(folder: Path, run: Run, epoch: int, model: nn.Module | None) -> Iterator[Record]:
    """Open the TensorBoard events of a run; parameters as in :func:`open_epoch_records`."""
    if (writer_class := _writer_class()) is None:
        yield lambda _: None
        return
    with (
        named_errors(folder / "events.out.tfevents"),
        _silent_threads(),
        writer_class(str(folder), purge_step=epoch + 1) as writer,
    ):
        _add_settings(writer, run)

        def add_events(row: EpochRow) -> None:
            for name, value in asdict(row).items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, value, row.epoch)
            for name, weight in model.named_parameters() if model else ():
                writer.add_histogram(f"weights/{name}", weight.detach(), row.epoch)
                if weight.grad is not None:
                    writer.add_histogram(f"gradients/{name}", weight.grad, row.epoch)
            writer.flush()

        yield add_events


@contextmanager
def _silent_threads() -> Iterator[None]:
    """Print no traceback where TensorBoard's thread cannot write: its next call raises that too."""
    before = threading.excepthook

    def hook(error: threading.ExceptHookArgs) -> None:
        if not issubclass(error.exc_type, OSError):
            before(error)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@cache
def _writer_class() -> type[SummaryWriter] | None:
    """Import TensorBoard; warn once if it is missing."""
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
