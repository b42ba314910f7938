"""metrics.csv of a run: one row per epoch, written before the snapshot of that epoch."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .files import open_in_place, write_whole

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
    """Append the measurements of one epoch and wait until they are on the disk."""
    descriptor = open_in_place(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with open(descriptor, "a", newline="") as file:  # noqa: PTH123  a descriptor, not a path
        writer = csv.DictWriter(file, asdict(row), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(asdict(row))
        file.flush()
        os.fsync(file.fileno())


def read_epochs(folder: Path) -> list[EpochRow]:
    """Read the complete rows, also while another process appends to them."""
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    rows = csv.DictReader(line for line in lines if line.endswith("\n"))
    return [_row(values) for values in rows if None not in values.values()]


def _row(values: dict[str, str]) -> EpochRow:
    numbers = {key: float(value) if value else None for key, value in values.items()}
    return EpochRow(**{**numbers, "epoch": int(values["epoch"])})  # type: ignore[arg-type]


def keep_epochs(folder: Path, last: int) -> None:
    """Remove an incomplete line and the rows of epochs after ``last``, which are trained again."""
    path = folder / FILE
    if not path.exists():
        return
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    num_columns = len(fields(EpochRow))
    rows = [line for line in lines if line.endswith("\n") and line.count(",") == num_columns - 1]
    epochs = [row.split(",")[0] for row in rows]
    kept = [row for n, row in zip(epochs, rows, strict=True) if n.isdecimal() and int(n) <= last]
    write_whole(path, "".join(rows[:1] + kept).encode())
