"""metrics.csv of a run: one row per epoch, on the disk before the snapshot of that epoch."""

from __future__ import annotations

import csv
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .files import named_errors, open_in_place, read_stored_text, write_whole

FILE = "metrics.csv"


@dataclass(frozen=True)
class EpochRow:
    """Measurements of one epoch; losses in nats per image, errors as shares in [0, 1]."""

    epoch: int
    train_loss: float
    train_top_1_error: float
    train_top_5_error: float | None
    validation_loss: float
    validation_top_1_error: float
    validation_top_5_error: float | None
    learning_rate: float
    seconds: float  # of training, without validation
    images_per_second: float


def append_epoch(folder: Path, row: EpochRow) -> None:
    """Append the measurements of one epoch; :func:`sync_epochs` waits for the disk."""
    descriptor = open_in_place(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with (
        named_errors(folder / FILE),
        open(descriptor, "a", newline="") as file,  # noqa: PTH123  a descriptor, not a path
    ):
        writer = csv.DictWriter(file, asdict(row), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(asdict(row))


def sync_epochs(folder: Path) -> None:
    """Wait until the rows are on the disk: a snapshot, or the end of a run, counts on them."""
    if not (folder / FILE).exists():  # within the first epoch
        return
    descriptor = open_in_place(folder / FILE, os.O_RDONLY)
    try:
        with named_errors(folder / FILE):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_epochs(folder: Path) -> list[EpochRow]:
    """Read the complete rows, also while another process appends to them."""
    return [row for row in _rows(folder) if row is not None]


def is_whole(folder: Path, num_epochs: int) -> bool:
    """Whether there is one row for each epoch, in order, and nothing else.

    Two processes that train one run, on a file system without locks, leave mixed rows.

    Parameters
    ----------
    folder : Path
    num_epochs : int
        Epochs of the finished run.
    """
    epochs = [row and row.epoch for row in _rows(folder)]
    return epochs == list(range(1, num_epochs + 1))


def _rows(folder: Path) -> list[EpochRow | None]:
    """Return a row, or None where it is damaged, for each complete line after the header."""
    path = folder / FILE
    if not path.exists():
        return []
    lines = read_stored_text(path).splitlines(keepends=True)
    try:
        rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))
    except csv.Error:  # a field of megabytes
        return [None]
    return [_row(values) for values in rows]


def _row(values: dict[str, str]) -> EpochRow | None:
    try:
        numbers = {
            key: float(value) if value or "top_5" not in key else None
            for key, value in values.items()
        }
        row = EpochRow(**{**numbers, "epoch": int(values["epoch"])})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None
    given = {key: value for key, value in numbers.items() if value is not None}
    errors = (value for key, value in given.items() if key.endswith("_error"))
    is_valid = all(map(math.isfinite, given.values())) and all(0 <= e <= 1 for e in errors)
    return row if is_valid else None  # a run that diverges writes no row of the epoch


def keep_epochs(folder: Path, last: int) -> None:
    """Keep one row, the newest, of each epoch up to ``last``; later ones are trained again."""
    path = folder / FILE
    if not path.exists():
        return
    lines = read_stored_text(path).splitlines(keepends=True)
    columns = [field.name for field in fields(EpochRow)]
    rows = {}
    for line in lines:
        epoch, *others = line.split(",")
        whole = line.endswith("\n") and len(others) == len(columns) - 1
        if whole and epoch.isdecimal() and len(epoch) < 10:
            rows[int(epoch)] = line
    kept = [rows[epoch] for epoch in sorted(rows) if epoch <= last]
    write_whole(path, "".join([",".join(columns) + "\n", *kept]).encode())
