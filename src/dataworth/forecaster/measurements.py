"""Measured errors from a file that people have: as shares, one per run, with what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..scaling.points import NotIdentifiableError, Points
from .columns import GROUPS, PROGRESS, choose_columns, shown, words
from .flags import ReadFlags
from .number_formats import MARKS, decimal_mark
from .rows import Table, is_number, text_of
from .runs import as_errors, read_runs
from .tables import read_tables


@dataclass(frozen=True)
class Measurements:
    """Measured errors of a file."""

    points: Points
    metric: str  # name of the error, such as "top-5 error"
    notes: tuple[str, ...]  # what was decided about the file


def read_measurements(path: Path, flags: ReadFlags, unbounded: bool = False) -> Measurements:
    """Read measured errors from a file.

    Parameters
    ----------
    path : Path
        Delimited text, .json, .jsonl or .xlsx.
    flags : ReadFlags
        What is not to be decided by names and values.
    unbounded : bool
        Whether the values are taken as they are: a loss, not a share.

    Raises
    ------
    InputError
        If the file cannot be read, or in more than one way; in one line, with the remedy.
    """
    tables = read_tables(path)
    try:
        if flags.sheet is None and len(tables) > 1:
            return _only_readable(tables, flags, unbounded)
        if flags.sheet is not None and flags.sheet not in tables:
            raise InputError(f"--sheet: {_names(tables) or 'no sheets'} in the file")
        table = (
            tables[flags.sheet] if flags.sheet is not None else next(iter(tables.values()), None)
        )
        return _measurements(table or Table((), (), ()), flags, unbounded)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _only_readable(tables: Mapping[str, Table], flags: ReadFlags, unbounded: bool) -> Measurements:
    """Return the measurements of the only sheet that has any."""
    results: dict[str, Measurements] = {}
    for name, table in tables.items():
        try:
            results[name] = _measurements(table, flags, unbounded)
        except InputError:
            continue
    if len(results) != 1:
        raise InputError(f"sheets {_names(results or tables)}: choose one with --sheet")
    ((name, measured),) = results.items()
    return replace(measured, notes=(*measured.notes, f"sheet {shown(name)}"))


def _names(tables: Mapping[str, object]) -> str:
    return ", ".join(shown(name) for name in list(tables)[:8] if name)


def _measurements(table: Table, flags: ReadFlags, unbounded: bool) -> Measurements:
    table = _filtered(table, flags.where)
    columns = choose_columns(table, flags.x_column, flags.y_column, unbounded)
    _check_one_curve(table, (columns.size, *columns.errors))
    _check_ends_of_runs(table, columns.size)
    if flags.decimal is None:
        values = [cell for name in columns.errors for cell in table.column(name)]
        mark = decimal_mark(table.column(columns.size), values, is_share=not unbounded)
    else:
        mark = MARKS[flags.decimal]
    runs = read_runs(table, columns, mark, unbounded)
    error, notes = as_errors(runs, columns, flags.values, unbounded)
    if columns.size.strip().lower() != "n":
        notes.insert(0, f"training images from {shown(columns.size)}")
    if len(columns.errors) > 1:
        notes.append(f"{len(columns.errors)} columns as runs of each size")
    if runs.num_blank:
        cells = "1 blank cell" if runs.num_blank == 1 else f"{runs.num_blank} blank cells"
        notes.append(f"{cells} left out")
    if mark == ",":
        notes.append("decimal commas")
    try:
        points = Points(runs.n, error, runs.num_test, unbounded)
    except NotIdentifiableError as reason:
        raise InputError(str(reason)) from None
    return Measurements(points, columns.metric, tuple(notes))


def _filtered(table: Table, conditions: tuple[str, ...]) -> Table:
    """Return the rows that fulfil every COLUMN=VALUE."""
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals or name not in table.header:
            raise InputError(f"--where {shown(condition)}: no COLUMN=VALUE of a column in the file")
        table = table.where(name, value)
        if not table.rows:
            raise InputError(f"--where {shown(condition)}: no such row")
    return table


def _check_one_curve(table: Table, used: tuple[str, ...]) -> None:
    """Refuse rows of several splits, metrics or models, which are several curves."""
    for name in table.header:
        if name not in used and set(words(name)) <= GROUPS and words(name):
            values = dict.fromkeys(text_of(cell) for cell in table.column(name))
            texts = [value for value in values if value and not is_number(value)]
            if len(texts) > 1:
                raise InputError(
                    f"rows of several curves ({', '.join(map(shown, texts[:4]))}): choose with "
                    f"--where {shown(name)}={shown(texts[0])}"
                )


def _check_ends_of_runs(table: Table, size: str) -> None:
    """Refuse logs of whole trainings, whose epochs would count as seeds of a size."""
    for name in table.header:
        if name == size or not words(name) or not set(words(name)) <= PROGRESS:
            continue
        epochs: dict[str, set[float]] = {}
        for n, cell in zip(table.column(size), table.column(name), strict=True):
            with suppress(ValueError):
                epochs.setdefault(text_of(n), set()).add(float(text_of(cell)))
        steps = [np.unique(np.diff(sorted(values))) for values in epochs.values()]
        if any(
            len(values) > 2 and len(s) == 1
            for values, s in zip(epochs.values(), steps, strict=True)
        ):
            raise InputError(
                f"rows of several epochs of one run: choose with --where {shown(name)}=NUMBER, or "
                f"leave {shown(name)} out if every row is a finished run"
            )
