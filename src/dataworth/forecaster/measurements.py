"""Measured errors from a file that people have: as shares, one per run, with what was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..scaling.points import NotIdentifiableError, Points
from .columns import (
    PROGRESS,
    Columns,
    choose_columns,
    is_group,
    is_no_group,
    is_run,
    shown,
    words,
)
from .flags import ReadFlags
from .number_formats import MARKS, decimal_mark
from .rows import Cell, Table, is_number, text_of
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
    _check_one_curve(table, columns)
    _check_ends_of_runs(table, columns)
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


def _check_one_curve(table: Table, columns: Columns) -> None:
    """Refuse rows of several splits, metrics or models, which are several curves."""
    sizes = table.column(columns.size)
    for name in dict.fromkeys(table.header):
        if name in (columns.size, *columns.errors, columns.num_test):
            continue
        cells = table.column(name)
        values = dict.fromkeys(text_of(cell) for cell in dict.fromkeys(cells))
        texts = [value for value in values if value and not is_number(value)]
        is_curve = is_group(name)
        if len(texts) < 2 or not (is_curve or _may_be_curves(name, cells, texts, sizes)):
            continue
        may_be_one = f", or leave {shown(name)} out if all rows are runs of one curve"
        raise InputError(
            f"rows of several curves ({', '.join(map(shown, texts[:4]))}): choose with --where "
            f"{shown(name)}={shown(texts[0])}{'' if is_curve else may_be_one}"
        )


def _may_be_curves(
    name: str, cells: Sequence[Cell], texts: Sequence[str], sizes: Sequence[Cell]
) -> bool:
    """Whether two or more texts come at several sizes each, some at the same ones.

    Texts of a column that says when, where or with which seed a run was made are not asked about.
    """
    if is_no_group(name, texts):
        return False
    sizes_of = {text: set[str]() for text in texts}
    for size, cell in zip(sizes, cells, strict=True):
        if (text := text_of(cell)) in sizes_of:
            sizes_of[text].add(text_of(size))
    repeated = [found for found in sizes_of.values() if len(found) > 1]
    return len(repeated) > 1 and sum(map(len, repeated)) > len(set.union(*repeated))


def _check_ends_of_runs(table: Table, columns: Columns) -> None:
    """Refuse logs of whole trainings, whose epochs would count as seeds of a size.

    Two epochs, or more at equal distances, are those of a log, unless a column tells the runs of a
    size apart. Best epochs of several seeds have other distances.
    """
    used = {columns.size, *columns.errors}
    names = [columns.size, *(name for name in table.header if name not in used and is_run(name))]
    cells = [[text_of(cell) for cell in table.column(name)] for name in names]
    runs = list(zip(*cells, strict=True))
    for name in table.header:
        if name in used or not words(name) or not set(words(name)) <= PROGRESS:
            continue
        epochs: dict[tuple[str, ...], Counter[float]] = {}
        for run, cell in zip(runs, table.column(name), strict=True):
            with suppress(ValueError):
                epochs.setdefault(run, Counter())[float(text_of(cell))] += 1
        if any(map(_is_log, epochs.values())):
            raise InputError(
                f"rows of several epochs of one run: choose with --where {shown(name)}=NUMBER, or "
                f"leave {shown(name)} out if every row is a finished run"
            )


def _is_log(epochs: Counter[float]) -> bool:
    """Whether the numbers of rows of each epoch look like those of a log."""
    if len(epochs) == 2:
        return len(set(epochs.values())) == 1
    return len(epochs) > 2 and len(np.unique(np.diff(sorted(epochs)))) == 1
